package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/closeorder/closeorder/events"
)

// What Next returns at one time is about so much.
const (
	nextBytes   = 1 << 20
	nextRecords = 1024
)

// Source reads one partition from an offset on. All sources of a client are
// fetched by one request to each broker, ahead of their readers, as far as
// [Memory] has room. What waits for a reader that stays away is dropped when
// others need its room, and fetched again.
//
// One goroutine may use a Source at a time; Close may be called by any.
type Source struct {
	fetcher *fetcher
	place
	bytes int // of one fetch
	// Share, if set, bounds what Next hands out: by the bytes of each record, and
	// what its reader needs for one beside them. Set it before the first Next.
	Share *Share

	ready chan struct{} // something has come, or it is closed

	// Guarded by fetcher.mu.
	home     *fetchedBroker
	epoch    int   // counts what position was set to
	position int64 // of the next fetch
	asking   bool  // a request is under way
	waiting  []sealed
	size     int // of what waits, in bytes
	inHand   int // of what the reader has taken and not read to the end
	needs    int // how large the largest batch was that came last
	// away is since when the reader does not read, zero while it does. dropped:
	// it was so long that others have got the room of what was fetched for it.
	away    time.Time
	dropped bool
	failed  error // comes behind what waits
	// stopped: its reader was told of an error and has not come back.
	stopped bool
	closed  bool
	// end is the offset behind the last that can be read, as the last fetch that
	// worked has it, at heard; -1 before there was one.
	end   int64
	heard time.Time
	// tell: the reader is to hear of a fetch that works and brings nothing;
	// empty: it did.
	tell, empty bool
	// starved counts fetches that have brought less than one batch: the next one
	// names all partitions, this one among the first.
	starved int
	// doubted: the batch at position reached beyond the log, or the last stable
	// offset, see pieces.
	doubted   bool
	notBefore time.Time // see fetchAgain
	parked    *unpacked

	// The reader's own.
	offset  int64
	batches []sealed
	// Of batches[0]:
	batch   batch
	checked bool // all of it can be read
	at      int  // how far it is read, in unpacked bytes
	left    int  // records behind that, negative where the header does not say
}

// errSourceClosed is what Next returns after Close.
var errSourceClosed = errors.New("the source is closed")

// Source begins to read a partition at an offset. Close it.
func (c *Client) Source(topic string, partition int, offset int64) *Source {
	return c.source(topic, partition, offset, defaultFetchBytes)
}

func (c *Client) source(topic string, partition int, offset int64, bytes int) *Source {
	s := &Source{
		fetcher: c.fetcher, place: place{topic, partition}, bytes: min(bytes, c.fetcher.partMost()), ready: make(chan struct{}, 1),
		position: offset, offset: offset, end: -1, tell: true, away: time.Now(),
	}
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	s.fetcher.sources[s] = struct{}{}
	s.fetcher.want(s)
	return s
}

// Next waits for records and returns them in the order of their offsets: at
// most about 1 MiB, or what there is room for in Share, or one record that is
// larger. next is the offset that it goes on at: behind the records and behind
// what is no record (transaction markers, batches that compaction has emptied),
// so that it may have moved without a record.
//
// It reads committed: records of aborted transactions count as what is no record,
// and nothing is returned at or behind the last stable offset, where the first
// transaction begins that is still open. It waits until that has ended; so do
// records behind it that belong to no transaction. With Config.ReadUncommitted all
// records are returned, as they are written.
//
// It returns neither records nor an error once after each error, SeekTo and the
// beginning, when a fetch has worked and brought nothing: the partition is
// there. Otherwise it waits until something comes.
//
// An error is of this partition alone, or of its broker; records that come
// before it were returned before it. After an error, and a pause that is the
// caller's, Next tries again at next:
//
//   - OffsetOutOfRange: the log does not hold the offset; see SeekTo.
//   - *UnreadableError: next is its First, and Next would read it once more. To
//     go on behind it, SeekTo Last+1.
//   - [NoPartition]: there may be no such partition.
//   - the cause of ctx, when that has ended.
//   - any other: brokers that are away, leaders that move. See [Lasting].
func (s *Source) Next(ctx context.Context) (records []Record, next int64, err error) {
	f := s.fetcher
	s.Share.giveBack()
	s.back()
	defer s.leave()
	for {
		from := s.offset
		if records, err = s.read(ctx); err != nil || len(records) > 0 || s.offset != from {
			return records, s.offset, err
		}
		f.mu.Lock()
		s.letGo()
		switch {
		case s.closed:
			err = errSourceClosed
		case f.life.Err() != nil:
			err = fmt.Errorf("topic %s, partition %d: %w", s.topic, s.partition, net.ErrClosed)
		case len(s.waiting) > 0:
			s.batches, s.inHand, s.waiting, s.size = s.waiting, s.size, nil, 0
		case s.failed != nil:
			err, s.failed = s.failed, nil
			s.stopped, s.tell = true, true
		case s.empty:
			s.empty = false
			f.mu.Unlock()
			return nil, s.offset, nil
		default:
			s.stopped = false
		}
		if err != nil {
			f.mu.Unlock()
			return nil, s.offset, err
		}
		f.want(s)
		f.mu.Unlock()
		if len(s.batches) > 0 {
			continue
		}
		select {
		case <-s.ready:
		case <-f.life.Done():
		case <-ctx.Done():
			return nil, s.offset, context.Cause(ctx)
		}
	}
}

// isAway reports whether the reader has been away for so long. The caller has
// fetcher.mu.
func (s *Source) isAway(now time.Time, d time.Duration) bool {
	return !s.away.IsZero() && now.Sub(s.away) >= d
}

// back notes that the reader reads.
func (s *Source) back() {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	long := s.isAway(time.Now(), awayFor)
	s.away, s.dropped = time.Time{}, false
	if long {
		s.fetcher.want(s) // it was left out
	}
}

// leave notes that the reader is away from here on.
func (s *Source) leave() {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	s.letGo()
	s.away = time.Now()
}

// letGo gives the room back of what the reader has read to the end. The caller
// has fetcher.mu, and is the reader.
func (s *Source) letGo() {
	if len(s.batches) == 0 && s.inHand > 0 {
		n := s.inHand
		s.inHand, s.batches, s.batch = 0, nil, batch{} // an empty slice still holds all
		s.fetcher.release(s, n)
	}
}

// drop lets go of all that was fetched and not handed out: it is fetched again
// when the reader comes back. The caller has fetcher.mu, and the reader is away.
func (s *Source) drop() {
	n := s.size + s.inHand
	s.epoch++
	s.position, s.asking, s.doubted = s.offset, false, false
	s.waiting, s.size, s.inHand, s.failed = nil, 0, 0, nil
	s.batches, s.batch, s.checked = nil, batch{}, false
	s.forget()
	s.fetcher.release(s, n)
}

// SeekTo goes on at an offset: what was fetched is dropped.
func (s *Source) SeekTo(offset int64) {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	s.restart(offset)
	s.fetcher.want(s)
}

// Close ends the reading: a call of Next under way returns an error. It may be
// called more than once.
func (s *Source) Close() {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	delete(s.fetcher.sources, s)
	if s.home != nil {
		s.home.remove(s)
	}
	s.forget()
	n := s.size + s.inHand
	s.waiting, s.size, s.inHand = nil, 0, 0
	s.fetcher.release(s, n)
	signal(s.ready)
}

// restart drops all that was fetched and goes on at an offset. The caller has
// mu, and is the reader.
func (s *Source) restart(offset int64) {
	s.offset, s.needs, s.empty = offset, 0, false
	s.stopped, s.tell, s.starved = false, true, 0
	s.drop()
}

// hungry reports whether it may be asked for. Half a fetch may wait, so that one
// that is read at once is in every long poll.
func (s *Source) hungry() bool {
	return !s.closed && !s.stopped && !s.asking && s.failed == nil && s.size < (s.bytes+1)/2
}

// Seen returns how far the log could be read when the last fetch that worked was
// answered, and when that was: the offset behind the last committed record, or
// the high watermark with Config.ReadUncommitted. It is -1 before the first. Safe
// for concurrent use.
func (s *Source) Seen() (end int64, at time.Time) {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	return s.end, s.heard
}

// fail hands the reader an error, behind what waits.
func (s *Source) fail(err error) {
	s.failed = err
	signal(s.ready)
}

// deliver hands the reader what a fetch has brought.
func (s *Source) deliver(a *asked) {
	s.end, s.heard = a.end, time.Now()
	if len(a.batches) > 0 {
		s.needs = 0
		for _, b := range a.batches {
			s.needs = max(s.needs, len(b.bytes))
		}
		s.fetcher.batches[s.topic] = s.needs
		if !s.fetcher.keep(s, a.bytes) {
			s.starved++ // the first of a request gets its batch however large that is
			return
		}
		s.waiting = append(s.waiting, a.batches...)
		s.size += a.bytes
		s.position = a.batches[len(a.batches)-1].last + 1
		s.tell, s.starved, s.doubted = false, 0, false
		signal(s.ready)
	}
	switch {
	case a.doubtful && !s.doubted:
		s.doubted = true // asked for once more
	case a.reason != "" && a.held != nil:
		s.starved++ // damage, if it comes again without a session
	case a.reason != "":
		s.fail(s.unreadable(s.position, -1, a.reason))
	case len(a.batches) > 0:
	case a.partial > 0 && a.first && s.starved > 0:
		// The first of a request gets its batch whole: this one ends before
		// its end (KIP-74).
		s.fail(s.unreadable(s.position, -1, fmt.Sprintf("it claims a length of %d bytes, of which %d came", a.partial, a.bytes)))
	case a.bytes > 0 || a.end > s.position:
		s.starved++ // there is something, and no room in the answer
	case s.tell:
		s.tell, s.empty = false, true
		signal(s.ready)
	}
}

func (s *Source) unreadable(first, last int64, reason string) *UnreadableError {
	return &UnreadableError{Topic: s.topic, Partition: s.partition, First: first, Last: last, Reason: reason}
}

// room returns how many bytes may be handed out, and what counts for a record
// beside its own. Where it has to wait for that, what was fetched may be gone
// when it returns.
func (s *Source) room(ctx context.Context) (most, each int, err error) {
	if s.Share == nil || len(s.batches) == 0 {
		return nextBytes, 0, nil
	}
	granted := s.Share.ask()
	if granted == 0 {
		f := s.fetcher
		f.mu.Lock()
		s.away = time.Now()
		f.mu.Unlock()
		granted, err = s.Share.wait(ctx, f.life)
		s.back()
	}
	return int(granted), int(s.Share.each), err
}

// read returns the next records of the batches that the reader has taken.
func (s *Source) read(ctx context.Context) (records []Record, err error) {
	size := 0
	var like []events.Header
	most, each, err := s.room(ctx)
	if err != nil {
		return nil, err
	}
	for size < most && len(records) < nextRecords && len(s.batches) > 0 {
		data, u, err := s.unpack(ctx, len(records) == 0)
		if data == nil {
			if len(records) > 0 {
				return records, nil // what is wrong is met again
			}
			if unreadable := (*UnreadableError)(nil); errors.As(err, &unreadable) {
				s.fetcher.mu.Lock()
				s.restart(unreadable.First)
				s.stopped = true
				s.fetcher.mu.Unlock()
			}
			return nil, err
		}
		if records == nil && s.left > 0 {
			records = make([]Record, 0, min(s.left, nextRecords, most/(each+leastRecord)+1))
		}
		b := &s.batch
		for s.left != 0 && s.at < len(data) && size < most && len(records) < nextRecords {
			e, length, _ := b.at(data[s.at:]) // it was checked
			s.at += length
			s.left--
			if e.offset < s.offset {
				continue // a batch may begin below the offset
			}
			m := e.copyOut(like)
			like = m.Headers
			records = append(records, Record{Topic: s.topic, Partition: s.partition, Offset: e.offset, Time: time.UnixMilli(e.time), Message: m})
			s.offset = e.offset + 1
			size += length + each
		}
		if s.left == 0 || s.at >= len(data) {
			s.offset = max(s.offset, b.last+1)
			s.batches, s.checked = s.batches[1:], false
			if u != nil {
				s.fetcher.budget.drop(u)
			}
		} else if u != nil {
			s.park(u)
		}
	}
	return records, nil
}

// unpack returns what the first batch unpacks to, and what that takes of the
// budget. The first time it is checked. Where wait is false it returns nil if
// there is no room at the moment.
func (s *Source) unpack(ctx context.Context, wait bool) (data []byte, u *unpacked, err error) {
	first, budget := &s.batches[0], s.fetcher.budget
	if !s.checked {
		b, reason := first.open()
		last, over := first.last, false
		if reason == "" {
			over, reason = first.aborted.passesOver(&b)
		} else if reason == wrongCRC && !first.sure {
			last = -1
		}
		switch {
		case reason != "" || over:
		case b.codec == 0 && int64(len(b.packed)) > budget.batch:
			reason = budget.tooMuch()
		case b.codec == 0 && !b.control:
			reason = b.check(b.packed)
		}
		if reason != "" {
			return nil, nil, s.unreadable(first.first, last, reason)
		}
		s.batch, s.at, s.left = b, 0, b.count
		if b.control || over {
			s.left = 0
		}
		s.checked = b.codec == 0
	}
	b := &s.batch
	switch {
	case s.left == 0:
		return []byte{}, nil, nil
	case b.codec == 0:
		return b.packed, nil, nil
	}
	if u := s.unpark(); u != nil {
		return u.data, u, nil
	}
	u, reason, err := budget.unpack(ctx, b.codec, &s.fetcher.zstds, b.packed, wait)
	if u == nil && reason == "" {
		return nil, nil, err
	}
	if reason == "" && !s.checked {
		if reason = b.check(u.data); reason != "" {
			budget.drop(u)
		}
	}
	if reason != "" {
		return nil, nil, s.unreadable(first.first, first.last, reason)
	}
	s.checked = true
	return u.data, u, nil
}

// park leaves what is unpacked and not read to the end until Next is called
// again, if nobody else needs the room.
func (s *Source) park(u *unpacked) {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	if s.closed {
		s.fetcher.budget.drop(u)
		return
	}
	s.parked = u
	s.fetcher.budget.park(u)
}

// unpark gets it back, nil where it has to be unpacked again.
func (s *Source) unpark() *unpacked {
	s.fetcher.mu.Lock()
	defer s.fetcher.mu.Unlock()
	u := s.parked
	s.parked = nil
	if u == nil || !s.fetcher.budget.back(u) {
		return nil
	}
	return u
}

// forget lets go of what is parked. The caller has fetcher.mu.
func (s *Source) forget() {
	if s.parked != nil {
		s.fetcher.budget.forget(s.parked)
		s.parked = nil
	}
}
