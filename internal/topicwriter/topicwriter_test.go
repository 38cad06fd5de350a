package topicwriter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/topicreader"
	"github.com/closeorder/closeorder/internal/topicwriter"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func start(t *testing.T, topics ...broker.Topic) (*broker.Broker, *kafka.Client) {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{MetadataTTL: time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, &kafka.Client{Addr: kafka.TCP(b.Addr()), Timeout: 30 * time.Second, Transport: transport}
}

func TestEveryRecordLandsWhereItSaysAndJavaWouldLookForIt(t *testing.T) {
	_, client := start(t, broker.Topic{Name: "t", Partitions: 5})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var messages []events.Message
	for i := range 3000 {
		messages = append(messages, events.Message{
			Key: fmt.Appendf(nil, "order-%d", i%97), Value: fmt.Appendf(nil, "%d", i),
			Headers: []events.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
		})
	}
	messages = append(messages, events.Message{Value: []byte("no key")}, events.Message{Key: []byte("tombstone")})
	var acknowledged atomic.Int64
	w := topicwriter.Writer{Client: client, OnWritten: func(n int) { acknowledged.Add(int64(n)) }}
	landed, err := w.Write(ctx, "t", messages)
	if err != nil {
		t.Fatal(err)
	}
	if n := acknowledged.Load(); n != int64(len(messages)) {
		t.Errorf("%d were told as acknowledged, want %d", n, len(messages))
	}

	there := map[events.Source]topicreader.Record{}
	r := topicreader.Reader{Client: client}
	from, _ := r.First(ctx, "t")
	to, err := r.End(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(ctx, "t", from, to, func(rec topicreader.Record) error {
		there[rec.Source()] = rec
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(there) != len(messages) {
		t.Fatalf("%d records are in the topic, want %d", len(there), len(messages))
	}
	last := map[string]int64{}
	for i, m := range messages {
		rec, ok := there[landed[i]]
		if !ok || !bytes.Equal(rec.Value, m.Value) || !bytes.Equal(rec.Key, m.Key) || (rec.Value == nil) != (m.Value == nil) {
			t.Fatalf("message %d is not at %+v", i, landed[i])
		}
		if len(rec.Headers) != len(m.Headers) {
			t.Fatalf("message %d has headers %v", i, rec.Headers)
		}
		if at, seen := last[string(m.Key)]; seen && m.Key != nil && rec.Offset <= at {
			t.Fatalf("message %d of key %s lies before an earlier one", i, m.Key)
		}
		last[string(m.Key)] = rec.Offset
		if m.Key != nil {
			if want := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: m.Key}, 0, 1, 2, 3, 4); rec.Partition != want {
				t.Fatalf("key %s is in partition %d, Java would say %d", m.Key, rec.Partition, want)
			}
		}
	}
}

func TestWhatTheBrokerNeverTakesIsNamed(t *testing.T) {
	_, client := start(t, broker.Topic{Name: "t", Partitions: 1, Configs: map[string]string{"max.message.bytes": "1000"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := topicwriter.Writer{Client: client}

	small := events.Message{Key: []byte("k"), Value: make([]byte, 300)}
	if _, err := w.Write(ctx, "t", []events.Message{small, small, small, small, small, small}); err != nil {
		t.Errorf("a batch that is too large is not split: %v", err)
	}
	var large *topicwriter.TooLargeError
	if _, err := w.Write(ctx, "t", []events.Message{small, {Key: []byte("k"), Value: make([]byte, 2000)}}); !errors.As(err, &large) || large.Index != 1 {
		t.Errorf("a record that is too large gives %v", err)
	}
	var missing *topicwriter.MissingTopicError
	if _, err := w.Write(ctx, "nowhere", []events.Message{small}); !errors.As(err, &missing) {
		t.Errorf("a missing topic gives %v", err)
	}
}

func TestATroubledBrokerIsTriedAgain(t *testing.T) {
	b, client := start(t, broker.Topic{Name: "t", Partitions: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	failures := 0
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		if failures++; failures > 2 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.NotLeaderForPartition.Code
				st.Partitions = append(st.Partitions, sp)
			}
			res.Topics = append(res.Topics, st)
		}
		return res, nil, true
	})
	retries := 0
	w := topicwriter.Writer{Client: client, OnRetry: func(string, int, error) { retries++ }}
	landed, err := w.Write(ctx, "t", []events.Message{{Key: []byte("k"), Value: []byte("v")}})
	if err != nil || retries != 2 || landed[0].Offset != 0 {
		t.Errorf("landed at %v after %d retries: %v", landed, retries, err)
	}
}
