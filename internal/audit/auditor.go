package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/topicreader"
)

// Options says how an audit reports.
type Options struct {
	// Limit is the most findings of each kind that are listed, 0 for all.
	// All are counted.
	Limit int
	// OnRead, if set, is told how many more records were read.
	OnRead func(n int)
}

// Audit reads what the snapshot covers and says whether it balances. The
// error is of Kafka or of ctx; what is wrong with the requests is in the
// report. Records are read once, and a second time as far as it takes to name
// what is found.
//
// Memory is about 32 bytes for each request, whatever becomes of it.
func (s *Snapshot) Audit(ctx context.Context, o Options) (*Report, error) {
	a := &auditor{
		Snapshot: s, options: o,
		table:  newTable(s.from[s.scope.Topics.Requests]),
		logs:   newLogs(s),
		listed: map[Kind]int64{}, misnames: map[int]int64{}, beyond: map[int]int64{},
		report: &Report{
			Group: s.scope.Group, Topic: s.scope.Topics.Requests, Since: s.scope.Since, Until: s.scope.Until, AsOf: s.At,
			Findings: []Finding{}, Notes: []string{},
		},
	}
	return a.report, a.run(ctx)
}

type auditor struct {
	*Snapshot
	options Options
	table   *table
	logs    *logs
	report  *Report
	listed  map[Kind]int64 // all findings by kind, listed or not
	// misnames counts misnamed outcomes by partition of the request.
	misnames map[int]int64
	// beyond is the highest offset that an outcome gives as its source and
	// that lies beyond the end of the partition.
	beyond map[int]int64
}

// run is the audit in the order of its reading: each step needs what those
// before it have put into the table.
func (a *auditor) run(ctx context.Context) error {
	t := a.scope.Topics
	if err := a.read(ctx, t.Requests, a.request); err != nil {
		return err
	}
	if err := a.read(ctx, t.Outcomes, a.outcome); err != nil {
		return err
	}
	for _, topic := range t.Retries {
		if err := a.read(ctx, topic, a.retry); err != nil {
			return err
		}
	}
	if err := a.read(ctx, t.DeadLetters, a.deadLetter); err != nil {
		return err
	}
	a.count()
	if err := a.nameHoles(ctx); err != nil {
		return err
	}
	if err := a.nameContradictions(ctx); err != nil {
		return err
	}
	a.forgiveOldLogs()
	a.notes()
	a.report.sort()
	a.report.Balanced = a.report.balanced()
	if !a.report.Adds() {
		return errors.New("audit: the counts do not add up: a mistake in closeorder itself")
	}
	return nil
}

// read reads the stretch of a topic.
func (a *auditor) read(ctx context.Context, topic string, each func(topicreader.Record)) error {
	return a.readBetween(ctx, topic, a.from[topic], a.to[topic], 0, each)
}

// How much is fetched at one time, of what is compressed on the wire: a record
// takes about four times its size in memory while it is read. The counting is
// slower than the fetching, so that more would only take more memory.
const (
	fetchBytes    = 256 << 10
	fetchParallel = 4
)

// reportEvery is how many records go by between two reports of progress.
const reportEvery = 500

func (a *auditor) readBetween(ctx context.Context, topic string, from, to topicreader.Offsets, parallel int, each func(topicreader.Record)) error {
	r := *a.scope.Reader
	r.OnGap = a.logs.gap
	r.Parallel = cmp.Or(parallel, r.Parallel, fetchParallel)
	r.FetchBytes = cmp.Or(r.FetchBytes, fetchBytes)
	n := 0
	told := func() {
		if a.options.OnRead != nil && n > 0 {
			a.options.OnRead(n)
		}
		n = 0
	}
	defer told()
	return r.Read(ctx, topic, from, to, func(rec topicreader.Record) error {
		if n++; n == reportEvery {
			told()
		}
		each(rec)
		return nil
	})
}

// request enters a request.
func (a *auditor) request(rec topicreader.Record) {
	if !a.scope.holds(rec.Time) {
		return
	}
	e := a.table.add(rec.Partition, rec.Offset)
	if e == nil {
		return
	}
	a.report.Requests++
	// The error matters to the worker alone: the request beside it is what
	// the outcome names.
	req, _ := events.DecodeRequest(rec.Message)
	e.seconds = seconds(rec.Time)
	e.order = a.table.orderHash(req.Order())
	e.request = a.table.requestHash(req.RequestID, req.Order())
	e.identity = a.table.identityHash(req.RequestID, req.Order(), req.Replay)
	e.replay = uint16(min(req.Replay, 1<<16-1))
	if req.Replay > 0 {
		a.report.Replays++
	}
}

// outcome enters an answer. Of several for one request the first counts:
// events.Supersedes lets none with the same replay number take its place.
func (a *auditor) outcome(rec topicreader.Record) {
	a.logs.seen(rec)
	o, err := events.DecodeOutcome(rec.Message)
	if err != nil {
		a.unreadable(rec, err)
		return
	}
	e := a.requestAt(o.Source)
	if e == nil {
		a.withoutRequest(o.Source)
		return
	}
	if a.table.identityHash(o.RequestID, o.Order(), o.Replay) != e.identity {
		a.misnamed(rec, o)
		return
	}
	says, id := flagOf(o.Result), a.table.textHash(o.ID)
	if !e.is(answered) {
		e.flags |= says
		e.id = id
		if o.SafeToReissue {
			e.flags |= safe
		}
		return
	}
	same := e.is(says) && e.is(safe) == o.SafeToReissue
	switch {
	case same && e.id == id:
		a.report.Duplicates++
		return
	case says|e.flags&answered == closed|paid:
		e.flags |= conflict // named when all is read
		return
	}
	a.report.DuplicatesThatDiffer++
	f := Finding{Kind: Differs, Partition: o.Source.Partition, Offset: o.Source.Offset, Time: o.CompletedAt}
	f.name(o.RequestID, o.Order())
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

func flagOf(r events.Result) uint16 {
	switch r {
	case events.Closed:
		return closed
	case events.Paid:
		return paid
	}
	return failed
}

func (e *entry) result() events.Result {
	switch {
	case e.is(closed):
		return events.Closed
	case e.is(paid):
		return events.Paid
	}
	return events.Failed
}

// retry enters that a request waits, or has waited.
func (a *auditor) retry(rec topicreader.Record) {
	r, err := events.DecodeRetry(rec.Message)
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
		e.flags |= waiting
	}
}

// deadLetter enters that a request was set aside.
func (a *auditor) deadLetter(rec topicreader.Record) {
	d, err := events.DecodeDeadLetter(rec.Message)
	if err != nil {
		a.unreadable(rec, err)
		return
	}
	e := a.requestAt(d.Source)
	if e == nil {
		return
	}
	a.report.DeadLetters++
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
	if at.Offset >= a.to[requests][at.Partition] {
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

func (a *auditor) misnamed(rec topicreader.Record, o events.Outcome) {
	a.report.Misnamed++
	a.misnames[o.Source.Partition]++
	f := Finding{Kind: Misnamed, Partition: o.Source.Partition, Offset: o.Source.Offset, Time: o.CompletedAt}
	f.name(o.RequestID, o.Order())
	f.Detail = fmt.Sprintf("the outcome (partition %d, offset %d) says %s of this order, request and replay %d; the record that it is said to answer names another",
		rec.Partition, rec.Offset, words(o.Result, o.SafeToReissue, o.Code), o.Replay)
	a.found(f)
}

// forgiveOldLogs takes back what was held against outcomes that seem to
// answer records of an older log of the same name.
func (a *auditor) forgiveOldLogs() {
	requests := a.scope.Topics.Requests
	for partition, n := range a.misnames {
		if _, beyond := a.beyond[partition]; !beyond && !a.cutOff(requests, partition) {
			continue
		}
		a.report.Misnamed -= n
		a.report.OutcomesWithoutRequest.Foreign += n
		a.report.Findings = slices.DeleteFunc(a.report.Findings, func(f Finding) bool { return f.Kind == Misnamed && f.Partition == partition })
	}
}

func (a *auditor) unreadable(rec topicreader.Record, err error) {
	if a.report.Unreadable++; a.report.Unreadable <= 5 {
		a.note("%s, partition %d, offset %d cannot be read and counts for nothing: %v", rec.Topic, rec.Partition, rec.Offset, err)
	}
}

// found lists a finding, if there is room.
func (a *auditor) found(f Finding) {
	a.listed[f.Kind]++
	if a.options.Limit > 0 && a.listed[f.Kind] > int64(a.options.Limit) {
		a.report.FindingsLeftOut++
		return
	}
	a.report.Findings = append(a.report.Findings, f)
}

func (a *auditor) note(format string, args ...any) {
	a.report.Notes = append(a.report.Notes, fmt.Sprintf(format, args...))
}
