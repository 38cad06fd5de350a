package gatewaysim

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Behaviour is what orders do whose out_trade_no begins with Prefix.
type Behaviour struct {
	// Prefix in upper case; empty for every order without another prefix.
	// Letter case does not matter, and the longest prefix counts: PAID,
	// paid-7 and Paidx1 are all of PAID.
	Prefix string
	// What the order is, or does.
	What string
	// Outcome of a close request for it: closed, paid or failed, and what is
	// worth knowing of it.
	Outcome string

	// open sets the state that it is found in (unpaid where nil) and plans
	// its future.
	open func(o *order, now time.Time, cfg *Config)
	// script says what is done to a call. It sees the order before the call.
	script script
	// busy is what a close answers while the buyer is paying.
	busy string
}

// Behaviours is the table that "closeorder simulate --help" prints, in order.
// Numbers and times in it are the defaults of [Config].
func Behaviours() []Behaviour { return slices.Clone(behaviours[:]) }

type script func(o *order, c *Call, now time.Time, cfg *Config) Fault

// first fails the first calls and then lets the order be what it is.
func first(faults ...Fault) script {
	return func(_ *order, c *Call, _ time.Time, cfg *Config) Fault {
		if c.N > cfg.FlakyCalls {
			return Fault{}
		}
		return faults[(c.N-1)%len(faults)]
	}
}

// always does the same to every call.
func always(f Fault) script {
	return func(*order, *Call, time.Time, *Config) Fault { return f }
}

// when does something to those calls alone that a condition holds for.
func when(holds func(o *order, c *Call, now time.Time) bool, f Fault) script {
	return func(o *order, c *Call, now time.Time, _ *Config) Fault {
		if holds(o, c, now) {
			return f
		}
		return Fault{}
	}
}

// claims answers that the order is closed, in a way that must convince
// nobody: the order stays payable.
func claims(s Spoil) script {
	return always(Fault{Code: "SUCCESS", TradeState: Closed, Spoil: s})
}

// is opens an order in a state.
func is(state State) func(*order, time.Time, *Config) {
	return func(o *order, _ time.Time, _ *Config) { o.state = state }
}

// late opens an order whose create is still on its way, and which is paid as
// long after it again where paid is set.
func late(paid bool) func(*order, time.Time, *Config) {
	return func(o *order, now time.Time, cfg *Config) {
		o.state = Unknown
		o.schedule(now.Add(cfg.LateCreate), Created)
		if paid {
			o.schedule(now.Add(2*cfg.LateCreate), PaidByBuyer)
		}
	}
}

// paying opens an order whose buyer is paying, and what comes of it.
func paying(end What) func(*order, time.Time, *Config) {
	return func(o *order, now time.Time, cfg *Config) {
		o.state = UserPaying
		o.schedule(now.Add(cfg.BuyerTime), end)
	}
}

// vacuous answers SUCCESS to a close of a number that is not known.
var vacuous = when(func(o *order, c *Call, _ time.Time) bool { return c.Op == CloseOrder && o.state == Unknown }, Fault{Code: "SUCCESS"})

var behaviours = [...]Behaviour{
	{Prefix: "", What: "exists and is unpaid", Outcome: "closed"},
	{Prefix: "PAID", What: "the buyer has paid", Outcome: "paid", open: is(Paid)},
	{Prefix: "REFUND", What: "the buyer has paid, the money went back", Outcome: "paid", open: is(Refunded)},
	{Prefix: "CLOSED", What: "was closed before: ORDERCLOSED", Outcome: "closed", open: is(Closed)},
	{Prefix: "REVOKED", What: "was revoked: ORDERREVERSED, the query says REVOKED", Outcome: "closed", open: is(Revoked)},
	{Prefix: "UNKNOWN", What: "was never submitted: ORDERNOTEXIST", Outcome: "closed", open: is(Unknown)},
	{Prefix: "FLAKY", What: "the first two calls fail (SYSTEMERROR, then a dropped connection)", Outcome: "closed",
		script: first(Fault{Code: "SYSTEMERROR"}, Fault{Spoil: Drop})},
	{Prefix: "SLOW", What: "every call takes 3 s", Outcome: "closed",
		script: func(_ *order, _ *Call, _ time.Time, cfg *Config) Fault { return Fault{Delay: cfg.Slow} }},
	{Prefix: "DEAD", What: "is refused for good: PARAM_ERROR", Outcome: "failed", script: always(Fault{Code: "PARAM_ERROR"})},
	{Prefix: "FAIL", What: "the same", Outcome: "failed", script: always(Fault{Code: "PARAM_ERROR"})},
	{Prefix: "SYSERR", What: "SYSTEMERROR for ever", Outcome: "failed after all retries", script: always(Fault{Code: "SYSTEMERROR"})},
	{Prefix: "LIMIT", What: "FREQUENCY_LIMITED while the buyer is paying, then paid", Outcome: "paid", busy: "FREQUENCY_LIMITED", open: paying(PaidByBuyer)},
	{Prefix: "PAYING", What: "USERPAYING until the buyer gives up, then closable", Outcome: "closed", open: paying(PayGivenUp)},
	{Prefix: "PAYERROR", What: "a payment failed, the buyer may try again", Outcome: "closed", open: is(PayError)},

	{Prefix: "GAP", What: "the buyer pays right after the first call (SYSTEMERROR, a query: NOTPAY)", Outcome: "paid",
		script: func(o *order, c *Call, now time.Time, _ *Config) Fault {
			if c.N > 1 {
				return Fault{}
			}
			o.schedule(now, PaidByBuyer)
			if c.Op == OrderQuery {
				return Fault{Code: "SUCCESS", TradeState: NotPay}
			}
			return Fault{Code: "SYSTEMERROR"}
		}},
	{Prefix: "LOST", What: "the first two calls take effect, their replies are lost", Outcome: "closed", script: first(Fault{Spoil: Lose})},
	{Prefix: "APPLIED", What: "the first two calls take effect and answer SYSTEMERROR", Outcome: "closed",
		script: first(Fault{Code: "SYSTEMERROR", Applied: true})},
	{Prefix: "RATE", What: "the first two calls are told, unsigned, to slow down", Outcome: "closed", script: first(Fault{ReturnMsg: msgFrequency})},
	{Prefix: "STALE", What: "for 2 s after the close a query still says NOTPAY", Outcome: "closed",
		script: when(func(o *order, c *Call, now time.Time) bool {
			return c.Op == OrderQuery && o.state == Closed && now.Sub(time.Unix(0, o.events[len(o.events)-1].at)) < 2*time.Second
		}, Fault{Code: "SUCCESS", TradeState: NotPay})},
	{Prefix: "GHOST", What: "the first close answers SUCCESS and does nothing", Outcome: "closed, wrongly so unless it is confirmed by a query",
		script: when(func(o *order, c *Call, _ time.Time) bool { return c.Op == CloseOrder && o.closes == 1 }, Fault{Code: "SUCCESS"})},
	{Prefix: "REFUSED", What: "the first close is refused for good (PARAM_ERROR), the next is not", Outcome: "failed, closed when asked again",
		script: when(func(o *order, c *Call, _ time.Time) bool { return c.Op == CloseOrder && o.closes == 1 }, Fault{Code: "PARAM_ERROR"})},
	{Prefix: "VACUOUS", What: "was never submitted, and a close answers SUCCESS", Outcome: "closed", open: is(Unknown), script: vacuous},
	{Prefix: "LATECREATE", What: "ORDERNOTEXIST, then its create arrives: payable", Outcome: "closed, not safe to reissue before the create has arrived", open: late(false)},
	{Prefix: "LATEVACUOUS", What: "SUCCESS, then its create arrives: payable", Outcome: "closed, not safe to reissue before the create has arrived", open: late(false), script: vacuous},
	{Prefix: "LATEPAID", What: "ORDERNOTEXIST, then its create arrives, then the buyer pays", Outcome: "closed in between, paid later", open: late(true)},

	{Prefix: "DROP", What: "the first two calls are dropped without a reply", Outcome: "closed", script: first(Fault{Spoil: Drop})},
	{Prefix: "STALL", What: "the first two calls take effect and are never answered", Outcome: "closed", script: first(Fault{Spoil: Stall})},
	{Prefix: "RESET", What: "the first two replies are reset in the middle", Outcome: "closed", script: first(Fault{Spoil: Reset})},
	{Prefix: "DRIP", What: "the first two replies come at one byte per second", Outcome: "closed", script: first(Fault{Spoil: Drip})},
	{Prefix: "KEPT", What: "the first two calls take effect, and are dropped where the connection was kept", Outcome: "closed", script: first(Fault{Spoil: LoseKept})},
	{Prefix: "STATUS", What: "the first two calls get status 502", Outcome: "closed", script: first(Fault{Spoil: BadGateway})},
	{Prefix: "ATTACH", What: "queries carry the merchant's own text, attach a=1&total_fee=100", Outcome: "closed", script: always(Fault{Attach: "a=1&total_fee=100"})},

	{Prefix: "HTML", What: "a web page in place of a reply", Outcome: "failed", script: claims(HTML)},
	{Prefix: "EMPTY", What: "an empty reply", Outcome: "failed", script: claims(Empty)},
	{Prefix: "FORGED", What: "says closed, signed with a wrong key", Outcome: "failed", script: claims(Forged)},
	{Prefix: "UNSIGNED", What: "says closed, without a signature", Outcome: "failed", script: claims(Unsigned)},
	{Prefix: "UNSIGNEDFAIL", What: "return_code=FAIL, unsigned, and says closed", Outcome: "failed", script: claims(UnsignedFail)},
	{Prefix: "DOWNGRADE", What: "says closed, signed by the other algorithm than the request's", Outcome: "failed", script: claims(OtherAlgorithm)},
	{Prefix: "OTHERMCH", What: "says closed, of another mch_id", Outcome: "failed", script: claims(OtherMch)},
	{Prefix: "OTHERNO", What: "SYSTEMERROR, and a query speaks of another out_trade_no", Outcome: "failed",
		script: func(_ *order, c *Call, _ time.Time, _ *Config) Fault {
			if c.Op == OrderQuery {
				return Fault{Code: "SUCCESS", TradeState: Closed, Spoil: OtherNo}
			}
			return Fault{Code: "SYSTEMERROR"}
		}},
	{Prefix: "DUPFIELD", What: "says closed, with result_code twice", Outcome: "failed", script: claims(DupField)},
	{Prefix: "NESTED", What: "says closed, with an element inside result_code", Outcome: "failed", script: claims(Nested)},
	{Prefix: "DOCTYPE", What: "says closed, with a document type", Outcome: "failed", script: claims(Doctype)},
	{Prefix: "TRAILING", What: "says closed, with a second document behind", Outcome: "failed", script: claims(Trailing)},
	{Prefix: "OTHERROOT", What: "says closed, with another root than xml", Outcome: "failed", script: claims(OtherRoot)},
	{Prefix: "HUGE", What: "says closed, in 70 KiB", Outcome: "failed", script: claims(Huge)},
	{Prefix: "BADXML", What: "says closed, cut off in the middle", Outcome: "failed", script: claims(BadXML)},
	{Prefix: "NOTUTF8", What: "says closed, in GBK", Outcome: "failed", script: claims(NotUTF8)},

	{Prefix: "NOAUTH", What: "the merchant's configuration is refused: NOAUTH", Outcome: "none: all requests of the merchant are held", script: always(Fault{Code: "NOAUTH"})},
	{Prefix: "SIGNERROR", What: "signature error (return_code=FAIL, unsigned)", Outcome: "none: all requests of the merchant are held", script: always(Fault{ReturnMsg: msgSignature})},
	{Prefix: "MISMATCH", What: "appid and mch_id do not match (return_code=FAIL, unsigned)", Outcome: "none: all requests of the merchant are held", script: always(Fault{ReturnMsg: msgMismatch})},
	{Prefix: "NOPERMISSION", What: "the product is not opened (return_code=FAIL, unsigned)", Outcome: "none: all requests of the merchant are held", script: always(Fault{ReturnMsg: msgPermission})},
	{Prefix: "INPUTSOURCE", What: "a field of the request breaks a rule (return_code=FAIL, unsigned)", Outcome: "failed", script: always(Fault{ReturnMsg: msgInput})},
	{Prefix: codePrefix, What: "any code, for ever: CODE-BANKERROR-1 answers BANKERROR", Outcome: "depends on the code",
		script: func(_ *order, c *Call, _ time.Time, _ *Config) Fault { return Fault{Code: codeOf(c.OutTradeNo)} }},
}

const codePrefix = "CODE-"

// codeOf is the part between the first and the second hyphen, SYSTEMERROR
// where it is empty.
func codeOf(outTradeNo string) string {
	code, _, _ := strings.Cut(outTradeNo[len(codePrefix):], "-")
	return cmp.Or(strings.ToUpper(code), "SYSTEMERROR")
}

// lateBehaviours are those that Config.LateCreates chooses from.
var lateBehaviours = [...]*Behaviour{behaviourOf("LATECREATE"), behaviourOf("LATEVACUOUS"), behaviourOf("LATEPAID")}

// behaviourOf is the one with the longest prefix that outTradeNo has.
func behaviourOf(outTradeNo string) *Behaviour {
	longest, upper := &behaviours[0], strings.ToUpper(outTradeNo)
	for i := range behaviours {
		if b := &behaviours[i]; len(b.Prefix) > len(longest.Prefix) && strings.HasPrefix(upper, b.Prefix) {
			longest = b
		}
	}
	return longest
}
