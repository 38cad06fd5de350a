package kafka

import (
	"fmt"
	"hash/crc32"
)

// Messages of the formats 0 and 1, as producers before 0.11 have written them
// and old segments still hold them (Kafka's documentation, Message Format, Old
// Message Format). A compressed one holds messages as its value; its own offset
// is that of the last of them.
const (
	attributesAt = 17
	stampAt      = 18 // format 1
	leastMessage = 26 // of format 0; format 1 has eight bytes more
)

// message is one of them, with nothing copied. Of what claims more than there
// is the reason says so.
type message struct {
	offset     int64
	magic      int8
	codec      int8
	stamped    bool
	time       int64 // -1 in format 0
	key, value []byte
}

// readMessage reads one whole message.
func readMessage(b []byte) (m message, reason string) {
	if crc := crc32.ChecksumIEEE(b[magicAt:]); crc != uint32(int32At(b, behindLength)) {
		return m, wrongCRC
	}
	m = message{offset: int64At(b, 0), magic: int8(b[magicAt]), codec: int8(b[attributesAt] & codecMask), time: -1}
	rest := cursor{b[stampAt:]}
	if m.magic == 1 {
		m.stamped = b[attributesAt]&logAppendTime != 0
		if rest.left() < 8 {
			return m, fmt.Sprintf("it ends behind %d bytes", len(b))
		}
		m.time = int64At(rest.take(8), 0)
	}
	var ok bool
	for _, field := range []*[]byte{&m.key, &m.value} {
		if rest.left() < 4 {
			return m, fmt.Sprintf("it ends behind %d bytes", len(b))
		}
		if *field, ok = rest.bytes(int64(int32At(rest.take(4), 0))); !ok {
			return m, fmt.Sprintf("it claims a key or value that is longer than its %d bytes", len(b))
		}
	}
	if rest.left() > 0 {
		return m, fmt.Sprintf("it has %d bytes behind its value", rest.left())
	}
	return m, ""
}

// openMessage is open of a message.
func (f *sealed) openMessage() (b batch, reason string) {
	m, reason := readMessage(f.bytes)
	if reason != "" {
		return b, reason
	}
	b = batch{magic: m.magic, codec: m.codec, producer: -1, base: 0, time: m.time, stamped: m.stamped, last: f.last, count: -1, packed: f.bytes}
	switch {
	case m.codec > 3: // zstd came with format 2
		return b, fmt.Sprintf("it says that it is compressed with codec %d, which its format does not have", m.codec)
	case m.codec > 0:
		b.packed = m.value
		if m.codec == 3 && m.magic == 0 {
			b.packed = mendLZ4(m.value)
		}
	}
	return b, ""
}

// nextMessage reads the message at the beginning of a set, and returns its
// length.
func nextMessage(set []byte) (m message, length int, reason string) {
	if len(set) < leastMessage {
		return m, 0, fmt.Sprintf("it ends within a message, behind %d bytes", len(set))
	}
	claimed := int(int32At(set, lengthAt))
	switch {
	case set[magicAt] > 1:
		return m, 0, fmt.Sprintf("it holds a message of format %d", set[magicAt])
	case claimed < leastMessage-behindLength || claimed > len(set)-behindLength:
		return m, 0, fmt.Sprintf("it holds a message that claims a length of %d where %d bytes are left", claimed, len(set)-behindLength)
	}
	length = behindLength + claimed
	m, reason = readMessage(set[:length])
	return m, length, reason
}

// checkSet goes over the unpacked messages of a batch, and finds what their
// offsets are counted from.
func (b *batch) checkSet(set []byte) (reason string) {
	n, last := 0, int64(-1)
	for at := 0; at < len(set); n++ {
		m, length, reason := nextMessage(set[at:])
		switch {
		case reason != "":
			return reason
		case b.codec > 0 && (m.codec > 0 || m.magic != b.magic):
			return fmt.Sprintf("it is compressed and holds a message of format %d and codec %d", m.magic, m.codec)
		case m.offset <= last:
			return fmt.Sprintf("it holds offset %d behind %d", m.offset, last)
		}
		last = m.offset
		at += length
	}
	switch {
	case n == 0:
		return "it is compressed and holds nothing"
	case b.magic == 1 && b.codec > 0:
		// Relative: whatever compaction has left, the last one has the offset
		// of the whole (KIP-31).
		if b.base = b.last - last; b.base < 0 {
			return fmt.Sprintf("it ends at offset %d and holds %d", b.last, last)
		}
	case last != b.last:
		return fmt.Sprintf("it ends at offset %d and holds %d", b.last, last)
	}
	return ""
}
