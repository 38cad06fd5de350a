package kafka

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

// fill holds records of a size until no more fit, and returns how many bytes.
func (s *Share) fill(size int64) (held int64) {
	for {
		granted := s.ask()
		if granted == 0 || s.held > 0 && granted == 1 {
			return held
		}
		for taken := int64(0); taken < granted; taken += size {
			s.Hold(size)
			held += size
		}
		s.giveBack()
	}
}

func TestSharesDivideTheMemory(t *testing.T) {
	const bound, size = 16 << 20, 2000
	for sentence, tt := range map[string]struct {
		shares int
		least  int64 // of the limit in percent, of each; one record where it is 0
		all    int64
	}{
		"one alone leaves half of it to others":           {1, 49, 51},
		"two have a third each":                           {2, 32, 67},
		"eight have a ninth each":                         {8, 10, 90},
		"fifty have nearly all of it":                     {50, 1, 99},
		"five hundred have something each, or one record": {500, 0, 110},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := newMemory(bound)
			shares := make([]*Share, tt.shares)
			for i := range shares {
				shares[i] = m.Share(0)
			}
			for more := true; more; { // none is much quicker than the others
				more = false
				for _, s := range shares {
					granted := s.ask()
					for taken := int64(0); taken < granted; taken += size {
						s.Hold(size)
						more = true
					}
					s.giveBack()
				}
			}
			for i, s := range shares {
				if s.held < max(tt.least*m.limit/100, size) {
					t.Errorf("the %dth has %d bytes of %d", i, s.held, m.limit)
				}
			}
			if m.held > tt.all*m.limit/100 {
				t.Errorf("together they have %d bytes of %d", m.held, m.limit)
			}
		})
	}
}

// Who holds all that he could get and never lets go of it leaves room to all
// that come later.
func TestWhoHoldsHisShareForHoursHoldsUpNobody(t *testing.T) {
	m := newMemory(16 << 20)
	for range 20 {
		if m.Share(0).fill(2000) == 0 {
			t.Fatal("it got nothing")
		}
	}
	late := m.Share(0)
	if granted, err := late.wait(t.Context(), context.Background()); err != nil || granted < 1 {
		t.Fatalf("%d bytes, %v", granted, err)
	}
	late.Hold(10 << 20) // larger than what is left
	late.giveBack()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1 << 20)
		s, other := m.Share(0), m.Share(0)
		s.Hold(m.limit)
		ended, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := s.wait(ended, t.Context())
			failed <- err
		}()
		if n, err := other.wait(t.Context(), t.Context()); n != 1 || err != nil {
			t.Errorf("one record, whatever it takes: %d, %v", n, err)
		}
		other.Hold(5000)
		cancel(errStalled)
		if err := <-failed; !errors.Is(err, errStalled) {
			t.Errorf("when its context ends: %v", err)
		}
		got := make(chan int64)
		go func() {
			n, _ := other.wait(t.Context(), t.Context())
			got <- n
		}()
		synctest.Wait()
		s.Release(m.limit)
		if n := <-got; n != m.chunk {
			t.Errorf("when another has let go: %d bytes, want %d", n, m.chunk)
		}
		s.Close()
		other.Close()
		if m.held != 0 || len(m.waiting) != 0 {
			t.Errorf("%d bytes are held, %d wait, when all is closed", m.held, len(m.waiting))
		}
		other.Hold(1)
		other.Release(1)
		if n, err := other.wait(t.Context(), t.Context()); m.held != 0 || n != 1 || err != nil {
			t.Errorf("a closed share has %d, waits for %d: %v", m.held, n, err)
		}
	})
}

// Retry topics hold all that they may, for hours: their partitions are many, and a
// request that comes in finds half of the memory.
func TestWhatIsDelayedLeavesHalfToWhoIsAtWork(t *testing.T) {
	m := newMemory(8 << 20)
	var delayed []*Share
	for range 200 {
		s := m.ShareOfDelayed(0)
		if s.fill(2000) == 0 {
			t.Fatal("a partition has not got one record")
		}
		s.giveBack()
		delayed = append(delayed, s)
	}
	if m.delayed != m.held || m.delayed < m.limit*4/10 || m.delayed > m.limit/2+200*2000 {
		t.Errorf("%d of %d bytes are delayed, and %d held", m.delayed, m.limit, m.held)
	}
	if delayed[0].Roomy() {
		t.Error("it says that there is room for more that waits")
	}
	atWork := m.Share(0)
	if got := atWork.fill(2000); got < m.limit/5 {
		t.Errorf("who is at work got %d of %d bytes", got, m.limit)
	}
	for _, s := range delayed {
		s.Close()
	}
	if atWork.giveBack(); m.delayed != 0 || m.held != atWork.held {
		t.Errorf("%d bytes are delayed by nobody, %d held", m.delayed, m.held-atWork.held)
	}
}

// What is given back at once goes to all who wait for it: they may hold what they
// have for hours, and then nobody gives anything back.
func TestWhatOneGivesBackAtOnceIsForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(16 << 20)
		gone := m.Share(0)
		gone.Hold(m.limit)
		var all sync.WaitGroup
		var shares []*Share
		for range 12 {
			s := m.Share(0)
			s.Hold(1) // so that one more is not its first
			shares = append(shares, s)
			all.Go(func() {
				if n, err := s.wait(t.Context(), t.Context()); n != m.chunk || err != nil {
					t.Errorf("it got %d bytes, want %d: %v", n, m.chunk, err)
				}
			})
		}
		synctest.Wait()
		gone.Close()
		synctest.Wait()
		if n := len(m.waiting); n > 0 {
			t.Errorf("%d of 12 still wait, and %d of %d bytes are held", n, m.held, m.limit)
		}
		for _, s := range shares { // or they would wait for ever
			s.Release(1)
		}
		all.Wait()
	})
}

// Whatever is held for how long, all go on, and together they stay within the
// limit, but for one record each.
func TestReadersThatShareGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1 << 20)
		const readers, each, largest = 40, 300, 30_000
		var all sync.WaitGroup
		for i := range readers {
			rng := rand.New(rand.NewPCG(11, uint64(i)))
			all.Go(func() {
				s := m.Share(0)
				defer s.Close()
				var open []int64
				for n := 0; n < each || len(open) > 0; {
					if len(open) > 0 && rng.IntN(3) > 0 {
						i := rng.IntN(len(open))
						s.Release(open[i])
						open[i] = open[len(open)-1]
						open = open[:len(open)-1]
						continue
					}
					if n == each {
						continue
					}
					granted := s.ask()
					if granted == 0 && len(open) > 0 {
						continue // its own have to go
					}
					if granted == 0 {
						granted, _ = s.wait(t.Context(), t.Context())
					}
					for taken := int64(0); taken < granted; n++ {
						size := 1 + rng.Int64N(largest)
						s.Hold(size)
						open = append(open, size)
						taken += size
					}
					s.giveBack()
					m.mu.Lock()
					if m.held > m.limit+readers*largest {
						t.Errorf("%d bytes of %d are held", m.held, m.limit)
					}
					m.mu.Unlock()
				}
			})
		}
		all.Wait()
		if m.held != 0 || len(m.waiting) != 0 {
			t.Errorf("%d bytes are held, %d wait, at the end", m.held, len(m.waiting))
		}
	})
}
