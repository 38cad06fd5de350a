package kafka

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// defaultMaxBuffered is that of Config.MaxBuffered.
const defaultMaxBuffered = 64 << 20

// Memory divides what a process may hold of Kafka's records, in bytes, as long
// as it has them: Config.MaxBuffered.
//
//	5/8  records that were handed out and are not let go of, with what their
//	     reader makes of each: see Share. Of that half at most those that wait
//	     until they are due, see ShareOfDelayed
//	1/8  batches as they came, that wait for their reader or are being read
//	1/8  what requests under way may bring of them
//	1/8  batches unpacked, as far as kafka.unpacked_total allows for it
//
// Beyond that each partition may have one record where it has none, and one
// batch at a time may be larger than the part it belongs to: whatever the order
// in which memory is taken and given back, all go on.
//
// It is safe for concurrent use.
type Memory struct {
	bound int64
	limit int64 // of what was handed out
	chunk int64 // is handed out at one time

	mu      sync.Mutex
	held    int64    // of limit, grants included
	delayed int64    // of that, by the shares of ShareOfDelayed
	waiting []*Share // the longest first
}

func newMemory(bound int64) *Memory {
	bound = cmp.Or(bound, defaultMaxBuffered)
	limit := bound * 5 / 8
	return &Memory{bound: bound, limit: limit, chunk: min(max(limit/128, 8<<10), 64<<10)}
}

// Share is what one partition has of a Memory. It may grow to as much as is
// left over for all (dynamic thresholds: Choudhury and Hahne, IEEE/ACM
// Transactions on Networking 6(2), 1998): one alone has half of it, n that all
// want more have 1/(n+1) each, and who holds what he has for hours leaves that
// to the others. It is safe for concurrent use; a nil Share bounds nothing.
type Share struct {
	memory *Memory
	// each is what a record takes beside its own bytes.
	each   int64
	delays bool // see ShareOfDelayed

	// Guarded by memory.mu.
	held    int64
	granted int64 // of the next records, counted in memory.held
	grants  chan struct{}
	waits   bool
	closed  bool
}

// Share makes one of a partition whose reader needs each bytes for a record,
// beside those of the record. Close it when all that was read has been let go.
func (m *Memory) Share(each int64) *Share {
	return &Share{memory: m, each: each, grants: make(chan struct{}, 1)}
}

// ShareOfDelayed makes one of a partition whose records wait for hours until they
// are due, as those of retry topics do. All of these together have half of what
// may be handed out, and beyond that one record each: or a backlog that waits
// would leave those next to nothing who could be at work.
func (m *Memory) ShareOfDelayed(each int64) *Share {
	s := m.Share(each)
	s.delays = true
	return s
}

// Most returns how many bytes of records may be handed out, and not let go of.
func (m *Memory) Most() int64 { return m.limit }

// count counts n more bytes, granted or held. The caller has memory.mu.
func (s *Share) count(n int64) {
	s.memory.held += n
	if s.delays {
		s.memory.delayed += n
	}
}

// fits returns how much may be handed out next, 0 for nothing. The caller has
// memory.mu.
func (s *Share) fits() int64 {
	switch chunk := s.memory.chunk; {
	case s.held+chunk <= s.left():
		return chunk
	case s.held == 0:
		return 1 // one record, whatever it takes
	}
	return 0
}

// left is what may be handed out of the part that is for s. The caller has
// memory.mu.
func (s *Share) left() int64 {
	m := s.memory
	if s.delays {
		return min(m.limit-m.held, m.limit/2-m.delayed)
	}
	return m.limit - m.held
}

// grant hands out n bytes. The caller has memory.mu.
func (s *Share) grant(n int64) {
	s.granted = n
	s.count(n)
}

// ungrant takes back what was granted and not held. The caller has memory.mu.
func (s *Share) ungrant() {
	s.count(-s.granted)
	s.granted = 0
}

// giveBack takes back what was granted and not held.
func (s *Share) giveBack() {
	if s == nil {
		return
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.granted > 0 {
		s.ungrant()
		m.serve(nil, lookAt)
	}
}

// ask returns how many bytes may be handed out at once, 0 for none: one at least
// is any one record. They are granted until giveBack.
func (s *Share) ask() int64 {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed {
		return 1 // its reader is told otherwise that it is over
	}
	s.ungrant()
	s.grant(s.fits())
	return s.granted
}

// wait waits until ask would return some.
func (s *Share) wait(ctx, life context.Context) (bytes int64, err error) {
	m := s.memory
	m.mu.Lock()
	if s.closed {
		m.mu.Unlock()
		return 1, nil
	}
	s.ungrant()
	if n := s.fits(); n > 0 {
		s.grant(n)
		m.mu.Unlock()
		return n, nil
	}
	s.waits = true
	m.waiting = append(m.waiting, s)
	m.mu.Unlock()
	select {
	case <-s.grants:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-life.Done():
		err = context.Cause(life)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.waits { // and nobody has granted anything
		s.waits = false
		m.waiting = slices.DeleteFunc(m.waiting, func(other *Share) bool { return other == s })
	}
	if err != nil {
		select { // it was granted as ctx ended
		case <-s.grants:
		default:
		}
		s.ungrant()
		m.serve(nil, lookAt)
	}
	return s.granted, err
}

// Hold counts n bytes of a record that its reader keeps.
func (s *Share) Hold(n int64) {
	if s == nil {
		return
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	if s.closed {
		return
	}
	s.held += n
	of := min(n, s.granted)
	s.granted -= of
	s.count(n - of)
}

// Release gives back what was held. Those that wait for it go on.
func (s *Share) Release(n int64) {
	if s == nil {
		return
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed {
		return
	}
	s.held -= n
	s.count(-n)
	m.serve(s, lookAt)
}

// Roomy reports whether less than half is held of what may be.
func (s *Share) Roomy() bool {
	if s == nil {
		return true
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return s.held <= s.left()/2
}

// Close gives back all. It may be called more than once.
func (s *Share) Close() {
	if s == nil {
		return
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.waits {
		s.waits = false
		m.waiting = slices.DeleteFunc(m.waiting, func(other *Share) bool { return other == s })
	}
	s.ungrant()
	s.count(-s.held)
	s.held = 0
	m.serve(nil, len(m.waiting)) // much at once, and nobody may give anything back for hours
}

// lookAt is how many that wait find too little before the others are left for
// later: there may be hundreds, at each record that is let go of.
const lookAt = 2

// serve grants what was given back: first to whom it was, then to those who have
// waited for longest, until so many found too little for what they have. Those go
// behind the others. The caller has mu.
func (m *Memory) serve(first *Share, misses int) {
	if first != nil && first.waits {
		if n := first.fits(); n > 0 {
			m.waiting = slices.DeleteFunc(m.waiting, func(s *Share) bool { return s == first })
			first.wake(n)
		}
	}
	for misses > 0 && len(m.waiting) > 0 {
		s := m.waiting[0]
		copy(m.waiting, m.waiting[1:])
		if n := s.fits(); n > 0 {
			m.waiting[len(m.waiting)-1] = nil
			m.waiting = m.waiting[:len(m.waiting)-1]
			s.wake(n)
		} else {
			m.waiting[len(m.waiting)-1] = s
			misses--
		}
	}
}

// wake grants a share that waits n bytes. It is in the queue no more.
func (s *Share) wake(n int64) {
	s.waits = false
	s.grant(n)
	signal(s.grants)
}
