package index_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestATopicThatWasMadeAnewAndHasGrown is one that ends behind what was indexed of the
// one before it, so that its end shows nothing.
func TestATopicThatWasMadeAnewAndHasGrown(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	x := s.opened(dir)
	for i := range 3 {
		m, at := s.asks(0, order(fmt.Sprint("OLD", i), "19", ""))
		s.answers(m, at, events.Closed)
	}
	turn(t, x)
	s.closes(x)
	x = s.opened(dir)
	turn(t, x) // the same log: nothing is lost
	if p, err := x.Progress(t.Context()); err != nil || p.Requests != 3 || p.Read != 0 {
		t.Errorf("opened again: %+v, %v", p, err)
	}
	s.closes(x)
	admin := kadm.NewClient(s.producer)
	for _, topic := range topics.All() {
		if _, err := admin.DeleteTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CreateTopic(t.Context(), int32(partitions[topic]), 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	s.produces()
	s.now = s.now.Add(time.Hour)
	for i := range 6 {
		m, at := s.asks(0, order(fmt.Sprint("NEW", i), "19", ""))
		s.answers(m, at, events.Failed)
	}
	x = s.opened(dir)
	if err := x.Turn(t.Context()); err != nil { // which begins anew
		t.Log(err)
	}
	turn(t, x)
	fresh := s.opened("")
	turn(t, fresh)
	same(t, "what is indexed", dumped(t, x), dumped(t, fresh))
	for _, number := range []string{"OLD0", "OLD2"} {
		if found, err := x.Search(t.Context(), number, 10); err != nil || len(found) > 0 {
			t.Errorf("%s is still found: %+v, %v", number, found, err)
		}
	}
}
