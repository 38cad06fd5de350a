package main

import (
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/topicreader"
)

// TestTheBalanceFindsWhatIsWrong plants holes and contradictions in the topics.
func TestTheBalanceFindsWhatIsWrong(t *testing.T) {
	now := time.Now()
	answer := func(at events.Source, r events.Result, id string) events.Message {
		o := events.NewOutcome(events.Request{MchID: "1", OutTradeNo: "T", RequestID: "r"}, nil, at)
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
	older := events.Source{Topic: config.Default().Topics.Requests, Partition: 0, Offset: 1000}
	dead := func(at events.Source) events.Message {
		return records.EncodeDeadLetter(records.DeadLetter{Original: events.Message{Value: []byte("x")}, ErrorCode: "CODE", FailedAt: now, Source: at})
	}
	for _, tt := range []struct {
		what     string
		outcomes func(at []events.Source) []events.Message
		dead     func(at []events.Source) []events.Message
		adds     bool
		says     string
	}{
		{"each request has its outcome",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, ""), answer(at[2], events.Failed, "")}
			},
			func(at []events.Source) []events.Message { return []events.Message{dead(at[2])} },
			true, "3 = 1 closed + 1 paid + 1 failed\n"},
		{"a repeat with the same id is no second answer",
			func(at []events.Source) []events.Message {
				a := answer(at[0], events.Closed, "")
				return []events.Message{a, a, answer(at[1], events.Paid, ""), answer(at[2], events.Closed, "")}
			}, nil, true, "3 = 2 closed + 1 paid + 0 failed\n"},
		{"a hole",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, "")}
			}, nil, false, "3 = 1 closed + 1 paid + 0 failed + 1 waiting\n"},
		{"two answers",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, ""), answer(at[2], events.Closed, ""), answer(at[2], events.Paid, "other")}
			}, nil, false, "contradictions"},
		{"the same id with another result",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, ""), answer(at[2], events.Closed, ""), answer(at[2], events.Failed, "")}
			}, nil, false, "contradictions"},
		{"a dead letter of a closed order",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, ""), answer(at[2], events.Closed, "")}
			},
			func(at []events.Source) []events.Message { return []events.Message{dead(at[2])} },
			false, "contradictions"},
		{"what was asked for before is told apart",
			func(at []events.Source) []events.Message {
				return []events.Message{answer(at[0], events.Closed, ""), answer(at[1], events.Paid, ""), answer(at[2], events.Closed, ""), answer(older, events.Failed, "")}
			},
			func([]events.Source) []events.Message { return []events.Message{dead(older)} },
			true, "  dead letters       0  each with its failed outcome\n  earlier            1  outcomes of requests from before this start; they are not in the sum\n\n3 = 2 closed + 1 paid + 0 failed\n"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b, err := broker.Start(broker.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			cfg := config.Default()
			cfg.Kafka.Brokers = []string{b.Addr()}
			a := &app{stdout: newStream(), stderr: newStream()}
			c, err := a.cluster(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			w, r, ctx := c.writer(), c.reader(), t.Context()
			began := map[string]topicreader.Offsets{}
			for _, topic := range cfg.Topics.All()[:3] {
				if began[topic], err = r.End(ctx, topic); err != nil {
					t.Fatal(err)
				}
			}
			write := func(topic string, messages []events.Message) []events.Source {
				t.Helper()
				results, err := w.Write(ctx, topic, messages)
				if err != nil {
					t.Fatal(err)
				}
				var at []events.Source
				for _, r := range results {
					at = append(at, r.At)
				}
				return at
			}
			at := write(cfg.Topics.Requests, []events.Message{{Value: []byte("1")}, {Value: []byte("2")}, {Value: []byte("3")}})
			write(cfg.Topics.Outcomes, tt.outcomes(at))
			if tt.dead != nil {
				write(cfg.Topics.DeadLetters, tt.dead(at))
			}
			got, err := readBalance(ctx, r, cfg.Topics, began)
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
