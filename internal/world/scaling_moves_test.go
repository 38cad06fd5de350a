package world

import (
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// From one worker to four and back: in each second those partitions that stay where
// they are get at least nine tenths of the answers that they got before.
func TestWhatDoesNotMoveIsNotInterrupted(t *testing.T) {
	const (
		settle = 7 * time.Second
		rate   = 48
		// joins is how long a request may wait whose partition moves as a worker
		// joins: a heartbeat would take six times as long.
		joins = 400 * time.Millisecond
	)
	for sentence, c := range map[string]struct {
		static  bool
		session time.Duration
		path    []int // how many workers there are
	}{
		"dynamic ids": {false, 45 * time.Second, []int{1, 2, 3, 4, 3, 2, 1}},
		// A static member that leaves is expected back for a session.
		"static ids": {true, 10 * time.Second, []int{1, 2, 3, 4, 3}},
	} {
		t.Run(sentence, func(t *testing.T) {
			cfg := Config{
				Partitions: 8, Gateway: gatewaysim.Config{Latency: gatewaysim.Latency{Min: 50 * time.Millisecond, Max: 50 * time.Millisecond}},
				Tune: func(to *config.Config) { to.Kafka.SessionTimeout = c.session },
			}
			inVirtualTime(t, cfg, func(t *testing.T, s *stage) {
				var all []*Worker
				var steps []span
				took := 5 * time.Second
				for i := 1; i < len(c.path); i++ {
					if took += settle; c.static && c.path[i] < c.path[i-1] {
						took += c.session
					}
				}
				for i, n := range c.path {
					begun := time.Now()
					for len(all) < n {
						name := fmt.Sprintf("worker-%d", len(all))
						var tune func(*config.Config)
						if c.static {
							tune = static(name)
						}
						all = append(all, s.worker(name, tune))
					}
					if i == 0 {
						s.stays(5 * time.Second)
						s.publishes(orders("O", rate, took, ""))
						s.stays(5 * time.Second)
						continue
					}
					wait := settle
					for len(all) > n {
						last := all[len(all)-1]
						all = all[:len(all)-1]
						s.must(last.Stop())
						if c.static {
							wait += c.session
						}
					}
					s.stays(wait)
					steps = append(steps, span{begun, time.Now()})
				}
				s.answered(time.Minute)
				for i, step := range steps {
					if moved := s.uninterrupted(step); moved == 0 {
						t.Errorf("from %d to %d nothing has moved", c.path[i], c.path[i+1])
					}
					if slowest := s.slowest(step); c.path[i] < c.path[i+1] && slowest > joins {
						t.Errorf("from %d to %d a request waited for %v, want at most %v", c.path[i], c.path[i+1], slowest, joins)
					}
				}
				if report := s.check(nil); report.Duplicates > 0 {
					t.Errorf("%d repeated", report.Duplicates)
				}
			})
		})
	}
}

// uninterrupted checks in each second of a span what is answered of partitions that
// have one owner all through it, and says how many partitions have two.
func (s *stage) uninterrupted(in span) (moved int) {
	s.t.Helper()
	topic := s.Config.Topics.Requests
	stays := ownersAt(s.generations.list(), topic, in.from)
	all := len(stays)
	for _, g := range s.generations.list() {
		for place, member := range g.Owners {
			if g.At.After(in.from) && g.At.Before(in.to) && stays[place] != nameOf(member) {
				delete(stays, place)
			}
		}
	}
	asked := make(map[events.Source]bool)
	seconds := int(in.to.Sub(in.from) / time.Second)
	published, answered := make([]int, seconds), make([]int, seconds)
	count := func(per []int, at time.Time) {
		if i := int(at.Sub(in.from) / time.Second); !at.Before(in.from) && i < seconds {
			per[i]++
		}
	}
	for _, r := range s.observer.Records(topic) {
		if stays[Place{r.Topic, r.Partition}] != "" {
			asked[r.Source()] = true
			count(published, r.At)
		}
	}
	for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
		if o, err := readOutcome(r); err == nil && asked[o.Source] {
			count(answered, r.At)
		}
	}
	for i := range seconds {
		if published[i] < 20 || 10*answered[i] < 9*published[i] {
			s.t.Errorf("of %d partitions that stay %d requests came in second %d and %d answers: want nine tenths (%v of %v)", len(stays), published[i], i, answered[i], answered, published)
			break
		}
	}
	return all - len(stays)
}
