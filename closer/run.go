package closer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/closeorder/closeorder/signing"
)

// queryPauses are the pauses between queries about one close: a query can
// still say NOTPAY for a moment after it.
var queryPauses = [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second}

const (
	// maxReclose bounds how often an order is closed again because the query
	// shows it open after the close succeeded.
	maxReclose = 3
	// queryFrom is the round from which on a query goes before each close,
	// whatever the last answer was: an answer that persists is worth asking about.
	queryFrom = 3
)

// run is one Close under way. It belongs to one goroutine.
type run struct {
	c       *Closer
	ctx     context.Context
	order   Order
	created time.Time // Order.CreatedAt, on the clock of this process
	m       Merchant
	id      identity
	hosts   []*host
	account *account
	pace    *pace

	calls     int
	lastCall  time.Time // when it began
	rounds    int
	moves     int // times a host let this run down
	lost      bool
	paid      bool      // a close was answered with paid
	closedAt  time.Time // when the last answered close was made
	queriedAt time.Time // when the query was made that lastTrade is from
	starved   bool      // the last call that was wanted found no free slot in time
	last      decision
	lastTrade trade
	tradeCode string
	streak    int // answers like the last one in a row
	reclosed  int
	scope     Scope
	evidence  Evidence
	pending   *Attempt // seen by the observer once it is known what follows
}

// errAgain makes backoff go on. Its text is never shown.
var errAgain = errors.New("again")

// do makes rounds until one concludes, the budget is over, or ctx ends. A
// round reports false when another one must follow after a pause.
func (r *run) do(round func() (Verdict, bool)) Verdict {
	var v Verdict
	later, err := r.account.begin(r.ctx)
	if later > 0 {
		v = r.verdict(Temporary, CodeOwnRate, "the merchant's rate is used up for the next "+later.Round(time.Second).String())
		v.RetryAfter = later
		return v
	}
	if err == nil {
		r.pace.deadline = time.Now().Add(r.c.cfg.Budget)
		err = backoff.RetryNotify(
			func() error {
				got, done := round()
				if done {
					v = got
					return nil
				}
				if r.ctx.Err() != nil {
					return backoff.Permanent(r.ctx.Err())
				}
				return errAgain
			},
			backoff.WithContext(r.pace, r.ctx),
			func(_ error, wait time.Duration) { r.observe(wait) },
		)
	}
	r.observe(0)
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		v = r.verdict(Interrupted, CodeInterrupted, fmt.Sprintf("interrupted: %v", context.Cause(r.ctx)))
	default:
		v = r.exhausted()
	}
	v.Calls, v.LastCall = r.calls, r.lastCall
	v.Starved = r.starved && (v.Class == Temporary || v.Class == NoAnswer)
	return v
}

// closeRound is one close with the queries that go before and after it. It reports
// false when the order must be closed again after a pause.
func (r *run) closeRound() (Verdict, bool) {
	r.rounds++
	if r.rounds > 1 && r.c.cfg.Confirm != ConfirmNever && (r.last.queryFirst || r.rounds >= queryFrom) {
		if v, done := r.query(1); done {
			return v, true
		}
	}
	if !r.close() {
		return Verdict{}, false
	}
	if r.last.class == MerchantRefused {
		return r.refused(), r.spent() || r.last.limit == 0
	}
	ruling := r.rule()
	switch ruling.step {
	case conclude:
		return r.concluded(ruling), true
	case queryFirst:
		times := 1
		if r.last.class == Closed || r.last.class == Paid {
			times = 1 + len(queryPauses)
		}
		if v, done := r.query(times); done {
			return v, true
		}
		if r.last.class == Closed && r.lastTrade == tradeOpen {
			if r.reclosed++; r.reclosed > maxReclose {
				return r.exhausted(), true
			}
			r.last.queryFirst = true // query, and if it is still open close at once, without a gap
		}
	}
	if r.spent() {
		return r.exhausted(), true
	}
	return Verdict{}, false
}

// spent reports whether the last answer came as often as it is worth another
// attempt.
func (r *run) spent() bool { return r.last.limit > 0 && r.streak >= r.last.limit }

// rule settles what is known now. The age that counts is the order's when the
// call was made that found it, or did not: a create call can arrive before its
// answer.
func (r *run) rule() ruling {
	at := r.closedAt
	if r.lastTrade == tradeUnknown {
		at = r.queriedAt
	}
	return weigh(standing{close: r.last, query: r.lastTrade, age: r.age(at), confirm: r.c.cfg.Confirm, lost: r.lost, paid: r.paid})
}

func (r *run) age(at time.Time) age {
	switch settle := r.c.cfg.SettleAge; {
	case settle < 0:
		return settled
	case r.created.IsZero():
		return ageUnknown
	case at.Sub(r.created) < settle:
		return young
	}
	return settled
}

// anyOrder is before every order, and after the days at which calendars of
// programs begin: 1900, 1970, 1980.
var anyOrder = time.Date(1981, 1, 1, 0, 0, 0, 0, time.UTC)

// onOurClock is a time that somebody else has written down as a moment of the
// clock that this process measures durations with, seen at now. What it is
// compared with later has that clock too, so a wall clock that jumps during a
// run makes no order older. It is zero, which is unknown, for the time of a field
// that nobody has set, such as 1970-01-01: that is not the age of any order.
func onOurClock(t, now time.Time) time.Time {
	if t.Before(anyOrder) {
		return time.Time{}
	}
	// A century on either side is as good as any: what is further away would
	// overflow, and a time that far ahead must not come out behind.
	const most = 100 * 365 * 24 * time.Hour
	return now.Add(-min(max(now.Sub(t), -most), most))
}

// close makes one close and takes in its answer. It reports false when no
// call was made or ctx ended.
func (r *run) close() bool {
	a, ok := r.exchange(CallClose)
	if !ok {
		return false
	}
	r.closedAt = r.lastCall
	r.heard(decide(a))
	r.lost = r.lost || r.last.class == NoAnswer
	r.paid = r.paid || r.last.class == Paid
	return true
}

// heard takes in what an answer means.
func (r *run) heard(d decision) {
	d, r.scope = d.blame(r.id)
	if d.class == r.last.class && d.said == r.last.said {
		r.streak++
	} else {
		r.streak = 1
	}
	r.last = d
	r.lastTrade, r.tradeCode = notQueried, ""
	r.pace.least = d.wait
	if d.class == NoAnswer {
		r.moves++ // closing again on another host is safe
	}
	r.saw(d.class, d.code, d.reason)
}

// query asks about the order, up to times times and for as long as the
// answers settle nothing.
func (r *run) query(times int) (Verdict, bool) {
	for i := range times {
		if i > 0 {
			wait := queryPauses[i-1]
			if time.Now().Add(wait).After(r.pace.deadline) {
				return Verdict{}, false
			}
			r.observe(wait)
			if sleep(r.ctx, wait) != nil {
				return Verdict{}, false
			}
		}
		a, ok := r.exchange(CallQuery)
		if !ok {
			return Verdict{}, false
		}
		t, code, reason := decideQuery(a)
		class := Temporary
		switch {
		case a.failure != "":
			class = NoAnswer
			r.moves++
		case t == tradeClosed:
			class = Closed
		case t == tradePaid:
			class = Paid
		}
		r.saw(class, code, reason)
		// An answer is worth more than none after it.
		if t != unanswered || r.lastTrade == notQueried {
			r.lastTrade, r.tradeCode, r.queriedAt = t, code, r.lastCall
		}
		ruling := r.rule()
		switch ruling.step {
		case conclude:
			// The close's own word stands without the query's, but only when
			// all queries have been tried.
			if t == unanswered && i < times-1 {
				continue
			}
			return r.concluded(ruling), true
		case later:
			return r.unsettled(code), true
		}
	}
	return Verdict{}, false
}

// exchange makes one call, and one more for each further key while the
// gateway says that the signature is wrong. A call that was lost on a
// connection that had been idle is made again at once, once, on a new one: a
// gateway closes such connections when it likes. exchange reports false when no
// call was made before the budget or ctx ended, or ctx ended during it.
func (r *run) exchange(call Call) (answer, bool) {
	keys := r.m.Keys
	first := r.account.firstKey()
	if first >= len(keys) {
		first = 0
	}
	var a answer
	repeated := false
	for i := range keys {
		n := (first + i) % len(keys)
		var ok bool
		if a, ok = r.call(call, n, r.c.client); !ok {
			return answer{}, false
		}
		if !repeated && lostIdle(a, r.pending.Reused) {
			repeated = true
			r.lost = r.lost || call == CallClose
			r.saw(NoAnswer, string(a.failure), fmt.Sprintf("no answer: %v; the connection had been idle: again at once", a.err))
			if again, ok := r.call(call, n, r.c.fresh); ok {
				a = again
			} else if r.ctx.Err() != nil {
				return answer{}, false
			}
		}
		if badSignature(a) && i < len(keys)-1 {
			d := decide(a)
			r.saw(d.class, d.code, d.reason+"; trying the next key")
			continue
		}
		if a.signed && !badSignature(a) && n != first {
			r.account.worked(n)
		}
		break
	}
	return a, true
}

// badSignature reports whether the gateway says that our signature is wrong.
func badSignature(a answer) bool {
	return a.failure == "" && a.fields["result_code"] != "SUCCESS" && decide(a).badSign
}

// lostIdle reports whether a call was lost on a connection that had been idle.
func lostIdle(a answer, reused bool) bool { return reused && a.failure == FailLost }

// call makes one call with the given key.
func (r *run) call(call Call, key int, client *http.Client) (answer, bool) {
	if r.calls > 0 {
		r.observe(0)
		if err := r.account.wait(r.ctx, r.pace.deadline); err != nil {
			r.starved = r.ctx.Err() == nil
			return answer{}, false
		}
	}
	slotCtx, cancel := context.WithDeadline(r.ctx, r.pace.deadline)
	h, err := take(slotCtx, r.hosts, r.moves, time.Now())
	cancel()
	if err != nil {
		r.starved = r.ctx.Err() == nil
		if r.last.class == 0 {
			r.last = decision{class: NoAnswer, code: string(FailBusy), reason: "no call slot of the host was free"}
			r.evidence.Host = h.url
		}
		return answer{}, false
	}
	if r.calls++; r.calls == 1 {
		// The wait for a free slot was no try.
		r.pace.deadline = time.Now().Add(r.c.cfg.Budget)
	}

	fields := requestFields(r.id, r.m.SignType, newNonce())
	var doc bytes.Buffer
	doc.Grow(512)
	sign := signing.Sign(fields, r.m.Keys[key], r.m.SignType)
	appendXML(&doc, fields, sign)
	buf := replyBuffers.Get().(*bytes.Buffer)
	defer replyBuffers.Put(buf)

	start := time.Now()
	r.lastCall = start
	ctx, cancel := context.WithTimeout(r.ctx, r.c.cfg.AttemptTimeout)
	defer cancel()
	d := post(ctx, client, h.url+"/pay/"+string(call), r.c.cfg.UserAgent, doc.Bytes(), buf)
	var a answer
	if d.failure != "" {
		a = answer{failure: d.failure, err: d.err}
	} else {
		a = checkReply(d.body, call, r.id, r.m.Keys, r.m.SignType)
	}
	now := time.Now()
	took := now.Sub(start)

	interrupted := d.failure != "" && r.ctx.Err() != nil
	// That a connection was closed which had been idle says nothing of the host:
	// all of them are when it starts anew.
	h.leave(a.failure, interrupted || lostIdle(a, d.reused), took, now)
	r.gather(call, h.host, a)
	r.pending = &Attempt{
		Order: r.order, Call: call, Number: r.calls, Host: h.url, Start: start, Duration: took,
		Reused: d.reused, Status: d.status, Key: key + 1, Reply: shown(a.fields, r.id, sign),
		Failure: a.failure, Err: a.err, request: fields,
	}
	if len(a.fields) == 0 {
		r.pending.Body = excerpt(d.body)
	}
	if interrupted {
		r.pending.Class, r.pending.Code, r.pending.Failure = Interrupted, CodeInterrupted, ""
		r.pending.Reason = "the context ended during the call"
		return answer{}, false
	}
	return a, true
}

// replyBuffers spares an allocation of a few KiB per call.
var replyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// ours are the fields whose values we know, or that may well be long numbers.
var ours = map[string]bool{
	"appid": true, "mch_id": true, "sub_appid": true, "sub_mch_id": true, "out_trade_no": true,
	"nonce_str": true, "transaction_id": true,
}

// shown drops the signature from what observers see, and whatever may be one
// in a text: a hostile or curious gateway can send back the one that was sent.
func shown(fields map[string]string, id identity, sent string) map[string]string {
	for name, value := range fields {
		switch {
		case strings.EqualFold(name, signing.FieldSign), hexRun.MatchString(name):
			delete(fields, name)
		case !ours[name] || strings.Contains(strings.ToUpper(value), sent):
			fields[name] = id.mask(value)
		}
	}
	return fields
}

// excerpt is the beginning of a body that could not be read, fit to be
// printed: a reply that is nearly right may have a signature in it.
func excerpt(body []byte) string {
	s := maskHex(strings.ToValidUTF8(string(body[:min(len(body), 1024)]), "?"))
	return strings.ToValidUTF8(s[:min(len(s), 256)], "")
}

// said is a text of the gateway's for people: short, and without what may be
// a signature.
func (id identity) said(text string) string {
	const most = 1024
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return id.mask(text)
}

// mask is maskHex, but for the identities that were sent: an appid is long
// enough to be one half of a signature.
func (id identity) mask(text string) string {
	return hexRun.ReplaceAllStringFunc(text, func(run string) string {
		for _, ours := range [...]string{id.appID, id.mchID, id.subAppID, id.subMchID, id.outTradeNo} {
			if strings.Contains(ours, run) {
				return run
			}
		}
		return maskHex(run)
	})
}

// saw completes the pending attempt with what its answer means.
func (r *run) saw(c Class, code, reason string) {
	if r.pending != nil {
		r.pending.Class, r.pending.Code, r.pending.Reason = c, code, reason
	}
}

// observe hands the pending attempt to the observer.
func (r *run) observe(wait time.Duration) {
	if r.pending == nil {
		return
	}
	a := *r.pending
	r.pending = nil
	a.Wait = wait
	if r.c.cfg.Observe != nil {
		r.c.cfg.Observe(r.ctx, a)
	}
}

// gather keeps the gateway's words for the verdict. Of an answer that could
// not be believed only the host is kept. A query does not overwrite what the
// close was answered.
func (r *run) gather(call Call, h *host, a answer) {
	e := &r.evidence
	if e.ReturnCode == "" {
		e.Host = h.url
	}
	if a.failure != "" {
		return
	}
	f := a.fields
	if call == CallClose || e.ReturnCode == "" {
		e.Host = h.url
		e.ReturnCode, e.ReturnMsg = r.id.said(f["return_code"]), r.id.said(or(f["return_msg"], f["retmsg"]))
		e.ResultCode, e.ErrCode, e.ErrCodeDes = r.id.said(f["result_code"]), r.id.said(f["err_code"]), r.id.said(f["err_code_des"])
	}
	if call != CallQuery || !a.signed {
		return
	}
	e.TradeState, e.TransactionID, e.TimeEnd = f["trade_state"], f["transaction_id"], f["time_end"]
	e.TotalFee = 0
	if fee, err := strconv.ParseInt(f["total_fee"], 10, 64); err == nil && fee > 0 {
		e.TotalFee = fee
	}
}

func (r *run) verdict(c Class, code, message string) Verdict {
	return Verdict{Class: c, Code: code, Message: message, Gateway: r.evidence}
}

// concluded is the verdict of a ruling.
func (r *run) concluded(ru ruling) Verdict {
	code, why := r.last.code, r.last.reason
	if ru.confirmedBy == ConfirmedByOrderQuery && r.last.class != ru.class {
		code = r.tradeCode
	}
	if ru.confirmedBy == ConfirmedByOrderQuery {
		if r.lastTrade == tradeUnknown {
			code = r.tradeCode
		}
		why = fmt.Sprintf("orderquery says %s", r.tradeCode)
	}
	v := r.verdict(ru.class, code, why)
	v.ConfirmedBy, v.SafeToReissue = ru.confirmedBy, ru.safe
	return v
}

// unconfirmed is the verdict about a doubt that the query has not ended. Where
// the host gave it no answer, that is what there is to say.
func (r *run) unconfirmed(code, why string) Verdict {
	if f := Failure(r.tradeCode); r.lastTrade == unanswered && f.HostDown() {
		return r.verdict(NoAnswer, string(f), why)
	}
	return r.verdict(Temporary, code, why)
}

// unsettled is the verdict about an order that is not there, yet.
func (r *run) unsettled(code string) Verdict {
	v := r.verdict(Temporary, code, "the gateway does not know the order, which is so young that its create call may still arrive")
	v.RetryAfter = max(r.c.cfg.SettleAge-time.Since(r.created), 0)
	return v
}

// refused is the verdict about a merchant whose calls cannot work.
func (r *run) refused() Verdict {
	v := r.verdict(MerchantRefused, r.last.code, r.last.reason)
	v.Scope, v.Unsigned = r.scope, r.last.unsigned
	return v
}

// exhausted is the verdict when the budget, or the bound of a certain answer,
// is over.
func (r *run) exhausted() Verdict {
	d := r.last
	switch d.class {
	case Unknown:
		if r.c.cfg.Confirm != ConfirmNever && (r.lastTrade == notQueried || r.lastTrade == unanswered) {
			// In trouble the query may not have come through: that is no
			// reason of the order's own to fail.
			return r.unconfirmed(or(d.code, "UNKNOWN"), d.reason+", and orderquery has not been answered")
		}
		return r.verdict(Failed, or(d.code, "UNKNOWN"), d.reason)
	case NoAnswer:
		return r.verdict(NoAnswer, d.code, d.reason)
	case MerchantRefused:
		return r.refused()
	case Closed, Paid, Failed:
		if r.lastTrade == notQueried {
			r.lastTrade, r.tradeCode = unanswered, "not asked"
		}
		if ru := r.rule(); ru.step == conclude {
			return r.concluded(ru)
		}
		// The doubt was not ended: what the query said, or did not, is why.
		return r.unconfirmed(r.tradeCode, fmt.Sprintf("%s, but orderquery does not confirm it: %s", d.reason, r.tradeCode))
	}
	v := r.verdict(Temporary, d.code, d.reason)
	v.RetryAfter, v.Unsigned, v.Unworkable = d.wait, d.unsigned, d.unworkable
	return v
}
