package consumer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

const (
	// lookEvery is how often the pipeline is looked at for whether it goes on.
	lookEvery = 5 * time.Second
	// patience is how long nothing may go on, although something could and nobody
	// says why, before a worker counts as stuck. With lookEvery that is less than
	// a minute.
	patience = 45 * time.Second
	// unwell is for how long publishing may fail until a worker is not ready: a
	// leader that moves takes less.
	unwell = 10 * time.Second
)

// health watches whether a worker makes progress. It goes by what it sees every
// few seconds: from one look alone nobody can tell a pipe that is stuck from one
// that was idle until now. It is safe for concurrent use.
//
// What it knows as stuck:
//
//	a turn that has its call slot for longer than calls, or a probe, may take
//	something is ready, nothing is under way, and the gateway may be called
//	a partition of which nothing is open, and nothing is fetched, not even nothing
//	decisions that nobody publishes, and offsets that nobody commits
//
// and each of it only while nobody gives a reason. Reasons are never a cause to
// kill a worker: the next one would have them too.
type health struct {
	turn time.Duration // how long one may have its call slot, see Config.LongestTurn

	mu     sync.Mutex
	since  map[string]time.Time // when each symptom that is there now was seen first
	heard  map[topicPartition]time.Time
	before uint64    // progress at the last look
	last   time.Time // when that was
	stuck  []string
}

func newHealth(turn time.Duration) *health {
	return &health{turn: max(turn, patience), since: make(map[string]time.Time), heard: make(map[topicPartition]time.Time)}
}

// watchHealth looks at the worker every few seconds until ctx ends.
func (w *Worker) watchHealth(ctx context.Context) {
	var told kafka.Told
	for kafka.Sleep(ctx, lookEvery) == nil {
		s := State{At: time.Now()}
		w.look(&s)
		if stuck := w.health.sample(&s); len(stuck) > 0 {
			err := fmt.Errorf("%s", strings.Join(stuck, "; "))
			if told.Due("", err) {
				w.cfg.Log.WithError(err).Error("ALARM: this worker is stuck: kill it, its requests are served by the next one; keep its goroutines (SIGQUIT prints them)")
			}
		}
	}
}

// sample takes one look, and returns what is stuck.
func (h *health) sample(s *State) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	moved := s.progress != h.before
	h.before = s.progress
	if s.At.Sub(h.last) > 3*lookEvery { // it was stopped, or suspended, and nothing could go on
		clear(h.since)
	}
	h.last = s.At
	seen := make(map[string]time.Time)
	h.stuck = nil
	// lasts is for how long a symptom is there.
	lasts := func(name string) time.Duration {
		since, was := h.since[name]
		if !was {
			since = s.At
		}
		seen[name] = since
		return s.At.Sub(since)
	}
	// symptom is one that must last.
	symptom := func(name, text string) {
		if lasts := lasts(name); lasts >= patience {
			h.stuck = append(h.stuck, fmt.Sprintf("for %v %s", lasts.Round(time.Second), text))
		}
	}
	// Its calls time out as soon as they can after a process was stopped: not before.
	if turn := s.Lanes.LongestTurn; turn > h.turn && lasts("turn") > 0 {
		h.stuck = append(h.stuck, fmt.Sprintf("the turn of order %s of merchant %s goes on for %v, and none may take longer than %v",
			s.Lanes.LongestOf.OutTradeNo, s.Lanes.LongestOf.MchID, turn.Round(time.Second), h.turn))
	}
	well := s.Member.Joined && !moved
	if well && s.Lanes.Ready > 0 && s.Lanes.InFlight+s.Lanes.Resting == 0 && !s.Lanes.Full && s.Breaker.State == "closed" {
		symptom("lanes", fmt.Sprintf("%d orders could be served, and nothing is under way", s.Lanes.Ready))
	}
	if well && s.Lanes.Unpublished > 0 && s.Publishing.UnderWay == 0 && s.Publishing.Failing.IsZero() && !s.Publishing.Blocked {
		symptom("publishing", fmt.Sprintf("%d decisions wait to be published, and nobody does", s.Lanes.Unpublished))
	}
	if well && !s.Committing.Pending.IsZero() && s.Committing.Failing.IsZero() && s.Publishing.Failing.IsZero() && !s.Publishing.Blocked {
		symptom("committing", "finished offsets wait to be committed, and nobody does")
	}
	heard := make(map[topicPartition]time.Time, len(s.Partitions))
	for _, p := range s.Partitions {
		at := topicPartition{p.Topic, p.Partition}
		heard[at] = p.Heard
		if before, was := h.heard[at]; was && before.Equal(p.Heard) && s.Member.Joined && p.Open == 0 && !p.Draining && p.FetchError == "" && p.Stopped == "" && s.Throttled < lookEvery {
			symptom("fetching "+p.Topic+" "+fmt.Sprint(p.Partition), fmt.Sprintf("nothing was fetched of %s[%d], not even that there is nothing", p.Topic, p.Partition))
		}
	}
	h.since, h.heard = seen, heard
	return h.stuck
}

// of judges s, whose Health is not set yet.
func (h *health) of(s *State, stopping bool) Health {
	h.mu.Lock()
	stuck := append([]string(nil), h.stuck...)
	h.mu.Unlock()
	is := Health{Live: len(stuck) == 0, Stuck: stuck}
	not := func(format string, args ...any) { is.NotReady = append(is.NotReady, fmt.Sprintf(format, args...)) }
	wait := func(format string, args ...any) { is.Waits = append(is.Waits, fmt.Sprintf(format, args...)) }
	ago := func(t time.Time) time.Duration { return max(s.At.Sub(t).Round(time.Second), 0) }
	switch {
	case stopping:
		not("the worker stops: calls in flight get their time")
	case !s.Member.Joined && s.Member.Trouble != "":
		not("no member of group %s: %s", s.Group, s.Member.Trouble)
	case !s.Member.Joined:
		not("no member of group %s yet", s.Group)
	}
	if p := s.Publishing; !p.Failing.IsZero() {
		text := fmt.Sprintf("Kafka has acknowledged nothing for %v: %s", ago(p.Failing), p.Error)
		wait("%s", text)
		if s.At.Sub(p.Failing) > unwell {
			not("%s", text)
		}
	}
	if s.Publishing.Blocked {
		wait("requests are set aside whose partitions cannot be written, or whose offsets cannot be committed")
	}
	if s.Breaker.State != "closed" && s.Breaker.State != "" {
		wait("the gateway has not answered for %v: calls are held, requests keep their place", ago(s.Breaker.Since))
	}
	if n := len(s.Holds); n > 0 {
		first := s.Holds[0]
		if n == 1 {
			wait("merchant %s is held for %v: %s", first.MchID, ago(first.Since), first.Why)
		} else {
			wait("%d merchants, or parts of them, are held, the first one, %s, for %v: %s", n, first.MchID, ago(first.Since), first.Why)
		}
	}
	if c := s.Committing; !c.Failing.IsZero() {
		wait("offsets cannot be committed for %v: %s", ago(c.Failing), c.Error)
	}
	fetching := 0
	for _, p := range s.Partitions {
		if p.Stopped != "" {
			wait("%s[%d] is stopped: %s", p.Topic, p.Partition, p.Stopped)
		}
		if p.FetchError != "" {
			if fetching++; fetching == 1 {
				wait("%s[%d] cannot be fetched: %s", p.Topic, p.Partition, p.FetchError)
			}
		}
	}
	if fetching > 1 {
		wait("%d more partitions cannot be fetched", fetching-1)
	}
	if n := s.Publishing.Refused; n > 0 {
		wait("%d records are not taken by their topics", n)
	}
	if s.Throttled >= lookEvery {
		wait("a broker's quotas hold this worker back by %v", s.Throttled)
	}
	is.Ready = len(is.NotReady) == 0
	return is
}

// dueNow says which count of what is due is believed. A gateway that falls silent is
// known as silent only when calls have timed out, tens of seconds later, and what
// came meanwhile looks like work for more workers: scaled on that, an outage would
// begin with new workers, and each of them would take partitions with a backlog. So
// a count is believed while answers come, and proven by the first one after it. In
// silence the last proven count stands, whatever comes in or moves: what a worker
// was given since then counts when it has had an answer, here and nowhere twice,
// and what it gave away still counts where it was counted. A worker that was never
// answered says 0, and so does one with nothing to do. It is safe for concurrent
// use.
type dueNow struct {
	mu     sync.Mutex
	at     time.Time // of the last count that was believed, which is
	count  int64
	proven int64 // the last one before which and after which there was an answer
}

// of returns what is due by a count at a moment; lastAnswer is when the gateway has
// answered last, and serves says that nothing else is known to hold all up.
func (d *dueNow) of(now time.Time, count int64, lastAnswer time.Time, serves bool) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if lastAnswer.After(d.at) {
		d.proven = d.count
	}
	switch {
	case count <= 0:
		d.at, d.count, d.proven = now, 0, 0
	case serves && now.Sub(lastAnswer) <= silence:
		d.at, d.count = now, count
	default:
		return d.proven
	}
	return d.count
}
