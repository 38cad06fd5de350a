package consumer

import "math/bits"

// window is how far offsets may be open above the watermark of a partition:
// intake of the partition waits at its end. It bounds the memory of a
// partition and the commit metadata, which holds one bit per offset at worst.
const window = 16384

// ledger knows which offsets of one partition are finished. Offsets are
// opened in rising order and finished in any order.
//
// Offsets between two opened ones do not exist any more (compaction) or are
// none of ours (transaction markers): they count as finished.
//
// A ledger is not safe for concurrent use.
type ledger struct {
	// watermark is the lowest offset that is not finished: what is committed.
	// All below it is finished.
	watermark int64
	// next is the lowest offset that has not been opened.
	next int64
	// finished has a bit for each offset of [watermark, watermark+window), at
	// position offset % window.
	finished [window / 64]uint64
}

// newLedger begins at a committed offset, with what is finished above it.
func newLedger(committed int64, above []span) *ledger {
	l := &ledger{watermark: committed, next: committed}
	for _, s := range above {
		for o := s.first; o <= s.last && o < committed+window; o++ {
			l.mark(o)
		}
	}
	l.advance()
	return l
}

// room reports whether offset can be opened without passing the window.
func (l *ledger) room(offset int64) bool {
	return offset < l.watermark+window || l.idle()
}

// idle reports whether nothing that was opened is unfinished.
func (l *ledger) idle() bool { return l.watermark >= l.next }

// open opens the next offset; all offsets between the last one and it count
// as finished. It returns false when the offset is finished already: it was
// opened before, or is known to be finished from the commit metadata.
// The caller makes sure that there is room.
func (l *ledger) open(offset int64) bool {
	if offset < l.next {
		return false
	}
	l.skip(offset)
	done := l.marked(offset)
	l.next = offset + 1
	if done {
		l.advance()
	}
	return !done
}

// skip counts all offsets from next up to, not including, offset as finished.
func (l *ledger) skip(offset int64) {
	if offset <= l.next {
		return
	}
	if l.idle() {
		// Nothing is open below: jump, however far. Bits from commit
		// metadata that lie beyond stay.
		for ; l.watermark < offset; l.watermark++ {
			if offset-l.watermark > window {
				l.finished = [window / 64]uint64{}
				l.watermark = offset
				break
			}
			l.clear(l.watermark)
		}
		l.next = max(l.next, offset)
		return
	}
	for o := l.next; o < offset; o++ {
		l.mark(o)
	}
	l.next = offset
}

// finish marks an opened offset as finished.
func (l *ledger) finish(offset int64) {
	if l.watermark <= offset && offset < l.next {
		l.mark(offset)
		l.advance()
	}
}

// advance moves the watermark over what is finished, also over what the
// commit metadata says of offsets that have not been opened yet.
func (l *ledger) advance() {
	for l.marked(l.watermark) {
		l.clear(l.watermark)
		l.watermark++
	}
	l.next = max(l.next, l.watermark)
}

// above returns what is finished above the watermark, lowest first.
func (l *ledger) above() []span {
	var spans []span
	for i := int64(1); i < window; {
		o := l.watermark + i
		word := l.finished[o%window/64] >> uint(o%64)
		if word == 0 { // nothing in the rest of this word
			i += 64 - o%64
			continue
		}
		if skip := int64(bits.TrailingZeros64(word)); skip > 0 {
			i += skip
			continue
		}
		spans = extend(spans, o)
		i++
	}
	return spans
}

func (l *ledger) mark(o int64)        { l.finished[o%window/64] |= 1 << uint(o%64) }
func (l *ledger) clear(o int64)       { l.finished[o%window/64] &^= 1 << uint(o%64) }
func (l *ledger) marked(o int64) bool { return l.finished[o%window/64]&(1<<uint(o%64)) != 0 }

// span is a run of offsets, both ends included.
type span struct{ first, last int64 }

// extend adds an offset above all of spans.
func extend(spans []span, o int64) []span {
	if n := len(spans); n > 0 && spans[n-1].last == o-1 {
		spans[n-1].last = o
		return spans
	}
	return append(spans, span{o, o})
}
