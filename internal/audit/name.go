package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// nameHoles reads again what is finished and unanswered: to name it, and to
// tell a hole from an answer that retention may have taken.
func (a *auditor) nameHoles(ctx context.Context) error {
	var runs []run
	a.table.each(func(partition int, offset int64, e *entry) {
		if !e.is(suspect) {
			return
		}
		if n := len(runs); n > 0 && runs[n-1].partition == partition && offset-runs[n-1].to < sparse {
			runs[n-1].to = offset + 1
			return
		}
		runs = append(runs, run{partition, offset, offset + 1})
	})
	for _, r := range runs {
		from, to := kafka.Offsets{r.partition: r.from}, kafka.Offsets{r.partition: r.to}
		if err := a.readBetween(ctx, a.scope.Topics.Requests, from, to, 1, a.nameHole); err != nil {
			return err
		}
	}
	// What was deleted since it was read is a hole all the same.
	a.table.each(func(partition int, offset int64, e *entry) {
		if e.is(suspect) {
			a.hole(Finding{Kind: Hole, Partition: partition, Offset: offset, Time: e.time(), Detail: a.holeDetail(partition, offset, e) + "; the record was deleted during the audit"}, e, nil)
		}
	})
	return nil
}

// run is a stretch of a partition to be read at one go.
type run struct {
	partition int
	from, to  int64
}

// sparse is how far apart two offsets are that are read one by one: about as
// many records as one fetch brings.
const sparse = 2000

// nameHole looks at a record of the requests again.
func (a *auditor) nameHole(rec kafka.Record) {
	e := a.table.at(rec.Partition, rec.Offset)
	if e == nil || !e.is(suspect) {
		return
	}
	e.flags &^= suspect
	req, _ := events.DecodeRequest(rec.Message)
	if a.logs.mayBeGone(rec, req) {
		a.report.Unproven++
		return
	}
	if a.mayStandBehind(rec.Partition) {
		a.report.Unproven++
		a.behind++
		return
	}
	f := Finding{Kind: Hole, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time.UTC(), Detail: a.holeDetail(rec.Partition, rec.Offset, e)}
	f.name(req.RequestID, req.Order())
	a.hole(f, e, &rec)
}

// hole counts a hole, or one that was mended: that request was asked for again.
func (a *auditor) hole(f Finding, e *entry, rec *kafka.Record) {
	if again, answered := a.replays.mended(f.Partition, f.Offset, e); again {
		a.report.Republished++
		if !answered {
			a.report.RepublishedOpen++
		}
		return
	}
	a.report.Holes++
	if a.options.OnLost != nil {
		l := Lost{Finding: f, Gone: rec == nil, Replay: a.replays.next(e)}
		if rec != nil {
			l.Request, _ = events.DecodeRequest(rec.Message)
		}
		a.options.OnLost(l)
	}
	if e.is(dead) {
		a.report.DeadLettersWithoutOutcome++
	}
	a.found(f)
}

// holeDetail says why a request counts as finished, and what is left of it.
func (a *auditor) holeDetail(partition int, offset int64, e *entry) string {
	c := a.commits[a.scope.Topics.Requests][partition]
	detail := fmt.Sprintf("finished below the committed offset %d", c.Offset)
	if offset >= c.Offset {
		detail = fmt.Sprintf("finished above the committed offset %d, by the commit's metadata", c.Offset)
	}
	switch {
	case e.is(dead):
		return detail + "; it has a dead letter and no outcome"
	case e.is(retried):
		return detail + "; its retry records are finished too, and there is no outcome"
	}
	return detail + "; there is no outcome, retry record or dead letter"
}

// nameContradictions reads the outcomes again for those that contradict each
// other.
func (a *auditor) nameContradictions(ctx context.Context) error {
	keys := a.contradictions()
	a.report.Contradictions = int64(len(keys))
	if len(keys) == 0 {
		return nil
	}
	if limit := a.options.Limit; limit > 0 && len(keys) > limit {
		a.listing(Contradiction).count += int64(len(keys) - limit)
		keys = keys[:limit]
	}
	groups := make(map[any]*Finding, len(keys))
	for _, key := range keys {
		groups[key] = &Finding{}
	}
	outcomes := a.scope.Topics.Outcomes
	err := a.readBetween(ctx, outcomes, a.from[outcomes], a.to[outcomes], 1, func(rec kafka.Record) {
		o, err := events.DecodeOutcome(rec.Message)
		if err != nil {
			return
		}
		e := a.requestAt(o.Source)
		if e == nil || a.table.identityHash(o.RequestID, o.Order(), o.Replay) != e.identity {
			return
		}
		f := groups[e.order]
		if e.order == 0 {
			f = groups[o.Source]
		}
		if f == nil {
			return
		}
		if len(f.Answers) == 0 {
			*f = findingOf(Contradiction, o)
		}
		f.Answers = append(f.Answers, Answer{
			Outcome: o.Result, Code: o.Code, SafeToReissue: o.SafeToReissue, Replay: o.Replay, CompletedAt: o.CompletedAt.UTC(),
			Partition: o.Source.Partition, Offset: o.Source.Offset, OutcomePartition: rec.Partition, OutcomeOffset: rec.Offset,
		})
	})
	if err != nil {
		return err
	}
	for _, f := range groups {
		if len(f.Answers) == 0 {
			continue // deleted meanwhile
		}
		f.Detail = contradictionDetail(f.Answers)
		a.found(*f)
	}
	return nil
}

// contradictionDetail tells what the outcomes of an order say, at most a few
// of them.
func contradictionDetail(answers []Answer) string {
	const most = 6
	var says []string
	for _, n := range answers[:min(len(answers), most)] {
		says = append(says, fmt.Sprintf("%s at %s for partition %d, offset %d", words(n.Outcome, n.SafeToReissue, n.Code), n.CompletedAt.UTC().Format("2006-01-02T15:04:05Z"), n.Partition, n.Offset))
	}
	if more := len(answers) - most; more > 0 {
		says = append(says, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(says, "; ")
}
