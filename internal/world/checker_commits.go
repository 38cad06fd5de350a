package world

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/events"
)

// checkHoles: whatever a look shows as finished was answered by then, or
// waits in a retry topic (G1). At the end nothing is missing, and after a
// clean stop nothing is left uncommitted (G8).
func (c *checker) checkHoles() {
	reported := make(map[*request]bool)
	for i, at := range c.looks {
		look, last := at.look, i == len(c.looks)-1
		if last {
			for place, err := range at.bad {
				c.find(BadCommit, events.Order{}, events.Source{Topic: place.Topic, Partition: place.Partition, Offset: look.Commits[place].Offset}, "%v", err)
			}
		}
		for _, r := range c.inOrder {
			answered := r.answered(look.Ends, c.AtOnce)
			waiting := !answered && at.waits(r, c.AtOnce)
			done := at.finished(r.record)
			hole := ""
			switch {
			case answered && look.Stopped && !done:
				c.findFor(r, Uncommitted, "answered, and not committed at the clean stop at %v", look.At)
			case !answered && done && !waiting:
				hole = fmt.Sprintf("committed as finished at %v without an outcome", look.At)
			case !answered && last && c.Settled:
				hole = "never answered"
			}
			if hole != "" && !reported[r] {
				reported[r] = true
				c.findFor(r, Hole, "%s", hole)
			}
			switch {
			case !last || answered:
			case waiting:
				c.report.Waiting++
			default:
				c.report.Open++
			}
		}
	}
}

// checkRewound: what was committed as finished stays so (G6).
func (c *checker) checkRewound() {
	for i := 1; i < len(c.looks); i++ {
		before, now := c.looks[i-1].look, c.looks[i].look
		for place, was := range before.Commits {
			if is := now.Commits[place]; is.Offset < was.Offset {
				c.find(Rewound, events.Order{}, events.Source{Topic: place.Topic, Partition: place.Partition, Offset: is.Offset},
					"%d was committed by %v, and %d at %v", was.Offset, before.At, is.Offset, now.At)
			}
		}
	}
}

// answered reports whether an outcome of r stood in its topic below ends.
func (r *request) answered(ends map[Place]int64, atOnce bool) bool {
	return slices.ContainsFunc(r.answers, func(a answer) bool { return a.record.stood(ends, atOnce) })
}

// stood reports whether a record stood in its topic below ends. Of one that was
// written in a transaction atOnce asks whether the marker that committed it did:
// else it need not yet, as long as it is on its way.
func (r Record) stood(ends map[Place]int64, atOnce bool) bool {
	end := ends[Place{r.Topic, r.Partition}]
	return r.Offset < end && (!atOnce || r.Marker < end)
}

// commits are the commits of one look, read.
type commits struct {
	look  Look
	above map[Place]map[int64]bool // finished above the committed offset
	bad   map[Place]error
}

func readLook(look Look) commits {
	c := commits{look: look, above: make(map[Place]map[int64]bool), bad: make(map[Place]error)}
	for place, commit := range look.Commits {
		above, err := readMetadata(commit)
		if err != nil {
			c.bad[place] = err
		}
		c.above[place] = above
		if end, known := look.Ends[place]; known && commit.Offset > end {
			c.bad[place] = fmt.Errorf("committed offset %d lies beyond the end %d", commit.Offset, end)
		}
	}
	return c
}

// finished reports whether a record was committed as finished.
func (c commits) finished(r Record) bool {
	place := Place{r.Topic, r.Partition}
	commit, any := c.look.Commits[place]
	return any && (r.Offset < commit.Offset || c.above[place][r.Offset])
}

// waits reports whether r has a retry record that is not finished.
func (c commits) waits(r *request, atOnce bool) bool {
	for _, retry := range r.retries {
		if retry.stood(c.look.Ends, atOnce) && !c.finished(retry) {
			return true
		}
	}
	return false
}

func (c *checker) finishedAtLast(r Record) bool {
	return len(c.looks) > 0 && c.looks[len(c.looks)-1].finished(r)
}

// readMetadata reads which offsets a commit marks as finished above its own.
// The format is that of the commits themselves ("co1:", base64 of an encoding
// byte, a payload and a checksum), read here a second time on purpose.
func readMetadata(c Commit) (map[int64]bool, error) {
	if c.Metadata == "" {
		return nil, nil
	}
	text, ok := strings.CutPrefix(c.Metadata, "co1:")
	if !ok {
		return nil, fmt.Errorf("commit metadata %.20q is of no known format", c.Metadata)
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(raw) < 5 {
		return nil, fmt.Errorf("commit metadata is damaged: %v", err)
	}
	encoding, payload := raw[0], raw[1:len(raw)-4]
	above := make(map[int64]bool)
	switch encoding {
	case 'b':
		for i := range int64(len(payload) * 8) {
			if payload[i/8]>>(i%8)&1 == 1 {
				above[c.Offset+i] = true
			}
		}
	case 'r':
		for at := c.Offset; len(payload) > 0; {
			gap, n := binary.Uvarint(payload)
			if n <= 0 {
				return nil, errors.New("commit metadata is cut off")
			}
			more, m := binary.Uvarint(payload[n:])
			if m <= 0 || gap > 1<<20 || more > 1<<20 {
				return nil, errors.New("commit metadata is cut off")
			}
			payload = payload[n+m:]
			for at += int64(gap); more > 0; more-- {
				above[at] = true
				at++
			}
			above[at] = true
			at++
		}
	default:
		return nil, fmt.Errorf("commit metadata has an unknown encoding %q", encoding)
	}
	return above, nil
}
