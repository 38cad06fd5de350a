package gatewaysim

import (
	"fmt"
	"math"
	"time"
)

// Latency is the time that a call takes: evenly between Min and Max, plus an
// exponentially distributed addition with mean Jitter, so that a few calls
// take many times as long. The close takes effect at a random moment in it.
type Latency struct{ Min, Max, Jitter time.Duration }

func (l Latency) check() error {
	if l.Min < 0 || l.Max < 0 || l.Jitter < 0 || l.Max != 0 && l.Max < l.Min {
		return fmt.Errorf("gateway simulator: latency from %v to %v with jitter %v: none may be negative, nor the greatest below the least", l.Min, l.Max, l.Jitter)
	}
	return nil
}

// draw returns the time before and after the moment of effect.
func (l Latency) draw(d *draw) (early, late time.Duration) {
	if l == (Latency{}) {
		return 0, 0
	}
	total := l.Min
	if l.Max > l.Min {
		total += d.below(l.Max - l.Min)
	}
	total += time.Duration(-math.Log(1-d.float()) * float64(l.Jitter))
	early = d.below(total)
	return early, total - early
}

// SetLatency changes the latency of the calls that begin from now on.
func (s *Simulator) SetLatency(l Latency) error {
	if err := l.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = l
	return nil
}

func (s *Simulator) currentLatency() Latency {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.latency
}
