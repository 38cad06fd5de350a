package closer

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/closeorder/closeorder/signing"
)

// answer is what one call brought: the fields of a reply that passed every
// check, the fields of an unsigned FAIL, or a failure.
type answer struct {
	// fields is what was read, also when failure is set; nil when nothing was.
	fields fields
	// id is who the call was about.
	id identity
	// verified: the signature holds, and the signed string has one reading.
	// Without a failure the identity is ours, too.
	verified bool
	// failure is why this is no answer, err its detail.
	failure Failure
	err     error
}

// checkReply says whether a reply may be believed. A reply counts when
//
//   - return_code is SUCCESS and sign is there and right under one of keys,
//     over every non-empty field, unknown ones included, with the algorithm of
//     the request: its length must be that algorithm's, so there is no
//     downgrade (WeChat Pay V2, "Signature Algorithm");
//   - line ends may have been signed as XML reads them or as they stand: V2 SDKs
//     do both. What was verified is what counts; nothing is trimmed;
//   - the string that was signed has no other reading, see otherReading;
//   - appid, mch_id, sub_appid, sub_mch_id and out_trade_no, where they are not
//     empty and were sent, are the ones that were sent, and so is an echoed
//     sign_type. One that was not sent is no contradiction: providers get their
//     sub_appid back;
//   - result_code is there, and a query that found the order names it.
//
// A reply with return_code FAIL is never signed. It is handed on as it is, to
// be read as a hint; anything else is no answer.
//
// The answer's fields are in room, which is overwritten.
func checkReply(room fields, body []byte, call Call, id identity, keys []signing.Key, t signing.Type) answer {
	read, returns, err := readFields(room, body, asXML)
	if err != nil {
		return answer{failure: FailFormat, err: fmt.Errorf("the reply %w", err)}
	}
	a := answer{fields: read, id: id}
	fail := func(f Failure, err error) answer {
		a.failure, a.err = f, err
		return a
	}
	switch code := read.get("return_code"); code {
	case "SUCCESS":
	case "FAIL":
		return a
	default:
		return fail(FailIncomplete, fmt.Errorf("return_code is %.40q", maskHex(code)))
	}

	err = verify(read, keys, t)
	if err != nil && returns {
		// What was signed may be the text as it stands. Then that is what was
		// said, here and below.
		if raw, _, _ := readFields(nil, body, asTheyStand); verify(raw, keys, t) == nil {
			read, err = raw, nil
			a.fields = raw
		}
	}
	if err != nil {
		if errors.Is(err, signing.ErrMissing) {
			return fail(FailUnsigned, err)
		}
		return fail(FailSignature, err)
	}
	if other := otherReading(read, call, id); other != "" {
		return fail(FailSignature, fmt.Errorf("what was signed can be read in another way, with %.40s", other))
	}
	a.verified = true
	for _, name := range [...]string{"mch_id", "appid", "sub_mch_id", "sub_appid", "out_trade_no"} {
		ours, sent := id.sent(name)
		if got := read.get(name); got != "" && sent && got != ours {
			return fail(FailIdentity, fmt.Errorf("%s is %.40q, not %q", name, maskHex(got), ours))
		}
	}
	if got, ours := read.get("sign_type"), cmp.Or(string(t), string(signing.MD5)); got != "" && got != ours {
		return fail(FailIdentity, fmt.Errorf("sign_type is %.40q, not %q", maskHex(got), ours))
	}
	switch result := read.get("result_code"); {
	case result == "":
		return fail(FailIncomplete, errors.New("result_code is missing"))
	case call == CallQuery && result == "SUCCESS" && read.get("out_trade_no") == "":
		return fail(FailIncomplete, errors.New("the query's reply names no out_trade_no"))
	}
	return a
}

// verify tries the keys in turn: while a key is being changed the gateway may
// sign with either.
func verify(read fields, keys []signing.Key, t signing.Type) error {
	err := signing.ErrMissing
	for _, k := range keys {
		if err = signing.VerifyFields(read, k, t); err == nil {
			return nil
		}
	}
	return err
}
