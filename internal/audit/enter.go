package audit

import (
	"fmt"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// request enters a request.
func (a *auditor) request(rec kafka.Record) {
	a.replays.request(rec, a.table)
	if !a.scope.holds(rec.Time) {
		return
	}
	e := a.table.add(rec.Partition, rec.Offset)
	a.report.Requests++
	// The error matters to the worker alone: the request beside it is what
	// the outcome names.
	req, _ := events.DecodeRequest(rec.Message)
	e.seconds = seconds(rec.Time)
	e.order = a.table.orderHash(req.Order())
	e.request = a.table.requestHash(req.RequestID, req.Order(), rec.Message)
	e.id = a.merchants.number(req.MchID)
	e.identity = a.table.identityHash(req.RequestID, req.Order(), req.Replay)
	e.replay = uint16(min(req.Replay, 1<<16-1))
	if req.Replay > 0 {
		a.report.Replays++
	}
}

// outcome enters an answer. Of several for one record the first counts, as
// events.Supersedes has it.
func (a *auditor) outcome(rec kafka.Record) {
	a.logs.seen(rec)
	o, err := events.DecodeOutcome(rec.Message)
	if err != nil {
		a.unreadable(rec, err)
		return
	}
	a.replays.outcome(o)
	e := a.requestAt(o.Source)
	if e == nil {
		a.withoutRequest(o.Source)
		return
	}
	if a.table.identityHash(o.RequestID, o.Order(), o.Replay) != e.identity {
		a.misnamed(rec, o, e)
		return
	}
	says, id := flags[o.Result], a.table.textHash(o.ID)
	if !e.is(answered) {
		e.flags |= says
		e.id = id
		if o.SafeToReissue {
			e.flags |= safe
		}
		if a.options.OnAnswer != nil {
			a.options.OnAnswer(o)
		}
		return
	}
	same := e.is(says) && e.is(safe) == o.SafeToReissue
	switch {
	case same && e.id == id:
		a.report.Duplicates++
		if a.options.ExactlyOnce {
			f := findingOf(Duplicate, o)
			f.Detail = fmt.Sprintf("the same outcome came again (partition %d, offset %d): %s", rec.Partition, rec.Offset, words(o.Result, o.SafeToReissue, o.Code))
			a.found(f)
		}
		return
	case says|e.flags&answered == closed|paid:
		e.flags |= conflict // named when all is read
		return
	}
	a.report.DuplicatesThatDiffer++
	f := findingOf(Differs, o)
	f.Detail = fmt.Sprintf("a later outcome (partition %d, offset %d) says %s; the first one, %s, counts",
		rec.Partition, rec.Offset, words(o.Result, o.SafeToReissue, o.Code), words(e.result(), e.is(safe), ""))
	if same {
		f.Detail = fmt.Sprintf("a later outcome (partition %d, offset %d) says the same under another event id, %s", rec.Partition, rec.Offset, o.ID)
	}
	a.found(f)
}

func words(r events.Result, safe bool, code string) string {
	text := string(r)
	if code != "" {
		text += " (" + code + ")"
	}
	if safe {
		text += ", safe to reissue"
	}
	return text
}

// flags are what an entry keeps of its outcome's result.
var flags = map[events.Result]uint16{events.Closed: closed, events.Paid: paid, events.Failed: failed}

func (e *entry) result() events.Result {
	for r, flag := range flags {
		if e.is(flag) {
			return r
		}
	}
	return ""
}

// retry enters that a request waits, or has waited.
func (a *auditor) retry(rec kafka.Record) {
	r, err := records.DecodeRetry(rec.Message)
	if err != nil {
		a.unreadable(rec, err)
		return
	}
	e := a.requestAt(r.Source)
	if e == nil {
		return
	}
	e.flags |= retried
	if !a.done(rec.Topic, rec.Partition, rec.Offset) {
		if !e.is(answered | waiting) {
			a.waiting.Add(r.Code, a.merchants.name(e.id), e.time(), r.DueAt)
		}
		e.flags |= waiting
	}
}

// deadLetter enters that a request was set aside.
func (a *auditor) deadLetter(rec kafka.Record) {
	d, err := records.DecodeDeadLetter(rec.Message)
	if err != nil {
		a.unreadable(rec, err)
		return
	}
	e := a.requestAt(d.Source)
	if e == nil {
		return
	}
	a.report.DeadLetters++
	if e.is(dead) {
		a.report.DeadLettersRepeated++
		if a.options.ExactlyOnce {
			f := Finding{Kind: DuplicateDeadLetter, Partition: d.Source.Partition, Offset: d.Source.Offset, Time: d.FailedAt.UTC(),
				Detail: fmt.Sprintf("another dead letter of the same request (partition %d, offset %d): %s", rec.Partition, rec.Offset, d.ErrorCode)}
			req, _ := events.DecodeRequest(d.Original)
			f.name(req.RequestID, req.Order())
			a.found(f)
		}
	}
	if e.is(closed|paid) && !e.is(dead) {
		a.report.DeadLettersAnswered++
	}
	e.flags |= dead
}

// done reports whether an offset is finished by a commit that speaks of this
// very log.
func (a *auditor) done(topic string, partition int, offset int64) bool {
	return a.finished(topic, partition, offset) && !a.cutOff(topic, partition)
}

// requestAt returns the request at a place, nil where none was audited.
func (a *auditor) requestAt(at events.Source) *entry {
	if at.Topic != a.scope.Topics.Requests {
		return nil
	}
	return a.table.at(at.Partition, at.Offset)
}

func (a *auditor) withoutRequest(at events.Source) {
	w := &a.report.OutcomesWithoutRequest
	requests := a.scope.Topics.Requests
	first, known := a.first[requests][at.Partition]
	if at.Topic != requests || !known {
		w.Foreign++
		return
	}
	if at.Offset >= a.end[requests][at.Partition] {
		a.beyond[at.Partition] = max(a.beyond[at.Partition], at.Offset)
	}
	switch {
	case at.Offset < first || a.logs.lost(at):
		w.BeyondRetention++
	case a.scope.ranged():
		w.OutsideRange++
	default:
		w.Foreign++
	}
}

// misnamed enters an outcome that names another request than the record at
// its source does. One that is older than that record may be of an older log
// of the same name: that is judged when all is read.
func (a *auditor) misnamed(rec kafka.Record, o events.Outcome, e *entry) {
	f := findingOf(Misnamed, o)
	f.Detail = fmt.Sprintf("the outcome (partition %d, offset %d) says %s of this order, request and replay %d; the record that it is said to answer names another",
		rec.Partition, rec.Offset, words(o.Result, o.SafeToReissue, o.Code), o.Replay)
	if seconds(rec.Time) > e.seconds {
		a.report.Misnamed++
		a.found(f)
		return
	}
	if a.older[f.Partition] == nil {
		a.older[f.Partition] = &listing{most: a.options.Limit}
	}
	a.older[f.Partition].add(f)
}

func (a *auditor) unreadable(rec kafka.Record, err error) {
	if a.report.Unreadable++; a.report.Unreadable <= 5 {
		a.note("%s, partition %d, offset %d cannot be read and counts for nothing: %v", rec.Topic, rec.Partition, rec.Offset, err)
	}
}
