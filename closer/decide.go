package closer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class says what a [Verdict], or one [Attempt], comes to.
type Class int

const (
	// Closed: the order is closed, or there is nothing to close. It rests on
	// a verified reply. Final.
	Closed Class = iota + 1
	// Paid: the buyer has paid. It rests on a verified reply. Final.
	Paid
	// Failed: the request can never work as it stands: the gateway refused
	// it, its code stayed unknown, or it could not be sent. The order may
	// still be payable.
	Failed
	// Temporary: the gateway answered, but not for good, or what it said is
	// still in doubt. Ask again later.
	Temporary
	// MerchantRefused: the gateway refuses this merchant, not this order.
	// Hold back what [Verdict.Scope] names, keep its requests, ask again later.
	MerchantRefused
	// NoAnswer: nothing that proves anything came back. The close may have
	// happened. Ask again later.
	NoAnswer
	// Interrupted: the context ended first. Nothing is known.
	Interrupted
	// Unknown: a verified reply with a code that is not in the table. It is
	// the class of an attempt alone; a verdict makes Failed of it once its
	// bounded retries are over.
	Unknown
)

var classNames = [...]string{
	Closed: "closed", Paid: "paid", Failed: "failed", Temporary: "temporary",
	MerchantRefused: "merchant_config", NoAnswer: "no_answer",
	Interrupted: "interrupted", Unknown: "unknown",
}

// String returns the class in lower case, as in a metric's label.
func (c Class) String() string {
	if c < Closed || int(c) >= len(classNames) {
		return fmt.Sprintf("class(%d)", int(c))
	}
	return classNames[c]
}

// MarshalText returns the same as String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

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
	// queryFirst: query before closing again. wait: the least pause before that;
	// soon: a short one will do.
	queryFirst bool
	wait       time.Duration
	soon       bool
	// limit is how many times in a row the answer is worth a new attempt
	// within one Close; 0: as long as the budget lasts.
	limit int
	// unsigned: nobody signed what class rests on.
	unsigned bool
	// badSign: the gateway finds our signature wrong. Another key may help.
	badSign bool
	// unworkable: the words of an unsigned refusal say that the request as it
	// stands cannot work.
	unworkable bool
	// about says whom a refusal of the merchant can be about; 0: all of him.
	about about
	// reason is for people. It ends with the gateway's own words, if any.
	reason string
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
	if !a.verified {
		d := decideUnsigned(a.refusal())
		d.reason += a.words(a.refusal())
		return d
	}

	result, code := a.fields.get("result_code"), a.fields.get("err_code")
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
		d.class, d.soon, d.reason = Temporary, true, "the gateway had an error of its own: same order again"
	case "FREQUENCYLIMITED", "USERPAYING", "TRADESTATEERROR", "BANKERROR",
		"BIZERRNEEDRETRY", "RULELIMIT", "RATELIMIT":
		d.class, d.queryFirst, d.wait = Temporary, true, limitedWait
		d.reason = "the gateway cannot close it now; the buyer may be paying at this moment"
	case "SIGNERROR":
		d.class, d.badSign, d.reason = MerchantRefused, true, "the gateway finds our signature wrong"
	case "APPIDNOTEXIST", "APPIDMCHIDNOTMATCH":
		d.class, d.about, d.reason = MerchantRefused, aboutAppID, refusesMerchant
	case "NOAUTH", "MCHIDNOTEXIST", "MCHNOTEXISTS", "ACCOUNTERROR":
		d.class, d.about, d.reason = MerchantRefused, aboutMchID|aboutSubMchID, refusesMerchant
	case "XMLFORMATERROR", "REQUIREPOSTMETHOD", "LACKPARAMS", "PARAMERROR",
		"POSTDATAEMPTY", "NOTUTF8", "INVALIDREQUEST":
		d.class, d.reason = Failed, "the gateway refuses the request as it stands"
	default:
		d.class, d.limit = Unknown, unknownLimit
		d.reason = fmt.Sprintf("result_code is %.40q and err_code %.40q, which is in no table", result, code)
	}
	if d.class != Closed && d.class != Paid {
		d.reason += a.words(a.fields.get("err_code_des"))
	}
	return d
}

const refusesMerchant = "the gateway refuses the merchant, so every further call would fail as well"

// unknownLimit is how often an answer that means nothing to us is worth a new
// attempt within one Close.
const unknownLimit = 3

// configLimit is how often a refusal of the merchant that nobody signed is worth
// a new attempt within one Close: a stray or forged one holds nobody.
const configLimit = 2

// decideUnsigned reads the words of a return_code=FAIL, which nobody signs:
// anybody on the way can have sent it. They are hints. They never conclude
// Closed or Paid, and never Failed either, although failing could not cause a
// double payment: a broken proxy that answers for the gateway would else turn
// every waiting request into a dead letter. A request that really cannot work
// ends as failed all the same, after the last of its later retries; it says of
// itself that they should be few.
//
// A refusal of the merchant is the exception that gets a class of its own: a
// wrong signature, which WeChat can only answer unsigned, or an identity or a
// permission that it finds wrong before it looks at the signature. It is our
// best sign of a wrong configuration; and the class MerchantRefused concludes
// nothing either: the merchant is held and probed until the answer is another
// one, so a forger delays it no longer than he keeps forging.
func decideUnsigned(msg string) decision {
	d := decision{code: CodeUnsignedFail, unsigned: true, class: Temporary}
	h, about := readWords(msg)
	switch h {
	case hintLimited:
		d.wait = limitedWait
		d.reason = "unsigned, and reads like a rate limit"
	case hintSignature:
		d.class, d.badSign, d.limit = MerchantRefused, true, configLimit
		d.reason = "unsigned, and reads like a wrong signature: look at the merchant's key and sign_type"
	case hintMerchant:
		d.class, d.about, d.limit = MerchantRefused, about, configLimit
		d.reason = fmt.Sprintf("unsigned, and reads like a refusal of the merchant's configuration: look at %v", about)
	case hintRequest:
		d.unworkable, d.limit = true, 1
		d.reason = "unsigned, and reads like a request that cannot work as it stands; no conclusion rests on that"
	default:
		d.reason = "an unsigned refusal proves nothing"
	}
	return d
}

// refusal is all that a return_code=FAIL says in words. They stand in
// return_msg; the sandbox has them in retmsg, and merchants have seen them in
// fields of other names.
func (a answer) refusal() string {
	var said []string
	for _, name := range [...]string{"return_msg", "retmsg", "err_code", "err_code_des", "error_code", "error_msg"} {
		if text := a.fields.get(name); text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return strings.Join(said, "; ")
}

// canonical is how codes are compared: they are spelt with and without
// underscores, and in either case.
func canonical(code string) string {
	return strings.ToUpper(strings.ReplaceAll(code, "_", ""))
}

// trade is what the queries after a close have shown.
type trade int

const (
	notQueried trade = iota
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
	case !a.verified:
		return unanswered, CodeUnsignedFail, "an unsigned refusal proves nothing" + a.words(a.refusal())
	case a.fields.get("result_code") != "SUCCESS":
		code = a.fields.get("err_code")
		if canonical(code) == saidNotExist {
			return tradeUnknown, code, "the gateway does not know the order"
		}
		return unanswered, cmp.Or(code, a.fields.get("result_code")), "the query was refused" + a.words(a.fields.get("err_code_des"))
	}
	state := a.fields.get("trade_state")
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

// blame says what a MerchantRefused decision is about. One bad field in one
// order must not hold a whole merchant: an appid that the order brought
// itself makes the request wrong, and a sub-merchant is held alone. What nobody
// signed fails no request.
func (d decision) blame(id identity) (decision, Scope) {
	if d.class != MerchantRefused {
		return d, Scope{}
	}
	s := Scope{MchID: id.mchID}
	if d.about&aboutAppID != 0 {
		if id.foreignAppID && !d.unsigned {
			d.class, d.reason = Failed, "the gateway refuses the appid that the order brought"
			return d, Scope{}
		}
		s.AppID = id.ownAppID
	}
	if d.about == aboutPermission || d.about&(aboutSubMchID|aboutSubAppID|aboutRelation) != 0 {
		s.SubMchID = id.ownSubMchID
	}
	if d.about&aboutSubAppID != 0 && id.ownSubAppID != "" && s.SubMchID == "" {
		// There is no holding a sub_appid: only this request cannot work.
		d.class, d.unworkable, d.limit = Temporary, true, 1
		return d, Scope{}
	}
	return d, s
}
