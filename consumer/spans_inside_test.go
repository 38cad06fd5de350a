//go:build !race

package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
)

// untraced is all that the way of a request does about spans where there are none.
func untraced(s *tracing, r *request, d *decision, topics *Topics) {
	began := s.now()
	s.polled("requests", 0, began, nil)
	s.begin(r)
	_ = r.under(context.Background())
	s.sends(r, d, topics)
	_ = r.traceParent()
	sent(r.spanOf(anOutcome), nil)
	r.done(nil)
	s.committed(began, nil)
}

func TestWithoutATracerNothingIsMade(t *testing.T) {
	r, d, topics := &request{partition: newPartition(t.Context(), topicPartition{"requests", 0}), req: events.Request{TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, &decision{next: conclude}, &Topics{}
	if n := testing.AllocsPerRun(100, func() { untraced(nil, r, d, topics) }); n != 0 {
		t.Errorf("%v allocations for each request", n)
	}
	if newTracing(&Config{}) != nil || r.traced != nil || r.traceParent() != r.req.TraceParent {
		t.Error("something is traced")
	}
}

// BenchmarkWithoutATracer is what tracing costs each request while it is off.
func BenchmarkWithoutATracer(b *testing.B) {
	r, d, topics := &request{partition: newPartition(b.Context(), topicPartition{"requests", 0}), time: time.Now()}, &decision{next: conclude}, &Topics{}
	for b.Loop() {
		untraced(nil, r, d, topics)
	}
}
