package admin

import (
	"context"
	"errors"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
)

// errStuck is what is known of a worker that does not say what it does.
var errStuck = errors.New("the state of the worker cannot be read: it is stuck")

// question is one asking of the worker. All who ask meanwhile wait for the same
// answer: a worker that is stuck holds one goroutine, however often it is probed.
type question struct {
	began time.Time
	done  chan struct{} // closed with the answer
	state consumer.State
	hosts []closer.HostHealth
}

// ask returns what the worker does, errStuck where it does not say within
// answerWithin, or the error of ctx.
func (s *Server) ask(ctx context.Context) (*question, error) {
	s.mu.Lock()
	q := s.asking
	if q == nil {
		q = &question{began: time.Now(), done: make(chan struct{})}
		s.asking = q
		go func() {
			q.state, q.hosts = s.cfg.State(), s.cfg.Hosts()
			s.mu.Lock()
			s.asking = nil
			s.mu.Unlock()
			close(q.done)
		}()
	}
	s.mu.Unlock()
	late := time.NewTimer(time.Until(q.began.Add(answerWithin)))
	defer late.Stop()
	select {
	case <-q.done:
		return q, nil
	case <-late.C:
		return nil, errStuck
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
