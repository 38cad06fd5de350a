package deadletters_test

import (
	"fmt"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
)

// A replay stands where the order service has put its request, or it would be
// served beside the next request of its order.
func TestAReplayGoesToThePartitionThatItsRequestCameFrom(t *testing.T) {
	byKey := func(m events.Message) int { return kafka.PartitionOf(m.Key, 2) }
	keyless := events.Message{Value: []byte(`{"mch_id":"1","out_trade_no":"N"}`)}
	for i, c := range []struct {
		sentence string
		m        events.Message
		from     events.Source
		planned  int
		lands    int
	}{
		{"its key belongs there", message("A", 0), events.Source{Topic: "requests", Partition: byKey(message("A", 0))}, byKey(message("A", 0)), byKey(message("A", 0))},
		{"its producer has another partitioner", message("A", 0), events.Source{Topic: "requests", Partition: 1 - byKey(message("A", 0))}, 1 - byKey(message("A", 0)), 1 - byKey(message("A", 0))},
		{"it has no key, and partition 0", keyless, events.Source{Topic: "requests", Partition: 0}, 0, 0},
		{"it has no key, and partition 1", keyless, events.Source{Topic: "requests", Partition: 1}, 1, 1},
		{"its key is empty", events.Message{Key: []byte{}, Value: keyless.Value}, events.Source{Topic: "requests", Partition: 1}, 1, 1},
		{"the partition is no more: the key decides", message("B", 0), events.Source{Topic: "requests", Partition: 7}, kafka.ByKey, byKey(message("B", 0))},
		{"it came from another topic: the key decides", message("C", 0), events.Source{Topic: "requests.old", Partition: 1 - byKey(message("C", 0))}, kafka.ByKey, byKey(message("C", 0))},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			p := plant(t)
			c.from.Offset = int64(i)
			p.dies(c.m, c.from, events.CodeUnknownMerchant)
			plan := p.plan()
			if len(plan.Steps) != 1 || plan.Steps[0].To != c.planned {
				t.Fatalf("planned: %+v", plan.Steps)
			}
			landed := -1
			s := p.sending()
			s.OnSent = func(_ deadletters.Step, at events.Source) { landed = at.Partition }
			if err := s.Send(p.ctx, plan); err != nil || landed != c.lands {
				t.Errorf("landed in partition %d, want %d (%v)", landed, c.lands, err)
			}
		})
	}
}

func TestAPlanOutlivesThePartitionsOfItsTopic(t *testing.T) {
	p := plant(t)
	for i := range 4 {
		m := message(fmt.Sprint("T", i), 0)
		p.dies(m, events.Source{Topic: "requests", Partition: 1, Offset: int64(i)}, events.CodeUnknownMerchant)
	}
	plan := p.plan()
	admin := kadm.NewClient(p.producer)
	if _, err := admin.DeleteTopics(p.ctx, "requests"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(p.ctx, 1, 1, nil, "requests"); err != nil {
		t.Fatal(err)
	}
	sent := 0
	s := p.sending()
	s.OnSent = func(_ deadletters.Step, at events.Source) {
		if at.Partition == 0 {
			sent++
		}
	}
	if err := s.Send(p.ctx, plan); err != nil || sent != 4 {
		t.Errorf("%d were sent to the one partition there is (%v)", sent, err)
	}
}
