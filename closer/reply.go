package closer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/signing"
)

// answer is what one call brought: the fields of a reply that passed every
// check, the fields of an unsigned FAIL, or a failure.
type answer struct {
	// fields is what was read, also when failure is set; nil when nothing was.
	fields map[string]string
	// signed: the signature holds and the identity is ours.
	signed bool
	// failure is why this is no answer, err its detail.
	failure Failure
	err     error
}

// decisive are the fields that a conclusion can rest on.
var decisive = [...]string{
	"return_code", "result_code", "err_code", "trade_state", "out_trade_no",
	"appid", "mch_id", "sub_appid", "sub_mch_id",
	"transaction_id", "total_fee", "time_end",
}

// checkReply says whether a reply may be believed. A reply counts when
//
//   - return_code is SUCCESS and sign is there and right under one of keys,
//     over every non-empty field, unknown ones included, with the algorithm of
//     the request: its length must be that algorithm's, so there is no
//     downgrade (WeChat Pay V2, "Signature Algorithm");
//   - appid, mch_id, sub_appid and sub_mch_id, where they are not empty, are
//     the ones that were sent, and so is an echoed sign_type;
//   - no value could be read as two fields, see below;
//   - result_code is there, and a query that found the order names it.
//
// A reply with return_code FAIL is never signed. It is handed on as it is, to
// be read as a hint; anything else is no answer.
func checkReply(body []byte, call Call, id identity, keys []signing.Key, t signing.Type) answer {
	fields, err := ReadFields(body)
	if err != nil {
		return answer{failure: FailFormat, err: fmt.Errorf("the reply %w", err)}
	}
	a := answer{fields: fields}
	fail := func(f Failure, err error) answer {
		a.failure, a.err = f, err
		return a
	}
	switch fields["return_code"] {
	case "SUCCESS":
	case "FAIL":
		return a
	default:
		return fail(FailIncomplete, fmt.Errorf("return_code is %.40q", maskHex(fields["return_code"])))
	}

	if err := verify(fields, keys, t); err != nil {
		if errors.Is(err, signing.ErrMissing) {
			return fail(FailUnsigned, err)
		}
		return fail(FailSignature, err)
	}
	// The string that is signed does not escape & and =, so one signature
	// stands for {a: "1&result_code=FAIL"} as for {a: "1", result_code:
	// "FAIL"}: whoever can change a reply on its way could hide a field in
	// the value before it.
	for name, value := range fields {
		if strings.IndexByte(value, '&') < 0 {
			continue
		}
		for _, d := range decisive {
			if strings.Contains(value, "&"+d+"=") {
				return fail(FailSignature, fmt.Errorf("%.40s holds the text of a field %s, so what was signed is ambiguous", name, d))
			}
		}
	}
	for _, f := range [...]struct{ name, ours string }{
		{"mch_id", id.mchID},
		{"appid", id.appID},
		{"sub_mch_id", id.subMchID},
		{"sub_appid", id.subAppID},
		{"sign_type", or(string(t), string(signing.MD5))},
	} {
		if got := fields[f.name]; got != "" && got != f.ours {
			return fail(FailIdentity, fmt.Errorf("%s is %.40q, not %q", f.name, maskHex(got), f.ours))
		}
	}
	if got := fields["out_trade_no"]; got != "" && got != id.outTradeNo {
		return fail(FailIdentity, fmt.Errorf("out_trade_no is %.40q, not %q", maskHex(got), id.outTradeNo))
	}
	a.signed = true
	switch result := fields["result_code"]; {
	case result == "":
		return fail(FailIncomplete, errors.New("result_code is missing"))
	case call == CallQuery && result == "SUCCESS" && fields["out_trade_no"] == "":
		return fail(FailIncomplete, errors.New("the query's reply names no out_trade_no"))
	}
	return a
}

// verify tries the keys in turn: while a key is being changed the gateway may
// sign with either.
func verify(fields map[string]string, keys []signing.Key, t signing.Type) error {
	err := signing.ErrMissing
	for _, k := range keys {
		if err = signing.Verify(fields, k, t); err == nil {
			return nil
		}
	}
	return err
}
