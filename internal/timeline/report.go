package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Report is what became of an order, all times in UTC. As JSON its names are stable:
// names may be added, none is changed or taken away.
type Report struct {
	OutTradeNo string    `json:"out_trade_no"`
	Group      string    `json:"group"`
	Since      time.Time `json:"since,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	AsOf       time.Time `json:"as_of"`
	// Lives are the orders with that number, one for each merchant. There is none
	// where nobody has asked about it.
	Lives []Life `json:"orders"`
	// Read says what was read; All that nothing was left out.
	Read []Reading `json:"read"`
	All  bool      `json:"all"`
	// HeldSince is from when on the requests topic holds all that was sent to it,
	// zero where nothing was deleted.
	HeldSince time.Time `json:"held_since,omitzero"`
	// Notes say in words what limits the report.
	Notes []string `json:"notes"`
}

// Bad reports whether an order needs somebody: see [State.Bad].
func (r *Report) Bad() bool {
	return slices.ContainsFunc(r.Lives, func(l Life) bool { return l.State.Bad() })
}

// Reading is what was read of a topic.
type Reading struct {
	Topic      string `json:"topic"`
	Partitions []int  `json:"partitions"`
	Of         int    `json:"of"`
	Offsets    int64  `json:"offsets"`
}

// Life is one order and all that is known of it.
type Life struct {
	MchID      string `json:"mch_id,omitempty"`
	SubMchID   string `json:"sub_mch_id,omitempty"`
	OutTradeNo string `json:"out_trade_no"`
	// AppID and SubAppID are those that its requests brought.
	AppID    string `json:"appid,omitempty"`
	SubAppID string `json:"sub_appid,omitempty"`
	// State is where the order stands, Answer the same in a sentence, and Next what
	// to do about it.
	State  State  `json:"state"`
	Answer string `json:"answer"`
	Next   string `json:"next"`
	// Requests are those about it, in their order.
	Requests []Request `json:"requests"`
	// Entries is the timeline.
	Entries []Entry `json:"timeline"`
}

// CreatedAt is when the order was made, as its requests say; zero where none does.
func (l *Life) CreatedAt() (at time.Time) {
	for _, e := range l.Entries {
		if e.OrderCreatedAt.After(at) {
			at = e.OrderCreatedAt
		}
	}
	return at
}

// Request is one request and what became of it.
type Request struct {
	// Number counts the requests of the order from 1 on.
	Number    int    `json:"number"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	// Time is its timestamp; of one that is no longer there that of the first record
	// that follows from it.
	Time time.Time `json:"time"`
	// There: the record itself was found.
	There     bool   `json:"there"`
	RequestID string `json:"request_id,omitempty"`
	Replay    int    `json:"replay"`
	// ReplayOf is the number of the request whose dead letter was sent again, 0 where
	// it is none or that is not known.
	ReplayOf int   `json:"replay_of,omitempty"`
	State    State `json:"state"`
	// Why says more of a State that is not proven.
	Why string `json:"why,omitempty"`
	// Before is how many requests of its partition that stand before it are not finished
	// either, of one in flight; Passed: a worker has finished one behind it, so that it
	// was read.
	Before int  `json:"before,omitempty"`
	Passed bool `json:"passed,omitempty"`

	// Answer says where it stands in a sentence.
	Answer string `json:"answer"`

	answer, waits *Entry
	dead          bool
	notBefore     time.Time
}

// State is where a request, or an order, stands.
type State string

// The states.
const (
	Closed   State = "closed"
	Paid     State = "paid"
	Failed   State = "failed"
	Waiting  State = "waiting"   // in a retry topic
	InFlight State = "in_flight" // not finished by the workers, and not answered
	// Lost: finished by the workers, and neither answered nor waiting; a hole, as audit
	// calls it.
	Lost State = "lost"
	// Unproven: not answered as far as can be seen; see Request.Why.
	Unproven State = "unproven"
	// Contradictory: one request says paid, and another that the number can no longer
	// be paid.
	Contradictory State = "contradictory"
)

// Bad reports whether somebody has to do something: it failed, is lost, is not proven,
// or is both paid and closed.
func (s State) Bad() bool {
	return s == Failed || s == Lost || s == Unproven || s == Contradictory
}

// final reports whether the state is an answer that stays.
func (s State) final() bool { return s == Closed || s == Paid }

// report makes lives of the entries.
func (f *finder) report() *Report {
	r := &Report{
		OutTradeNo: f.scope.OutTradeNo, Group: f.scope.Group, AsOf: f.At.UTC(), Since: f.scope.Since.UTC(), Until: f.scope.Until.UTC(),
		Lives: []Life{}, HeldSince: f.heldSince(), Notes: []string{},
	}
	r.All = true
	for _, topic := range f.topics {
		read := Reading{Topic: topic, Partitions: slices.Sorted(maps.Keys(f.read[topic])), Of: len(f.first[topic])}
		for _, p := range read.Partitions {
			read.Offsets += max(f.to[topic][p]-f.from[topic][p], 0)
		}
		r.All = r.All && len(read.Partitions) == read.Of
		r.Read = append(r.Read, read)
	}
	for _, l := range f.lives() {
		if f.scope.MchID != "" && l.MchID != "" && l.MchID != f.scope.MchID || f.scope.SubMchID != "" && l.MchID != "" && l.SubMchID != f.scope.SubMchID {
			f.note("merchant %s has an order of that number too", strings.TrimSuffix(l.MchID+"/"+l.SubMchID, "/"))
			continue
		}
		slices.SortStableFunc(l.Entries, func(a, b Entry) int { return a.compare(&b) })
		w := words{now: f.At, zone: f.scope.Zone, topics: f.scope.Topics}
		w.conclude(l)
		r.Lives = append(r.Lives, *l)
	}
	for _, kind := range slices.Sorted(maps.Keys(f.kinds)) {
		if n := f.kinds[kind]; n > mostOfAKind {
			f.note("there are %d records of kind %s, and %d of them are here; a time range shows others: --since, --until", n, kind, mostOfAKind)
		}
	}
	if len(r.Lives) == 0 {
		f.noteHeldBack()
		for _, no := range slices.Sorted(maps.Keys(f.replaces)) {
			f.note("it is the replacement_out_trade_no of order %s: closeorder closes that one, and was not asked to close this one", no)
		}
	}
	r.Notes = append(r.Notes, f.notes...)
	return r
}

// noteHeldBack says where a producer's transaction is open: what it has sent is not there
// for anybody yet.
func (f *finder) noteHeldBack() {
	requests := f.scope.Topics.Requests
	for _, p := range slices.Sorted(maps.Keys(f.read[requests])) {
		if to, high := f.to[requests][p], f.high[requests][p]; to < high && f.scope.Until.IsZero() {
			f.note("an open transaction of a producer holds back what stands in %s[%d] from offset %d on: a request in there is not served before it is committed", requests, p, to)
		}
	}
}

// heldSince is the latest beginning of a log of requests that has lost some.
func (f *finder) heldSince() (since time.Time) {
	requests := f.scope.Topics.Requests
	for p, first := range f.first[requests] {
		at := kafka.Place{Topic: requests, Partition: p}
		began := f.began[at]
		if (first > 0 || f.held[at] > 0) && began.After(since) {
			since = began
		}
	}
	if f.scope.Since.After(since) {
		since = f.scope.Since.UTC()
	}
	return since
}

// lives groups the entries by request and by order.
func (f *finder) lives() []*Life {
	for i := range f.entries {
		f.entries[i].sorts = f.entries[i].Time
	}
	slices.SortFunc(f.entries, func(a, b Entry) int { return a.compare(&b) })
	byRequest := make(map[events.Source][]*Entry)
	var places []events.Source
	for i := range f.entries {
		at := f.entries[i].source
		if byRequest[at] == nil {
			places = append(places, at)
		}
		byRequest[at] = append(byRequest[at], &f.entries[i])
	}
	byOrder := make(map[events.Order]*Life)
	var all []*Life
	for _, at := range places {
		entries := byRequest[at]
		o := orderOf(entries, f.scope.OutTradeNo)
		l := byOrder[o.Order]
		if l == nil {
			l = &Life{MchID: o.MchID, SubMchID: o.SubMchID, OutTradeNo: o.OutTradeNo}
			byOrder[o.Order] = l
			all = append(all, l)
		}
		l.AppID, l.SubAppID = cmp.Or(o.appID, l.AppID), cmp.Or(o.subAppID, l.SubAppID)
		f.addRequest(l, at, entries)
	}
	slices.SortFunc(all, func(a, b *Life) int {
		return cmp.Or(cmp.Compare(a.MchID, b.MchID), cmp.Compare(a.SubMchID, b.SubMchID))
	})
	return all
}

// orderOf is the order that a request and what follows from it are about: as the
// request says, if that can be read.
func orderOf(entries []*Entry, number string) order {
	best := entries[0].order
	for _, e := range entries {
		if best.MchID == "" {
			best = e.order
		}
	}
	best.OutTradeNo = cmp.Or(best.OutTradeNo, number)
	return best
}

// addRequest puts a request and its entries into a life.
func (f *finder) addRequest(l *Life, at events.Source, entries []*Entry) {
	q := Request{Number: len(l.Requests) + 1, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset, Time: entries[0].Time}
	for _, e := range entries {
		e.Request = q.Number
		q.RequestID, q.Replay = cmp.Or(q.RequestID, e.RequestID), max(q.Replay, e.Replay)
		switch e.Kind {
		case Requested, Replayed:
			q.There, q.Time, q.notBefore = true, e.Time, e.NotBefore
		case Answered:
			// The first in its topic counts, whatever the clocks say.
			if q.answer == nil || e.Partition == q.answer.Partition && e.Offset < q.answer.Offset {
				q.answer = e
			}
		case PutOff:
			if !e.Finished {
				q.waits = e
			}
		case DeadLetter:
			q.dead = true
		}
	}
	slices.SortStableFunc(entries, func(a, b *Entry) int { return -cmp.Compare(rank[a.Kind], rank[b.Kind]) }) // answers first
	for _, e := range entries {
		e.Repeat = e.Kind == Answered && e != q.answer
		e.sorts = e.Time
		if e.sorts.Before(q.Time) { // by another clock
			e.sorts = q.Time
		}
		if e.Kind == DeadLetter && q.answer != nil && q.answer.sorts.Before(e.sorts) {
			e.sorts = q.answer.sorts // they are written together, and which comes first says nothing
		}
		l.Entries = append(l.Entries, *e)
	}
	for i := range l.Requests {
		before := &l.Requests[i]
		if q.Replay > 0 && before.RequestID == q.RequestID && before.Replay == q.Replay-1 {
			q.ReplayOf = before.Number
		}
	}
	f.judge(&q)
	l.Requests = append(l.Requests, q)
}

// judge says where a request stands.
func (f *finder) judge(q *Request) {
	at := events.Source{Topic: q.Topic, Partition: q.Partition, Offset: q.Offset}
	switch {
	case q.answer != nil:
		q.State = State(q.answer.Outcome)
	case q.waits != nil:
		q.State = Waiting
	case q.Topic != f.scope.Topics.Requests:
		q.State, q.Why = Unproven, "its request stands in another topic, "+q.Topic
	case f.progress == nil:
		q.State, q.Why = Unproven, "what the workers have finished cannot be read"
	case !f.progress.Finished(at.Topic, at.Partition, at.Offset):
		q.State = InFlight
		q.Before, q.Passed = f.around(at)
	default:
		if q.Why = f.mayStandElsewhere(q); q.Why != "" {
			q.State = Unproven
			return
		}
		q.State = Lost
	}
}

// around is how many requests before one are not finished, mostBefore at most, and
// whether one behind it is.
func (f *finder) around(at events.Source) (before int, passed bool) {
	is := func(offset int64) bool { return f.progress.Finished(at.Topic, at.Partition, offset) }
	for o := at.Offset - 1; o >= f.first[at.Topic][at.Partition] && before < MostBefore && at.Offset-o < aroundAtMost; o-- {
		if !is(o) {
			before++
		}
	}
	for o := at.Offset + 1; o < f.to[at.Topic][at.Partition] && o-at.Offset < aroundAtMost && !passed; o++ {
		passed = is(o)
	}
	return before, passed
}

// MostBefore is the most that Request.Before counts.
const MostBefore = 10_000

// aroundAtMost is how far from a request is looked.
const aroundAtMost = 20_000

// mayStandElsewhere says why the answer to a request that is finished may be one that
// nobody can see here; empty where there is none.
func (f *finder) mayStandElsewhere(q *Request) string {
	outcomes := f.scope.Topics.Outcomes
	if slices.ContainsFunc(slices.Collect(maps.Values(f.kinds)), func(n int) bool { return n > mostOfAKind }) {
		return "there are more records of this order than are looked at"
	}
	if f.compacted {
		return outcomes + " is compacted, so that its answer may have been taken by a later one"
	}
	for _, topic := range append([]string{outcomes}, f.scope.Topics.Retries()...) {
		n := len(f.first[topic])
		if n == 0 {
			return fmt.Sprintf("topic %s is missing", topic)
		}
		p := q.Partition % n
		place := kafka.Place{Topic: topic, Partition: p}
		switch {
		case !f.read[topic][p]:
			return fmt.Sprintf("%s[%d] was not read", topic, p)
		case f.damaged[place]:
			return fmt.Sprintf("not all of %s[%d] can be read", topic, p)
		case f.to[topic][p] < f.high[topic][p]:
			return fmt.Sprintf("an open transaction holds back what stands in %s[%d] from offset %d on", topic, p, f.to[topic][p])
		}
		began := f.began[place]
		if !began.IsZero() && began.Before(q.Time.Add(-clockSlack)) {
			continue // all that follows from it stands behind
		}
		if f.held[place] > 0 {
			return fmt.Sprintf("the index knows %s[%d] from offset %d on, and what became of it may stand before that: closeorder trace reads it", topic, p, f.held[place])
		}
		if topic == outcomes && f.first[topic][p] > 0 {
			return fmt.Sprintf("%s[%d] was deleted below offset %d, so that its answer may be gone", topic, p, f.first[topic][p])
		}
	}
	return ""
}

// compare puts entries in their order: by time, and of one moment as they follow from
// each other.
func (e *Entry) compare(o *Entry) int {
	return cmp.Or(e.sorts.Compare(o.sorts), cmp.Compare(rank[e.Kind], rank[o.Kind]),
		cmp.Compare(e.Topic, o.Topic), cmp.Compare(e.Partition, o.Partition), cmp.Compare(e.Offset, o.Offset))
}

var rank = map[Kind]int{Requested: 0, Replayed: 0, PutOff: 1, DeadLetter: 2, Answered: 3}
