package events

import (
	"errors"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxErrorMessage is the most bytes of an error message in a header: a dead
// letter must not outgrow the broker's limit because of what we say about it.
const MaxErrorMessage = 1 << 10

// block is the headers that closeorder puts after the original ones of a dead
// letter or a retry record. A block always begins with the same header, which
// it has once, and reaches to the end. So the last occurrence of that header
// divides the original from what was added, whatever the original contains:
// it may be a dead letter itself that somebody sent to the requests topic.
type block []Header

func (b *block) text(key, value string) {
	*b = append(*b, Header{key, []byte(value)})
}

// number writes a counter or an offset; there are none below zero.
func (b *block) number(key string, n int64) { b.text(key, strconv.FormatInt(max(n, 0), 10)) }

// time writes a time that every block has. What RFC 3339 cannot write becomes
// its last second or its first, so that the block can be read again.
func (b *block) time(key string, t time.Time) {
	switch {
	case isWritable(t):
		b.text(key, formatTime(t))
	case t.After(time.Time{}):
		b.text(key, "9999-12-31T23:59:59Z")
	default:
		b.text(key, formatTime(time.Time{}))
	}
}

// optionalTime leaves a time out that is zero or that RFC 3339 cannot write.
func (b *block) optionalTime(key string, t time.Time) {
	if !t.IsZero() && isWritable(t) {
		b.text(key, formatTime(t))
	}
}

func (b *block) source(s Source, timestamp time.Time) {
	b.text(HeaderSourceTopic, s.Topic)
	b.number(HeaderSourcePartition, int64(s.Partition))
	b.number(HeaderSourceOffset, s.Offset)
	b.optionalTime(HeaderSourceTimestamp, timestamp)
}

// appendTo returns m with the block at its end.
func (b block) appendTo(m Message) Message {
	m.Headers = slices.Concat(m.Headers, []Header(b))
	return m
}

// splitBlock divides m into the original and the block that begins with
// names[0]. Where there is none, or one with a header twice, the original is m.
func splitBlock(m Message, names []string, p *problems) (Message, block) {
	for i := len(m.Headers) - 1; i >= 0; i-- {
		if m.Headers[i].Key != names[0] {
			continue
		}
		b := block(m.Headers[i:])
		for _, name := range names[1:] {
			if b.count(name) > 1 {
				p.add(name, "occurs more than once")
			}
		}
		// Capped, so that an append to the original cannot reach the block.
		m.Headers = m.Headers[:i:i]
		if i == 0 {
			m.Headers = nil
		}
		return m, b
	}
	return m, nil
}

func (b block) count(name string) int {
	n := 0
	for _, h := range b {
		if h.Key == name {
			n++
		}
	}
	return n
}

func (b block) get(name string, required bool, p *problems) (string, bool) {
	for _, h := range b {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	if required {
		p.add(name, problemRequired)
	}
	return "", false
}

func (b block) getText(name string, required bool, p *problems) string {
	s, _ := b.get(name, required, p)
	return s
}

// getOnce returns the value of a header that nothing depends on: empty where
// it is absent or occurs more than once.
func (b block) getOnce(name string) string {
	if b.count(name) != 1 {
		return ""
	}
	var ignored problems
	return b.getText(name, false, &ignored)
}

func (b block) getTime(name string, required bool, p *problems) time.Time {
	s, ok := b.get(name, required, p)
	if ok && s == "" {
		p.add(name, "is empty")
	}
	return parseTime(name, s, p)
}

func (b block) getCount(name string, p *problems) int {
	s, ok := b.get(name, true, p)
	if !ok {
		return 0
	}
	n, err := parseCount(s)
	if err != nil {
		p.add(name, "%v", err)
	}
	return n
}

func (b block) getSource(p *problems) (Source, time.Time) {
	s := Source{
		Topic:     b.getText(HeaderSourceTopic, true, p),
		Partition: b.getCount(HeaderSourcePartition, p),
	}
	if text, ok := b.get(HeaderSourceOffset, true, p); ok {
		n, err := parseOffset(text)
		if err != nil {
			p.add(HeaderSourceOffset, "%v", err)
		}
		s.Offset = n
	}
	return s, b.getTime(HeaderSourceTimestamp, false, p)
}

func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errors.New("is " + quote(s) + ", want an offset")
	}
	return int64(n), nil
}

// withReplay returns m with n as its only replay number.
func withReplay(m Message, n int) Message {
	headers := make([]Header, 0, len(m.Headers)+1)
	for _, h := range m.Headers {
		if h.Key != HeaderReplay {
			headers = append(headers, h)
		}
	}
	m.Headers = append(headers, Header{HeaderReplay, strconv.AppendInt(nil, int64(n), 10)})
	return m
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
