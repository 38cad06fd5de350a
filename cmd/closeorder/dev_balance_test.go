package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTheBalanceFindsWhatIsWrong plants holes and contradictions in the topics.
// The orders are T0, T1 and T2, each in the partition of its number.
func TestTheBalanceFindsWhatIsWrong(t *testing.T) {
	now, topics := time.Now(), config.Default().Topics
	place := func(i int) events.Source {
		return events.Source{Topic: topics.Requests, Partition: i % 3, Offset: 1 + int64(i)/3*1000} // the first of each partition is of an earlier start
	}
	answer := func(i int, r events.Result, id string) events.Message {
		o := events.NewOutcome(events.Request{MchID: "1", OutTradeNo: fmt.Sprint("T", i%3), RequestID: "r"}, nil, place(i))
		o.Result, o.Code, o.CompletedAt = r, "CODE", now
		if id != "" {
			o.ID = id
		}
		m, err := events.EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// older is a record that no run of this test has written.
	const older = 3
	dead := func(i int) events.Message {
		return records.EncodeDeadLetter(records.DeadLetter{Original: events.Message{Value: []byte("x")}, ErrorCode: "CODE", FailedAt: now, Source: place(i)})
	}
	three := func(of ...events.Message) []events.Message {
		return append([]events.Message{answer(0, events.Closed, ""), answer(1, events.Paid, "")}, of...)
	}
	for _, tt := range []struct {
		what       string
		outcomes   []events.Message
		dead       []events.Message
		unfinished bool // T2, by the commit
		once       bool // exactly
		adds       bool
		says       string
	}{
		{what: "each request has its outcome", outcomes: three(answer(2, events.Failed, "")), dead: []events.Message{dead(2)},
			adds: true, says: "3 = 1 closed + 1 paid + 1 failed\n"},
		{what: "a repeat with the same id is no second answer", outcomes: three(answer(2, events.Closed, ""), answer(2, events.Closed, "")),
			adds: true, says: "3 = 2 closed + 1 paid + 0 failed\n"},
		{what: "a repeat where each is to be answered once", outcomes: three(answer(2, events.Closed, ""), answer(2, events.Closed, "")), once: true,
			says: "  repeated           1  outcomes that came again, with the same id\n\n3 = 2 closed + 1 paid + 0 failed\n"},
		{what: "that there is none is said then", outcomes: three(answer(2, events.Closed, "")), once: true,
			adds: true, says: "  repeated           0  outcomes that came again, with the same id\n"},
		{what: "a hole", outcomes: three(), says: "3 = 1 closed + 1 paid + 0 failed + 1 hole\n"},
		{what: "a request that is not finished yet", outcomes: three(), unfinished: true, says: "3 = 1 closed + 1 paid + 0 failed + 1 waiting\n"},
		{what: "two answers", outcomes: three(answer(2, events.Closed, ""), answer(2, events.Paid, "other")), says: "  contradictions       1  orders that are both paid and closed\n"},
		{what: "the same id with another result, of which the first counts", outcomes: three(answer(2, events.Closed, ""), answer(2, events.Failed, "")),
			adds: true, says: "  that differ        1  outcomes that came again and say something else; the first counts\n\n3 = 2 closed + 1 paid + 0 failed\n"},
		{what: "a dead letter of an order that was closed after all", outcomes: three(answer(2, events.Closed, "")), dead: []events.Message{dead(2)},
			adds: true, says: "  dead letters       1  1 of requests that were answered after all\n"},
		{what: "a dead letter without an outcome", outcomes: three(), dead: []events.Message{dead(2)},
			says: "  dead letters       1  1 without an outcome: holes\n"},
		{what: "what was asked for before is told apart", outcomes: three(answer(2, events.Closed, ""), answer(older, events.Failed, "")), dead: []events.Message{dead(older)},
			adds: true, says: "  dead letters       0  each with its failed outcome\n  earlier            1  outcomes of requests from before this start; they are not in the sum\n\n3 = 2 closed + 1 paid + 0 failed\n"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b, err := broker.Start(broker.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			cfg := config.Default()
			cfg.Kafka.Brokers = []string{b.Addr()}
			if tt.once {
				cfg.ProcessingGuarantee = config.ExactlyOnce
			}
			a := &app{stdout: newStream(), stderr: newStream()}
			c, err := a.cluster(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			ctx := t.Context()
			write := func(topic string, messages ...events.Message) {
				t.Helper()
				if _, err := c.writer().Write(ctx, topic, messages, []int{0, 1, 2, 2}[:len(messages)]...); err != nil {
					t.Fatal(err)
				}
			}
			var requests []events.Message
			for i := range 3 {
				requests = append(requests, events.Message{Value: fmt.Appendf(nil, `{"mch_id":"1","out_trade_no":"T%d","request_id":"r"}`, i)})
			}
			write(topics.Requests, requests...)
			began := map[string]kafka.Offsets{}
			for _, topic := range topics.All() {
				if began[topic], err = c.reader().End(ctx, topic); err != nil {
					t.Fatal(err)
				}
			}
			write(topics.Requests, requests...)
			write(topics.Outcomes, tt.outcomes...)
			write(topics.DeadLetters, tt.dead...)
			commit(t, b, cfg, tt.unfinished)
			got, err := takeBalance(ctx, c, began)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			got.print(&text, false)
			if got.adds(true) != tt.adds || !strings.Contains(text.String(), tt.says) {
				t.Errorf("adds up: %v\n%s", got.adds(true), text.String())
			}
		})
	}
}

// commit says for the workers that they have finished what stands in three
// partitions, or what stands in the last but for its last record.
func commit(t *testing.T, b *broker.Broker, cfg config.Config, unfinished bool) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all kadm.Offsets
	for partition := range int32(3) {
		o := kadm.Offset{Topic: cfg.Topics.Requests, Partition: partition, At: 2, LeaderEpoch: -1}
		if unfinished && partition == 2 {
			o.At = 1
		}
		all.Add(o)
	}
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), cfg.Kafka.Group, all); err != nil {
		t.Fatal(err)
	}
}
