package records

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
)

// headerBlock is the headers that closeorder puts after the original ones of a
// dead letter or a retry record, in their order. A block always begins with
// the same header, which it has once, and reaches to the end. So the last
// occurrence of that header divides the original from what was added, whatever
// the original contains: it may be a dead letter itself that somebody sent to
// the requests topic.
type headerBlock []header

// header is one of them, tied to the field that it is written from and read into.
type header struct {
	name  string
	need  need
	write func() string
	read  func(string) error
}

// need says what becomes of a header that says nothing or is wrong.
type need int

const (
	required need = iota // always written; a record without it is refused
	always               // always written, not missed
	optional             // left out where it says nothing
	trifle               // so is this, and more than one count as none
)

// appendTo returns m with the block at its end.
func (b headerBlock) appendTo(m events.Message) events.Message {
	headers := slices.Grow(slices.Clip(m.Headers), len(b))
	for _, h := range b {
		if text := h.write(); text != "" || h.need <= always {
			headers = append(headers, events.Header{Key: h.name, Value: []byte(text)})
		}
	}
	m.Headers = headers
	return m
}

// readFrom reads the block of m and returns the original. Beside an error, an
// *events.ValidationError, stands the whole of m.
func (b headerBlock) readFrom(m events.Message) (events.Message, error) {
	original, ours := m, []events.Header(nil)
	for i, h := range slices.Backward(m.Headers) {
		if h.Key == b[0].name {
			// Capped, so that an append to the original cannot reach the block.
			original.Headers, ours = m.Headers[:i:i], m.Headers[i:]
			if i == 0 {
				original.Headers = nil
			}
			break
		}
	}
	var twice, bad []events.FieldError
	for _, h := range b {
		value, n := find(ours, h.name)
		switch {
		case n == 0 && h.need == required:
			bad = append(bad, events.FieldError{Field: h.name, Problem: "is required"})
			continue
		case n == 0 || n > 1 && h.need == trifle:
			continue
		case n > 1:
			twice = append(twice, events.FieldError{Field: h.name, Problem: "occurs more than once"})
		}
		if err := h.read(value); err != nil {
			bad = append(bad, events.FieldError{Field: h.name, Problem: err.Error()})
		}
	}
	if fields := slices.Concat(twice, bad); len(fields) > 0 {
		return m, &events.ValidationError{Fields: fields}
	}
	return original, nil
}

// find returns the first value of a header and how often it occurs.
func find(headers []events.Header, name string) (value string, n int) {
	for _, h := range headers {
		if h.Key != name {
			continue
		}
		if n++; n == 1 {
			value = string(h.Value)
		}
	}
	return value, n
}

func text(name string, need need, to *string) header {
	return header{name, need, func() string { return *to }, func(s string) error { *to = s; return nil }}
}

// count is a counter: there are none below zero.
func count(name string, to *int) header {
	write := func() string { return strconv.Itoa(max(*to, 0)) }
	return header{name, required, write, func(s string) error {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return fmt.Errorf("is %s, want a whole number from 0 to %d", quote(s), math.MaxInt32)
		}
		*to = int(n)
		return nil
	}}
}

func offset(name string, to *int64) header {
	write := func() string { return strconv.FormatInt(max(*to, 0), 10) }
	return header{name, required, write, func(s string) error {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return errors.New("is " + quote(s) + ", want an offset")
		}
		*to = int64(n)
		return nil
	}}
}

// moment is a time in UTC. What RFC 3339 cannot write becomes its last second
// or its first where the header is required, so that the block can be read
// again, and is left out where it is not.
func moment(name string, need need, to *time.Time) header {
	write := func() string {
		switch {
		case isWritable(*to) && (need == required || !to.IsZero()):
			return formatTime(*to)
		case need != required:
			return ""
		case to.After(time.Time{}):
			return "9999-12-31T23:59:59Z"
		}
		return formatTime(time.Time{})
	}
	return header{name, need, write, func(s string) error {
		at, err := time.Parse(time.RFC3339, s)
		switch {
		case s == "":
			return errors.New("is empty")
		case err != nil:
			return errors.New("is " + quote(s) + ", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00")
		case !isWritable(at):
			return errors.New("is " + quote(s) + ", outside the years 1 to 9999")
		}
		*to = at.UTC()
		return nil
	}}
}

// standIn says that the key is none of the original's. What it says is there for
// who looks at the topic.
func standIn(to *bool) header {
	const says = "not the key of the original"
	write := func() string {
		if *to {
			return says
		}
		return ""
	}
	return header{headerStandInKey, optional, write, func(s string) error {
		if s != says {
			return errors.New("is " + quote(s) + ", want " + quote(says))
		}
		*to = true
		return nil
	}}
}

// standInKey is the key of a record whose original has none: no other record has
// it, so that compaction takes none for another.
func standInKey(s events.Source) []byte {
	return fmt.Appendf(nil, "%s/%d/%d", s.Topic, s.Partition, s.Offset)
}

// place is where the original stands, and its timestamp.
func place(s *events.Source, timestamp *time.Time) []header {
	return []header{
		text(headerSourceTopic, required, &s.Topic),
		count(headerSourcePartition, &s.Partition),
		offset(headerSourceOffset, &s.Offset),
		moment(headerSourceTimestamp, optional, timestamp),
	}
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// isWritable reports whether RFC 3339 can write t: it knows four digits of a
// year. Timestamps of Kafka records and sums of times can lie beyond.
func isWritable(t time.Time) bool {
	y := t.UTC().Year()
	return 1 <= y && y <= 9999
}

// quote returns the beginning of s, escaped, for an error text.
func quote(s string) string {
	if begin := cut(s, 40); begin != s {
		return strconv.Quote(begin) + "..."
	}
	return strconv.Quote(s)
}

// cut shortens s to max bytes, between two characters.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := max
	for end > max-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
