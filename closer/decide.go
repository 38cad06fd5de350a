package closer

import (
	"fmt"
	"strings"
	"time"
)

// limitedWait is how long to leave an order alone after FREQUENCY_LIMITED and
// its kin: the buyer may be paying at this moment.
const limitedWait = 5 * time.Second

// decision is what one answer to a close means by itself.
type decision struct {
	// class is never Interrupted; zero when no close was made yet.
	class Class
	// code is the gateway's as it spelt it, a Failure, or CodeUnsignedFail.
	code string
	// said is code without underscores in upper case, for comparing.
	said string
	// ask: query before closing again. wait: the least pause before that.
	ask  bool
	wait time.Duration
	// limit is how many times in a row the answer is worth a new attempt
	// within one Close; 0: as long as the budget lasts.
	limit int
	// unsigned: nobody signed what class rests on.
	unsigned bool
	// badSign: the gateway finds our signature wrong. Another key may help.
	badSign bool
	reason  string
}

// What a code can have said, beside what the table below names.
const (
	saidSuccess  = "SUCCESS"
	saidClosed   = "ORDERCLOSED"
	saidPaid     = "ORDERPAID"
	saidNotExist = "ORDERNOTEXIST"
)

// decide is the decision table: one checked answer to a close in, what it
// means out. It is pure. The codes and their classes are those of "Close
// Order" of WeChat Pay V2, and of what merchants have seen beyond it; see
// docs/verdicts.md.
func decide(a answer) decision {
	if a.failure != "" {
		return decision{
			class: NoAnswer, code: string(a.failure),
			reason: fmt.Sprintf("no answer: %v; the close may have happened", a.err),
		}
	}
	if !a.signed {
		return decideUnsigned(a.fields["return_msg"])
	}

	result, code := a.fields["result_code"], a.fields["err_code"]
	d := decision{code: code, said: canonical(code)}
	switch {
	case result == "SUCCESS" && code == "":
		d.class, d.code, d.said = Closed, result, saidSuccess
		d.reason = "the gateway says that the close succeeded; it does not name the order"
		return d
	case result == "SUCCESS" && d.said != saidClosed:
		// The two fields contradict each other. Neither is worth money.
		d.class, d.limit, d.reason = Unknown, unknownLimit, "result_code is SUCCESS and yet there is an err_code"
		return d
	}

	// result_code=FAIL alone never means that the business failed: only the
	// code does.
	switch d.said {
	case saidClosed:
		d.class, d.reason = Closed, "the order was closed before"
	case saidPaid:
		d.class, d.reason = Paid, "the buyer has paid"
	case saidNotExist:
		d.class, d.reason = Closed, "the gateway does not know the order: there is nothing to close"
	case "SYSTEMERROR":
		d.class, d.reason = Temporary, "the gateway had an error of its own: same order again"
	case "FREQUENCYLIMITED", "USERPAYING", "TRADESTATEERROR", "BANKERROR",
		"BIZERRNEEDRETRY", "RULELIMIT", "RATELIMIT":
		d.class, d.ask, d.wait = Temporary, true, limitedWait
		d.reason = "the gateway cannot close it now; the buyer may be paying at this moment"
	case "SIGNERROR":
		d.class, d.badSign, d.reason = MerchantConfig, true, "the gateway finds our signature wrong"
	case "NOAUTH", "APPIDNOTEXIST", "MCHIDNOTEXIST", "MCHNOTEXISTS",
		"APPIDMCHIDNOTMATCH", "ACCOUNTERROR":
		d.class, d.reason = MerchantConfig, "the gateway refuses the merchant, so every further call would fail as well"
	case "XMLFORMATERROR", "REQUIREPOSTMETHOD", "LACKPARAMS", "PARAMERROR",
		"POSTDATAEMPTY", "NOTUTF8", "INVALIDREQUEST":
		d.class, d.reason = Failed, "the gateway refuses the request as it stands"
	default:
		d.class, d.limit = Unknown, unknownLimit
		d.reason = fmt.Sprintf("result_code is %.40q and err_code %.40q, which is in no table", result, code)
	}
	return d
}

// unknownLimit is how often an answer that means nothing to us is worth a new
// attempt within one Close.
const unknownLimit = 3

// decideUnsigned reads the words of a return_code=FAIL, which nobody signs:
// anybody on the way can have sent it. They are hints. They never conclude
// Closed or Paid, and never Failed either, although failing could not cause a
// double payment: a broken proxy that answers for the gateway would else turn
// every waiting request into a dead letter. A request that really lacks a
// parameter ends as failed all the same, after the last of its later retries.
//
// A wrong signature is the exception that gets a class of its own. WeChat can
// only answer it unsigned, so it is our best sign of a wrong key; and the
// class MerchantConfig concludes nothing either: the merchant is held and
// probed until the answer is another one, so a forger delays it no longer
// than he keeps forging.
func decideUnsigned(msg string) decision {
	d := decision{code: CodeUnsignedFail, unsigned: true}
	upper := strings.ToUpper(msg)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(upper, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("频率", "频繁", "FREQUEN", "RATE LIMIT", "RATELIMIT"):
		d.class, d.wait = Temporary, limitedWait
		d.reason = "unsigned, and reads like a rate limit"
	case has("签名", "SIGN ERROR", "SIGNERROR", "SIGN_ERROR", "SIGNATURE"):
		d.class, d.badSign, d.limit = MerchantConfig, true, 2
		d.reason = "unsigned, and reads like a wrong signature: look at the merchant's key and sign_type"
	case has("参数", "格式", "LACK_PARAM", "PARAM", "XML_FORMAT"):
		d.class, d.limit = Temporary, unknownLimit
		d.reason = "unsigned, and reads like a request that is wrong; no conclusion rests on that"
	default:
		d.class = Temporary
		d.reason = "an unsigned refusal proves nothing"
	}
	return d
}

// canonical is how codes are compared: they are spelt with and without
// underscores, and in either case.
func canonical(code string) string {
	return strings.ToUpper(strings.ReplaceAll(code, "_", ""))
}

// trade is what the queries after a close have shown.
type trade int

const (
	notAsked trade = iota
	unanswered
	tradeClosed  // CLOSED, REVOKED
	tradePaid    // SUCCESS, REFUND
	tradeOpen    // NOTPAY, USERPAYING, PAYERROR, and any state we do not know
	tradeUnknown // ORDERNOTEXIST: no such order at the gateway
)

// decideQuery is the table of a query's answers ("Query Order" of WeChat Pay
// V2). The code is the trade_state or err_code as spelt, or the Failure.
//
// A query that is refused, for whatever reason, has only not been answered:
// the close is what decides about the merchant and the request.
func decideQuery(a answer) (t trade, code, reason string) {
	switch {
	case a.failure != "":
		return unanswered, string(a.failure), fmt.Sprintf("no answer: %v", a.err)
	case !a.signed:
		return unanswered, CodeUnsignedFail, "an unsigned refusal proves nothing"
	case a.fields["result_code"] != "SUCCESS":
		code = a.fields["err_code"]
		if canonical(code) == saidNotExist {
			return tradeUnknown, code, "the gateway does not know the order"
		}
		return unanswered, or(code, a.fields["result_code"]), "the query was refused"
	}
	state := a.fields["trade_state"]
	switch canonical(state) {
	case "SUCCESS", "REFUND":
		return tradePaid, state, "the order is paid"
	case "CLOSED", "REVOKED":
		return tradeClosed, state, "the order is closed"
	case "":
		return unanswered, string(FailIncomplete), "trade_state is missing"
	}
	return tradeOpen, state, "the order is still open"
}

// blame says what a MerchantConfig decision is about. One bad field in one
// order must not hold a whole merchant: an appid that the order brought
// itself makes the request wrong, and a sub-merchant is held alone.
func (d decision) blame(id identity) (decision, Scope) {
	if d.class != MerchantConfig {
		return d, Scope{}
	}
	s := Scope{MchID: id.mchID}
	switch d.said {
	case "APPIDNOTEXIST", "APPIDMCHIDNOTMATCH":
		if id.foreignAppID {
			d.class, d.reason = Failed, "the gateway refuses the appid that the order brought"
			return d, Scope{}
		}
		s.AppID = id.ownAppID
	case "SIGNERROR", "":
	default:
		s.SubMchID = id.ownSubMchID
	}
	return d, s
}
