package audit

import (
	"fmt"
	"maps"
	"slices"
)

// notes says what limits the proof.
func (a *auditor) notes() {
	t := a.scope.Topics
	committedAny := false
	for _, topic := range append([]string{t.Requests}, t.Retries()...) {
		for _, partition := range slices.Sorted(maps.Keys(a.to[topic])) {
			c, committed := a.commits[topic][partition]
			committedAny = committedAny || committed
			first, end := a.first[topic][partition], a.end[topic][partition]
			switch {
			case !committed:
				if first > 0 {
					a.note("%s, partition %d: the log begins at offset %d and group %s has committed nothing: what was below may never have been read", topic, partition, first, a.scope.Group)
				}
			case c.Offset > end:
				a.note("%s, partition %d: the committed offset %d lies beyond the end %d: the topic was made anew or has lost records; what is unanswered there counts as in flight", topic, partition, c.Offset, end)
			case first > c.Offset:
				unread := int64(0)
				for offset := c.Offset; offset < first; offset++ {
					if !c.Finished(offset) {
						unread++
					}
				}
				a.report.DeletedUnread += unread
				which := ""
				if unread < first-c.Offset {
					which = fmt.Sprintf("%d of the ", unread)
				}
				a.note("%s, partition %d: %soffsets %d to %d were deleted before they were finished: requests were lost to retention", topic, partition, which, c.Offset, first-1)
			}
			if c.Err != nil {
				a.note("%s, partition %d: the metadata of the commit at offset %d counts for nothing: %v", topic, partition, c.Offset, c.Err)
			}
		}
	}
	if !committedAny && a.report.Requests > 0 {
		a.note("group %s has committed nothing: if the workers use another group, name it with --kafka-group", a.scope.Group)
	}
	for _, partition := range slices.Sorted(maps.Keys(a.beyond)) {
		a.note("%s, partition %d: an outcome answers offset %d, and the log ends at %d: the topic was made anew or has lost records; outcomes that name other requests and are older than the record in their place are taken for those of the old log", t.Requests, partition, a.beyond[partition], a.end[t.Requests][partition])
	}
	a.rangeNotes()
	for _, g := range a.logs.gaps {
		a.note("%s, partition %d: offsets %d to %d were deleted during the audit", g.Topic, g.Partition, g.From, g.To-1)
	}
	if a.compacted && a.report.Holes > 0 {
		a.note("%s is compacted (cleanup.policy): of several outcomes with one key only the last is kept, and a hole may be an outcome that compaction took; set cleanup.policy to delete", t.Outcomes)
	}
	if old := a.report.Unproven - a.behind; old > 0 {
		a.note("%d requests are older than the outcomes that are retained: they are finished, and whether they were answered can no longer be told", old)
	}
	a.transactionNotes()
	if a.report.ExactlyOnce && a.report.Repeated() > 0 {
		a.note("what came again counts, as processing_guarantee is exactly_once: of a time when the workers did not have it yet it is no fault; audit from then on with --since")
	}
	if more := a.report.Unreadable - 5; more > 0 {
		a.note("and %d more records that cannot be read", more)
	}
}

// rangeNotes says where the requests begin only after the range does.
func (a *auditor) rangeNotes() {
	if a.scope.Since.IsZero() {
		return
	}
	topic := a.scope.Topics.Requests
	cut := 0
	for partition, first := range a.first[topic] {
		if first > 0 && a.from[topic][partition] == first && first < a.to[topic][partition] {
			cut++
		}
	}
	if cut > 0 {
		a.note("%s: in %d of %d partitions the log may begin only after --since: what was deleted is not audited", topic, cut, len(a.first[topic]))
	}
}
