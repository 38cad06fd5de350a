package kafka

import (
	"encoding/binary"
	"fmt"

	"github.com/closeorder/closeorder/events"
)

// cursor reads what was unpacked, never beyond its end.
type cursor struct{ rest []byte }

func (c *cursor) left() int { return len(c.rest) }

// take returns the next n bytes, of which the caller knows that they are there.
func (c *cursor) take(n int) []byte {
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// varint reads a number in zigzag.
func (c *cursor) varint() (n int64, ok bool) {
	n, length := binary.Varint(c.rest)
	if length <= 0 {
		return 0, false
	}
	c.rest = c.rest[length:]
	return n, true
}

// bytes reads n of them, nil where n is negative.
func (c *cursor) bytes(n int64) (b []byte, ok bool) {
	switch {
	case n < 0:
		return nil, n == -1
	case n > int64(len(c.rest)):
		return nil, false
	}
	return c.take(int(n)), true
}

// field reads a length and as many bytes.
func (c *cursor) field() (b []byte, ok bool) {
	n, ok := c.varint()
	if !ok {
		return nil, false
	}
	return c.bytes(n)
}

// entry is one record of a batch, with nothing copied.
type entry struct {
	offset     int64
	time       int64
	key, value []byte
	headers    cursor
	count      int // headers
}

// at reads the entry at a place of what a batch unpacks to, and returns its
// length.
func (b *batch) at(data []byte) (e entry, length int, reason string) {
	if b.magic < 2 {
		m, length, reason := nextMessage(data)
		e = entry{offset: b.base + m.offset, time: m.time, key: m.key, value: m.value}
		if b.stamped && b.codec > 0 {
			e.time = b.time
		}
		return e, length, reason
	}
	whole := cursor{data}
	claimed, ok := whole.varint()
	if !ok || claimed < leastRecord-1 || claimed > int64(whole.left()) {
		return e, 0, fmt.Sprintf("it holds a record that claims %d bytes where %d are left", claimed, whole.left())
	}
	length = len(data) - whole.left() + int(claimed)
	c := cursor{whole.take(int(claimed))}
	c.take(1) // attributes, unused
	since, ok1 := c.varint()
	delta, ok2 := c.varint()
	var ok3, ok4 bool
	e.key, ok3 = c.field()
	e.value, ok4 = c.field()
	n, ok5 := c.varint()
	// A header takes two bytes at least: a number that it claims beyond that
	// makes no memory.
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || n < 0 || n > int64(c.left()/2) {
		return e, 0, fmt.Sprintf("it holds a record of %d bytes that claims more", claimed)
	}
	e.headers, e.count = c, int(n)
	e.offset, e.time = b.base+delta, b.time
	if !b.stamped {
		e.time += since
	}
	return e, length, ""
}

// check goes over the whole of what a batch unpacks to before any of it is
// handed out: either all of a batch can be read, or nothing.
func (b *batch) check(data []byte) (reason string) {
	if b.magic < 2 {
		return b.checkSet(data)
	}
	if b.count > len(data)/leastRecord {
		return fmt.Sprintf("it claims %d records in %d bytes", b.count, len(data))
	}
	last := b.base - 1
	for i := range b.count {
		e, length, reason := b.at(data)
		if reason != "" {
			return reason
		}
		if e.offset <= last || e.offset > b.last {
			return fmt.Sprintf("it holds offset %d behind %d, and says that it ends at %d", e.offset, last, b.last)
		}
		for range e.count {
			if key, ok := e.headers.field(); !ok || key == nil {
				return fmt.Sprintf("record %d of it has a header that claims more bytes than there are", i+1)
			}
			if _, ok := e.headers.field(); !ok {
				return fmt.Sprintf("record %d of it has a header that claims more bytes than there are", i+1)
			}
		}
		if e.headers.left() > 0 {
			return fmt.Sprintf("record %d of it has %d bytes behind its headers", i+1, e.headers.left())
		}
		last = e.offset
		data = data[length:]
	}
	if len(data) > 0 {
		return fmt.Sprintf("it has %d bytes behind its %d records", len(data), b.count)
	}
	return ""
}

// copyOut takes a record out of the bytes that it came in, into memory of its
// own. like are the headers of the record before it: the names of headers are
// the same in most, and strings may be shared.
func (e *entry) copyOut(like []events.Header) (m events.Message) {
	total := len(e.key) + len(e.value)
	if e.count > 0 {
		m.Headers = make([]events.Header, e.count)
		c := e.headers
		for i := range m.Headers {
			key, _ := c.field()
			value, _ := c.field()
			if i < len(like) && like[i].Key == string(key) {
				m.Headers[i].Key = like[i].Key
			} else {
				m.Headers[i].Key = string(key)
			}
			m.Headers[i].Value = value
			total += len(value)
		}
	}
	own := make([]byte, 0, total)
	copied := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		from := len(own)
		own = append(own, b...)
		return own[from:len(own):len(own)]
	}
	m.Key, m.Value = copied(e.key), copied(e.value)
	for i := range m.Headers {
		m.Headers[i].Value = copied(m.Headers[i].Value)
	}
	return m
}
