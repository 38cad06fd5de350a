package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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
// what is found. Beside an error the report is not whole.
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
