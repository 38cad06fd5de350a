package records

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
)

// Replay is which replay sent a record again, who began it and why. Any of it may
// be empty. It is for people: a worker serves a record alike whatever it says.
type Replay struct {
	ID     string
	By     string
	Reason string
}

// The most bytes of each.
const (
	maxReplayID     = 100
	maxReplayBy     = 200
	maxReplayReason = 1 << 10
)

// Check names everything in r that cannot stand in a header: what is too long, and
// what is no text of one line.
func (r Replay) Check() error {
	return errors.Join(
		checkWords("the id of a replay", r.ID, maxReplayID),
		checkWords("who replays", r.By, maxReplayBy),
		checkWords("the reason of a replay", r.Reason, maxReplayReason),
	)
}

func checkWords(what, text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", what, len(text), most)
	case !utf8.ValidString(text) || slices.ContainsFunc([]rune(text), func(c rune) bool { return !unicode.IsPrint(c) && c != '\u3000' }):
		return fmt.Errorf("%s is no text of one line: %s", what, quote(text))
	}
	return nil
}

// Stamp returns m with what r says in its headers, at their end. m is what
// [DeadLetter.ReplayMessage] returned: its own headers stay, and the list of them
// is copied.
func (r Replay) Stamp(m events.Message) events.Message {
	m.Headers = slices.Clip(m.Headers)
	for _, h := range []struct{ key, text string }{
		{events.HeaderReplayID, r.ID}, {events.HeaderReplayBy, r.By}, {events.HeaderReplayReason, r.Reason},
	} {
		if h.text != "" {
			m.Headers = append(m.Headers, events.Header{Key: h.key, Value: []byte(h.text)})
		}
	}
	return m
}

// ReplayOf is what the headers of a request say of the replay that sent it; the
// zero Replay where they say nothing.
func ReplayOf(m events.Message) (r Replay) {
	r.ID, _ = find(m.Headers, events.HeaderReplayID)
	r.By, _ = find(m.Headers, events.HeaderReplayBy)
	r.Reason, _ = find(m.Headers, events.HeaderReplayReason)
	return r
}
