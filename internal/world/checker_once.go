package world

import (
	"fmt"
	"strings"
)

// checkOnce: where work is done exactly once, nothing stands there twice, and
// nothing is there for a second one to come of (G2). A call is in no
// transaction: it may be made again.
//
// Outcomes are counted where they are compared, see checkOutcomes. A second
// retry record of the same try leads to a second outcome or dead letter; what is
// looked for beside those is what comes before: a request, or a retry record of
// it, that is still to be done when what it led to is committed. That it was
// served twice shows there too.
func (c *checker) checkOnce() {
	if !c.ExactlyOnce {
		return
	}
	for _, r := range c.inOrder {
		if len(r.dead) > 1 {
			c.findFor(r, Repeat, "%d dead letters, at %d and %d", len(r.dead), r.dead[0].Offset, r.dead[1].Offset)
		}
		seen := make(map[string]Record)
		for _, retry := range r.retries {
			// When it is due differs from one try to the next.
			text := ourHeaders(retry.Message, len(r.record.Headers))
			if before, twice := seen[text]; twice {
				c.findFor(r, Repeat, "one retry record twice: %s[%d]@%d and %s[%d]@%d", before.Topic, before.Partition, before.Offset, retry.Topic, retry.Partition, retry.Offset)
			}
			seen[text] = retry
		}
		if c.AtOnce {
			c.checkLeft(r)
		}
	}
}

// checkLeft: when the commits of a look are read, whatever a request has led to
// by then is committed together with it. So of the request and its retry records
// one at most is still to be done, and none when it is answered.
func (c *checker) checkLeft(r *request) {
	for _, at := range c.looks {
		var last Record // the last retry record that is to be done
		open := 0
		for _, retry := range r.retries {
			if retry.known(at.look.Before) && !at.finished(retry) {
				last = retry
				open++
			}
		}
		var answer *answer
		for i := range r.answers {
			if r.answers[i].record.known(at.look.Before) {
				answer = &r.answers[i]
				break
			}
		}
		led := len(r.retries) > 0 && r.retries[0].known(at.look.Before)
		switch {
		case answer != nil && open > 0:
			c.findFor(r, Repeat, "answered at outcome %d, and at %v %s[%d]@%d is still to be done", answer.record.Offset, at.look.At, last.Topic, last.Partition, last.Offset)
		case (answer != nil || led) && !at.finished(r.record):
			c.findFor(r, Repeat, "answered or put off, and at %v still to be done", at.look.At)
		case open > 1:
			c.findFor(r, Repeat, "at %v %d retry records are to be done, the last %s[%d]@%d", at.look.At, open, last.Topic, last.Partition, last.Offset)
		default:
			continue
		}
		return
	}
}

// known reports whether a record was committed below ends.
func (r Record) known(ends map[Place]int64) bool {
	return r.stood(ends, true) && (!r.Transactional || r.Marker > 0)
}

// ourHeaders are the headers behind the first n, as a text.
func ourHeaders(m Message, n int) string {
	var b strings.Builder
	for _, h := range m.Headers[min(n, len(m.Headers)):] {
		fmt.Fprintf(&b, "%s=%q ", h.Key, h.Value)
	}
	return b.String()
}
