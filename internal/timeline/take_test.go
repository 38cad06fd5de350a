package timeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestWhatCanBeReadIsReadAndTheRestIsSaid is about one request, of noon, where some
// client puts it.
func TestWhatCanBeReadIsReadAndTheRestIsSaid(t *testing.T) {
	const count = 12
	topics := config.Default().Topics
	topics.RetryDelays = []time.Duration{10 * time.Second}
	likely := consumer.PartitionsOf([]byte("T1"), count)
	elsewhere := 0
	for slices.Contains(likely, elsewhere) {
		elsewhere++
	}
	for what, tt := range map[string]struct {
		partition   int
		missing     string
		scope       timeline.Scope
		state       timeline.State // empty: never seen
		read        int            // partitions of the requests
		note, fails string
	}{
		"where Java's clients put it":          {partition: likely[0], state: timeline.InFlight, read: len(likely)},
		"where librdkafka puts it":             {partition: likely[1], state: timeline.InFlight, read: len(likely)},
		"where no client puts it":              {partition: elsewhere, state: timeline.InFlight, read: count},
		"all is asked for":                     {partition: likely[0], scope: timeline.Scope{All: true}, state: timeline.InFlight, read: count},
		"after the time that is asked for":     {partition: likely[0], scope: timeline.Scope{Until: noon}, read: count},
		"before the time that is asked for":    {partition: likely[0], scope: timeline.Scope{Since: noon.Add(time.Millisecond)}, read: count},
		"in the time that is asked for":        {partition: likely[0], scope: timeline.Scope{Since: noon, Until: noon.Add(time.Millisecond)}, state: timeline.InFlight, read: len(likely)},
		"another number":                       {partition: likely[0], scope: timeline.Scope{OutTradeNo: "T"}, read: count},
		"another merchant":                     {partition: likely[0], scope: timeline.Scope{MchID: "2"}, read: len(likely), note: "merchant 1 has an order of that number too"},
		"its merchant":                         {partition: likely[0], scope: timeline.Scope{MchID: "1"}, state: timeline.InFlight, read: len(likely)},
		"no group has committed anything":      {partition: likely[0], state: timeline.InFlight, read: len(likely), note: "--kafka-group"},
		"a topic that workers write is absent": {partition: likely[0], missing: topics.Outcomes, state: timeline.InFlight, read: len(likely), note: "topic closeorder.outcomes does not exist"},
		"the requests topic is absent":         {missing: topics.Requests, fails: "topic closeorder.requests does not exist"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel() // one waits until a topic is known to be missing
			var made []broker.Topic
			for _, topic := range topics.All() {
				if topic != tt.missing {
					made = append(made, broker.Topic{Name: topic, Partitions: count})
				}
			}
			br, err := broker.Start(broker.Config{Topics: made})
			if err != nil {
				t.Fatal(err)
			}
			defer br.Close()
			if tt.fails == "" {
				put(t, br.Addr(), topics.Requests, tt.partition)
			}
			client := kafka.Open(kafka.Config{Brokers: []string{br.Addr()}}, topics.All()...)
			defer client.Close()
			scope := tt.scope
			scope.Reader, scope.Topics, scope.Group = &kafka.Reader{Client: client}, topics, "closeorder"
			if scope.OutTradeNo == "" {
				scope.OutTradeNo = "T1"
			}
			taken, err := timeline.Take(t.Context(), scope)
			if tt.fails != "" {
				if _, is := errors.AsType[*kafka.MissingTopicsError](err); !is || !strings.Contains(err.Error(), tt.fails) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var total, read int
			r, err := taken.Find(t.Context(), timeline.Options{OnTotal: func(n int64) { total += int(n) }, OnRead: func(n int) { read += n }})
			if err != nil {
				t.Fatal(err)
			}
			state := timeline.State("")
			if len(r.Lives) > 0 {
				state = r.Lives[0].State
			}
			if state != tt.state || len(r.Read[0].Partitions) != tt.read || r.All && tt.read < count {
				t.Errorf("%+v", *r)
			}
			if notes := fmt.Sprint(r.Notes); !strings.Contains(notes, tt.note) {
				t.Errorf("notes %s", notes)
			}
			if read > 1 || total > 1 {
				t.Errorf("%d of %d records of one were read", read, total)
			}
		})
	}
}

func put(t *testing.T, addr, topic string, partition int) {
	t.Helper()
	m, err := events.EncodeRequest(events.Request{MchID: "1", OutTradeNo: "T1"}, "/shops/1", noon)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(partition), Key: m.Key, Value: m.Value, Timestamp: noon}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
