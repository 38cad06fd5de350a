package timeline

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
)

// words puts into sentences what became of an order. It decides nothing about
// requests: each says where it stands already.
type words struct {
	now    time.Time
	zone   *time.Location
	topics config.Topics
}

// conclude says where an order stands that has requests.
func (w *words) conclude(l *Life) {
	for i := range l.Requests {
		q := &l.Requests[i]
		q.Answer = w.answer(q)
		if again := sentAgain(l.Requests, q); q.State == Lost && again > 0 {
			q.Answer += fmt.Sprintf("; it was sent again as #%d", again)
		}
	}
	q := decisive(l.Requests)
	l.State, l.Answer, l.Next = q.State, q.Answer, w.next(l, q)
	if paid, closed := contradiction(l.Requests); paid != nil {
		l.State = Contradictory
		l.Answer = fmt.Sprintf("#%d says paid, and #%d that the number can no longer be paid: both cannot be true", paid.Number, closed.Number)
		l.Next = "ask the gateway (--ask-gateway), do not act on closed before that is clear, and report it: closeorder audit"
		return
	}
	if len(l.Requests) > 1 {
		l.Answer = fmt.Sprintf("#%d %s", q.Number, l.Answer)
	}
}

// sentAgain is the number of the last replay of a request, 0 where there is none.
func sentAgain(requests []Request, of *Request) (number int) {
	for i := range requests {
		if q := &requests[i]; q.RequestID == of.RequestID && q.Replay > of.Replay && q.Partition == of.Partition && q.Offset > of.Offset {
			number = q.Number
		}
	}
	return number
}

// contradiction are a request that is paid and one that is closed for good.
func contradiction(requests []Request) (paid, closed *Request) {
	for i := range requests {
		switch q := &requests[i]; {
		case q.State == Paid && paid == nil:
			paid = q
		case q.safe() && closed == nil:
			closed = q
		}
	}
	if paid == nil || closed == nil {
		return nil, nil
	}
	return paid, closed
}

// safe reports whether the number can no longer be paid.
func (q *Request) safe() bool { return q.State == Closed && q.answer != nil && q.answer.SafeToReissue }

// decisive is the request that the order stands and falls with: one that was answered
// for good, paid before closed and certain before doubtful, else the newest that will
// be answered, else the newest.
func decisive(requests []Request) *Request {
	weight := func(q *Request) int {
		switch {
		case q.State == Paid:
			return 4
		case q.safe():
			return 3
		case q.State == Closed:
			return 2
		case q.State == Waiting || q.State == InFlight:
			return 1
		}
		return 0
	}
	best := &requests[0]
	for i := range requests[1:] {
		q := &requests[i+1]
		if more := weight(q) - weight(best); more > 0 || more == 0 && !q.State.final() {
			best = q
		}
	}
	return best
}

// answer says where a request stands.
func (w *words) answer(q *Request) string {
	switch q.State {
	case Closed, Paid, Failed:
		return w.answered(q)
	case Waiting:
		return w.waiting(q.waits)
	case InFlight:
		return w.inFlight(q)
	case Lost:
		if q.dead {
			return "lost: it has a dead letter and no outcome, and the workers have finished it"
		}
		return "lost: the workers have finished it, and it is neither answered nor waiting"
	}
	return "no answer is to be seen, and whether there was one cannot be told: " + q.Why
}

func (w *words) answered(q *Request) string {
	e := q.answer
	text := string(q.State)
	switch took := e.Time.Sub(q.Time); {
	case !q.There:
	case took < 0:
		text += " (" + Span(-took) + " before the request by their clocks, which differ)"
	default:
		text += " " + Span(took) + " after the request"
	}
	switch {
	case q.safe():
		return text + "; the old number cannot be paid any more"
	case q.State == Closed:
		return text + "; nothing is payable now, but a create call may still arrive"
	case q.State == Failed:
		return text + ": " + why(e.Code, e.Message) + "; the order may be payable"
	}
	if g := e.Gateway; g != nil {
		if g.TransactionID != "" {
			text += ", transaction " + g.TransactionID
		}
		if g.TotalFee != 0 {
			text += fmt.Sprintf(", %d.%02d CNY", g.TotalFee/100, g.TotalFee%100)
		}
	}
	return text
}

func (w *words) waiting(e *Entry) string {
	text := fmt.Sprintf("waits in %s[%d]@%d", e.Topic, e.Partition, e.Offset)
	switch left := e.DueAt.Sub(w.now); {
	case left > 0:
		text += fmt.Sprintf(" until %s (%s from now)", w.at(e.DueAt), Span(left))
	default:
		text += fmt.Sprintf(", and has been due since %s (%s ago)", w.at(e.DueAt), Span(-left))
	}
	if e.WaitsFor != "" {
		return text + ": its merchant is held (" + e.WaitsFor + ") because " + why(e.Code, e.Message)
	}
	return text + " because " + why(e.Code, e.Message)
}

func (w *words) inFlight(q *Request) string {
	text := fmt.Sprintf("in flight at %s[%d]@%d for %s: not answered, and not finished by the workers", q.Topic, q.Partition, q.Offset, Span(w.now.Sub(q.Time)))
	if q.notBefore.After(w.now) {
		text += "; nothing is done before " + w.at(q.notBefore)
	}
	switch {
	case q.Passed:
		text += "; a worker has read it, as one behind it is finished"
	case q.Before >= MostBefore:
		return text + fmt.Sprintf("; more than %d requests of its partition stand before it, so that perhaps nobody has read it yet", MostBefore)
	case q.Before == 0:
		return text + "; it is the next of its partition"
	}
	switch q.Before {
	case 0:
		return text
	case 1:
		return text + "; one request of its partition before it is not finished either"
	}
	return text + fmt.Sprintf("; %d requests of its partition before it are not finished either", q.Before)
}

// why is a code with the words beside it.
func why(code, message string) string {
	switch {
	case message == "":
		return cmp.Or(code, "no reason is given")
	case code == "" || strings.HasPrefix(message, code):
		return message
	}
	return code + ": " + message
}

// stale is for how long a request may be due, or in flight, before somebody should look
// at the workers.
const stale = time.Minute

const lookAtWorkers = "see whether workers run and what holds them up: closeorder status"

// next is what to do about an order that stands and falls with a request.
func (w *words) next(l *Life, q *Request) string {
	switch q.State {
	case Closed:
		if q.safe() {
			return "nothing: a new number may be issued"
		}
		return "issue no new number while a create call may arrive; then ask again under a new request_id, with order_created_at where it is known: " + w.again(l)
	case Paid:
		return "treat it as a normal paid trade; if the order was given up already, refund it"
	case Failed:
		return w.afterFailure(l, q.answer)
	case Waiting:
		late := w.now.Sub(q.waits.DueAt) > stale
		switch {
		case q.waits.WaitsFor != "" && late: // a worker keeps it in its last retry topic while it is held
			return w.mend(l) + "; if it is mended already, " + lookAtWorkers
		case q.waits.WaitsFor != "":
			return w.mend(l)
		case late:
			return lookAtWorkers
		}
		return "nothing: it is tried again by itself, and answered in the end"
	case InFlight:
		if w.now.Sub(later(q.Time, q.notBefore)) > stale {
			return lookAtWorkers
		}
		if q.notBefore.After(w.now) {
			return "nothing: it waits for its not_before"
		}
		return "nothing yet: most answers come within seconds; after a minute see closeorder status"
	case Lost:
		return "have it answered: closeorder audit --republish; or ask again, which is safe: " + w.again(l)
	}
	return "ask again, which is safe: " + w.again(l) + "; or see what the gateway says: add --ask-gateway"
}

// mend is what to do about a merchant that is held.
func (w *words) mend(l *Life) string {
	return "mend the merchant " + merchant(l) + " (key, appid, rights at WeChat Pay; closeorder doctor --probe shows what it lacks); its requests go on by themselves then"
}

// afterFailure is docs/contract.md, Codes, in short.
func (w *words) afterFailure(l *Life, e *Entry) string {
	replay := "closeorder deadletters replay --out-trade-no " + Quoted(l.OutTradeNo)
	payable := "; issue no new number before"
	switch strings.ToUpper(strings.ReplaceAll(e.Code, "_", "")) {
	case "INVALIDREQUEST":
		return "mend what the message names and send it again" + payable
	case "UNKNOWNMERCHANT":
		return "check the mch_id; else configure the merchant and have the dead letter replayed: " + replay + payable
	case "EXPIRED":
		return "decide: its expires_at passed before it was closed; to have it closed after all ask again: " + w.again(l) + payable
	case "RETRIESEXHAUSTED":
		return "have the dead letter replayed: " + replay + payable
	case "RECORDTOOLARGE":
		return "send less metadata, or raise max.message.bytes of the retry topics" + payable
	case "APPIDNOTEXIST", "APPIDMCHIDNOTMATCH":
		return "send the merchant's appid, or none" + payable
	case "PARAMERROR", "LACKPARAMS", "XMLFORMATERROR", "REQUIREPOSTMETHOD", "POSTDATAEMPTY", "NOTUTF8":
		return "WeChat Pay refuses the request as it stands: mend it and send it again" + payable
	}
	return "ask WeChat Pay what its code means, and treat the order as payable; see how it stands now: add --ask-gateway"
}

// again is the command that asks once more.
func (w *words) again(l *Life) string {
	text := "closeorder request --mch-id " + Quoted(l.MchID)
	if l.SubMchID != "" {
		text += " --sub-mch-id " + Quoted(l.SubMchID)
	}
	return text + " --out-trade-no " + Quoted(l.OutTradeNo)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func merchant(l *Life) string { return strings.TrimSuffix(l.MchID+"/"+l.SubMchID, "/") }

// Quoted is a word for a shell: in quotes where it could mean something else there.
func Quoted(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("_-.@:/", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// at is a time in a sentence, with its zone.
func (w *words) at(t time.Time) string {
	zone := w.zone
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format(Layout)
}

// Layout is how a time is written for people.
const Layout = "2006-01-02 15:04:05Z07:00"

// Span writes how long something took, in two units at most: 20 ms, 3.2 s, 5 min 3 s,
// 2 h 36 min, 3 d 4 h.
func Span(d time.Duration) string {
	if d < 0 {
		return "-" + Span(d.Abs()) // -d of the least one is itself
	}
	two := func(n int64, unit string, rest int64, small string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, rest, small)
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case d == 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}
