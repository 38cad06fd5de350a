package consumer

import (
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// endings is a span that counts how often it is ended.
type endings struct {
	trace.Span
	ended int
}

func (e *endings) End(...trace.SpanEndOption) { e.ended++ }

// What a worker has in hand of a partition that is taken away is another's: its
// spans are over, and one request of it that is still in a goroutine's hand does
// not keep the others in memory.
func TestOfAPartitionThatIsTakenAwayNothingIsLeft(t *testing.T) {
	p := newPartition(t.Context(), topicPartition{"requests", 0})
	p.begin(0, nil)
	var all []*request
	var spans []*endings
	for offset := range int64(3) {
		r := &request{partition: p, offset: offset}
		if fresh, err := p.open(r); !fresh || err != nil {
			t.Fatal(fresh, err)
		}
		span := &endings{Span: noop.Span{}}
		r.traced = &traced{ctx: t.Context(), process: span}
		if offset < 2 {
			r.is(queued, nil)
		} // else it is being decoded
		all, spans = append(all, r), append(spans, span)
	}
	p.revoke(errReassigned)
	p.forget()
	for i, span := range spans {
		if want := map[bool]int{true: 1}[i < 2]; span.ended != want {
			t.Errorf("the span of %d was ended %d times, want %d", i, span.ended, want)
		}
	}
	for _, r := range all {
		if r.before != nil || r.behind != nil {
			t.Errorf("%d keeps its neighbours", r.offset)
		}
	}
	p.finish(all[1]) // it had been acknowledged a moment before
	if p.count != 0 || p.first != nil {
		t.Errorf("%d are open", p.count)
	}
}
