package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Options says how an audit reports.
type Options struct {
	// Limit is the most findings of each kind that are listed, 0 for all.
	// All are counted.
	Limit int
	// ExactlyOnce: the workers are to answer each request once, and what came
	// again is a finding. Records of transactions that were aborted must not be
	// read then (kafka.Config.ReadUncommitted).
	ExactlyOnce bool
	// OnLost, if set, is told of each hole that nothing has mended.
	OnLost func(l Lost)
	// OnRead, if set, is told how many more records were read.
	OnRead func(n int)
	// OnAnswer, if set, is told of the outcome that counts for a request, at
	// most once for each.
	OnAnswer func(o events.Outcome)
}

// Audit reads what the snapshot covers and says whether it balances. The
// error is of Kafka or of ctx; what is wrong with the requests is in the
// report. Records are read once, and a second time as far as it takes to name
// what is found. Beside an error the report is not whole.
//
// Memory is about 32 bytes for each request, whatever becomes of it, and some 150
// more for each replay.
func (s *Snapshot) Audit(ctx context.Context, o Options) (*Report, error) {
	own := *s
	own.from = maps.Clone(s.from)
	s = &own
	a := &auditor{
		Snapshot: s, options: o,
		table:     newTable(),
		logs:      newLogs(s),
		merchants: newMerchants(), replays: newReplays(),
		listings: map[Kind]*listing{}, older: map[int]*listing{}, beyond: map[int]int64{},
		report: &Report{
			Group: s.scope.Group, Topic: s.scope.Topics.Requests, Since: s.scope.Since.UTC(), Until: s.scope.Until.UTC(), AsOf: s.At.UTC(),
			ExactlyOnce: o.ExactlyOnce,
			WaitingBy:   Piles{Largest: []backlog.Pile{}}, InFlightBy: Piles{Largest: []backlog.Pile{}},
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
	// merchants are those of the requests; waiting and inFlight count what is open.
	merchants         *merchants
	waiting, inFlight backlog.Summary
	replays           *replays
	listings          map[Kind]*listing
	// older are the misnamed outcomes that are older than the record at their
	// place, by partition of the request.
	older map[int]*listing
	// beyond is the highest offset that an outcome gives as its source and
	// that lies beyond the end of the partition.
	beyond map[int]int64
	// behind counts the requests that are finished and whose answer may stand
	// behind an open transaction.
	behind int64
}

// run is the audit in the order of its reading: each step needs what those
// before it have put into the table.
func (a *auditor) run(ctx context.Context) error {
	t := a.scope.Topics
	if err := a.read(ctx, a.from, a.to, a.request, t.Requests); err != nil {
		return err
	}
	if err := a.read(ctx, a.from, a.to, a.outcome, t.Outcomes); err != nil {
		return err
	}
	if err := a.read(ctx, a.from, a.to, a.retry, t.Retries()...); err != nil {
		return err
	}
	if err := a.read(ctx, a.from, a.to, a.deadLetter, t.DeadLetters); err != nil {
		return err
	}
	if err := a.lookFurtherBack(ctx); err != nil {
		return err
	}
	a.count()
	if err := a.nameHoles(ctx); err != nil {
		return err
	}
	if err := a.nameContradictions(ctx); err != nil {
		return err
	}
	a.nameDamaged()
	a.judgeOldLogs()
	a.notes()
	a.list()
	a.report.WaitingBy, a.report.InFlightBy = piles(&a.waiting, a.options.Limit), piles(&a.inFlight, a.options.Limit)
	a.report.Balanced = a.report.Balances()
	if !a.report.adds() || a.waiting.All().Count != a.report.Waiting || a.inFlight.All().Count != a.report.InFlight {
		return errors.New("audit: the counts do not add up: a mistake in closeorder itself")
	}
	return nil
}

// lookFurtherBack reads what a range left out, if a request of it would be a
// hole otherwise: an order service whose clock runs ahead by more than
// clockSlack dates its requests after their outcomes.
func (a *auditor) lookFurtherBack(ctx context.Context) error {
	if a.scope.Since.IsZero() {
		return nil
	}
	suspects := false
	a.table.each(func(partition int, offset int64, e *entry) {
		if !e.is(answered|waiting) && a.done(a.scope.Topics.Requests, partition, offset) {
			e.flags |= suspect
			suspects = true
		}
	})
	if !suspects {
		return nil
	}
	t := a.scope.Topics
	for partition := range a.first[t.Outcomes] {
		a.logs.beginning(partition)
	}
	// Of the other requests more than enough is known: what stands here may
	// come before what was read first.
	outcome := func(rec kafka.Record) {
		o, _ := events.DecodeOutcome(rec.Message)
		if e := a.requestAt(o.Source); e != nil && e.is(suspect) {
			a.outcome(rec)
		} else {
			a.logs.seen(rec)
		}
	}
	deadLetter := func(rec kafka.Record) {
		d, err := records.DecodeDeadLetter(rec.Message)
		if e := a.requestAt(d.Source); err == nil && e != nil && e.is(suspect) {
			a.deadLetter(rec)
		}
	}
	if err := a.read(ctx, a.first, a.from, outcome, t.Outcomes); err != nil {
		return err
	}
	if err := a.read(ctx, a.first, a.from, a.retry, t.Retries()...); err != nil {
		return err
	}
	if err := a.read(ctx, a.first, a.from, deadLetter, t.DeadLetters); err != nil {
		return err
	}
	a.from[t.Outcomes] = a.first[t.Outcomes] // where contradictions are looked for
	return nil
}

// read reads stretches of topics, one topic after the other.
func (a *auditor) read(ctx context.Context, from, to map[string]kafka.Offsets, each func(kafka.Record), topics ...string) error {
	for _, topic := range topics {
		if err := a.readBetween(ctx, topic, from[topic], to[topic], 0, each); err != nil {
			return err
		}
	}
	return nil
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

func (a *auditor) readBetween(ctx context.Context, topic string, from, to kafka.Offsets, parallel int, each func(kafka.Record)) error {
	r := *a.scope.Reader
	r.OnGap = a.logs.gap
	r.OnUnreadable = a.logs.unreadable
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
	return r.Read(ctx, topic, from, to, func(rec kafka.Record) error {
		if n++; n == reportEvery {
			told()
		}
		each(rec)
		return nil
	})
}

// judgeOldLogs says what the misnamed outcomes are that are older than the
// record at their place. Where something else shows that the log was made
// anew, they answer records of the old one. Elsewhere a clock was wrong.
func (a *auditor) judgeOldLogs() {
	for partition, l := range a.older {
		if _, beyond := a.beyond[partition]; beyond || a.cutOff(a.scope.Topics.Requests, partition) {
			a.report.OutcomesWithoutRequest.Foreign += l.count
			continue
		}
		a.report.Misnamed += l.count
		misnamed := a.listing(Misnamed)
		misnamed.count += l.count - int64(len(l.kept))
		for _, f := range l.kept {
			misnamed.add(f)
		}
	}
}

// nameDamaged says what could not be read.
func (a *auditor) nameDamaged() {
	for _, e := range a.logs.damaged {
		a.report.UnreadableOffsets += e.Last - e.First + 1
		a.found(Finding{Kind: Damaged, Partition: e.Partition, Offset: e.First, Time: a.At.UTC(), Detail: e.Error()})
	}
}

func (a *auditor) note(format string, args ...any) {
	a.report.Notes = append(a.report.Notes, fmt.Sprintf(format, args...))
}
