package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestEveryRecordLandsWhereItSaysAndJavaWouldLookForIt(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 5})
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
	w := kafka.Writer{Client: client, OnWritten: func(n int) { acknowledged.Add(int64(n)) }}
	landed, err := w.Write(ctx, "t", messages)
	if err != nil {
		t.Fatal(err)
	}
	if n := acknowledged.Load(); n != int64(len(messages)) {
		t.Errorf("%d were told as acknowledged, want %d", n, len(messages))
	}

	there := map[events.Source]kafka.Record{}
	r := kafka.Reader{Client: client}
	from, _ := r.First(ctx, "t")
	to, err := r.End(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(ctx, "t", from, to, func(rec kafka.Record) error {
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
		rec, ok := there[landed[i].At]
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
			if want := kafka.PartitionOf(m.Key, 5); rec.Partition != want {
				t.Fatalf("key %s is in partition %d, Java would say %d", m.Key, rec.Partition, want)
			}
		}
	}
}

func TestAMessageGoesWhereItIsSentWhileThatIsThere(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 3})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key := []byte("order-1")
	home := kafka.PartitionOf(key, 3)
	var messages []events.Message
	to, want := []int{}, []int{}
	for i := range 9 {
		messages = append(messages, events.Message{Key: key, Value: fmt.Append(nil, i)})
		to, want = append(to, i%3), append(want, i%3)
	}
	for _, gone := range []int{kafka.ByKey, 3, 1 << 30, -7} {
		messages = append(messages, events.Message{Key: key})
		to, want = append(to, gone), append(want, home)
	}
	w := kafka.Writer{Client: client}
	results, err := w.Write(ctx, "t", messages, to...)
	if err != nil {
		t.Fatal(err)
	}
	last := map[int]int64{0: -1, 1: -1, 2: -1}
	for i, r := range results {
		if r.At.Partition != want[i] || r.At.Offset != last[want[i]]+1 {
			t.Errorf("message %d to %d is at %+v, behind offset %d", i, to[i], r.At, last[want[i]])
		}
		last[r.At.Partition] = r.At.Offset
	}
}

func TestWhatTheBrokerNeverTakesIsNamed(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 1, Configs: map[string]string{"max.message.bytes": "1000"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := kafka.Writer{Client: client}

	small := events.Message{Key: []byte("k"), Value: make([]byte, 300)}
	if _, err := w.Write(ctx, "t", []events.Message{small, small, small, small, small, small}); err != nil {
		t.Errorf("a batch that is too large is not split: %v", err)
	}
	var missing *kafka.MissingTopicsError
	if _, err := w.Write(ctx, "nowhere", []events.Message{small}); !errors.As(err, &missing) {
		t.Errorf("a missing topic gives %v", err)
	}
}

// None of them may hold up the others, in its partition or in another one.
func TestWhatTheBrokerRefusesIsLeftOutAndAllElseIsWritten(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 3, Configs: map[string]string{"max.message.bytes": "1000"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var messages []events.Message
	large := map[int]bool{0: true, 7: true, 8: true, 40: true, 99: true}
	for i := range 100 {
		m := events.Message{Key: fmt.Appendf(nil, "k%d", i%10), Value: fmt.Appendf(nil, "%d", i)}
		if large[i] {
			m.Value = noise(2000)
		}
		messages = append(messages, m)
	}
	acknowledged := 0
	var mu sync.Mutex
	w := kafka.Writer{Client: client, OnWritten: func(n int) { mu.Lock(); acknowledged += n; mu.Unlock() }}
	results, err := w.Write(ctx, "t", messages)
	if err == nil || err != results[0].Err || err.Error() != "topic t takes no record of 2034 bytes; raise max.message.bytes of the topic, or make the record smaller" {
		t.Errorf("ended with %v", err)
	}
	r := kafka.Reader{Client: client}
	to, err := r.End(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	values := map[events.Source]string{}
	if err := r.Read(ctx, "t", kafka.Offsets{0: 0, 1: 0, 2: 0}, to, func(rec kafka.Record) error {
		values[rec.Source()] = string(rec.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(values) != 95 || acknowledged != 95 {
		t.Errorf("%d were written, %d told as acknowledged, want 95", len(values), acknowledged)
	}
	for i, res := range results {
		var refused *kafka.RefusedError
		switch {
		case errors.As(res.Err, &refused) != large[i] || large[i] && !refused.TooLarge():
			t.Errorf("message %d: %v", i, res.Err)
		case !large[i] && values[res.At] != string(messages[i].Value):
			t.Errorf("message %d is not at %+v", i, res.At)
		}
	}
}

// noise is what no compression makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestARecordThatFitsCompressedIsWritten(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 1, Configs: map[string]string{"max.message.bytes": "1000"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := kafka.Writer{Client: client}
	if results, err := w.Write(ctx, "t", []events.Message{{Value: []byte("a")}, {Value: make([]byte, 2000)}}); err != nil || results[1].At.Offset != 1 {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestARecordThatIsNotValidIsLeftOut(t *testing.T) {
	b, client := startBroker(t, broker.Topic{Name: "t", Partitions: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// A compacted topic of Apache Kafka answers like this to a batch with a
	// record that has no key.
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				if bytes.Contains(rp.Records, []byte("poison")) {
					return answer(req.(*kmsg.ProduceRequest), kerr.InvalidRecord.Code), nil, true
				}
			}
		}
		return nil, nil, false
	})
	w := kafka.Writer{Client: client}
	results, err := w.Write(ctx, "t", []events.Message{{Value: []byte("a")}, {Value: []byte("poison")}, {Value: []byte("b")}, {Value: []byte("c")}})
	var refused *kafka.RefusedError
	if !errors.As(err, &refused) || refused.TooLarge() || err != results[1].Err || results[3].At.Offset != 2 || results[0].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

// answer is the same error for every partition of a produce request.
func answer(req *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode = rp.Partition, code
			st.Partitions = append(st.Partitions, sp)
		}
		res.Topics = append(res.Topics, st)
	}
	return res
}

func TestATroubledBrokerIsTriedAgain(t *testing.T) {
	b, _ := startBroker(t, broker.Topic{Name: "t", Partitions: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	failures := 0
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		if failures++; failures > 2 {
			return nil, nil, false
		}
		return answer(req.(*kmsg.ProduceRequest), kerr.NotLeaderForPartition.Code), nil, true
	})
	retries := 0
	client := kafka.Open(kafka.Config{Brokers: b.Addrs(), OnRetry: func(string, int, error) { retries++ }})
	defer client.Close()
	w := kafka.Writer{Client: client}
	landed, err := w.Write(ctx, "t", []events.Message{{Key: []byte("k"), Value: []byte("v")}})
	if err != nil || retries != 2 || landed[0].At.Offset != 0 {
		t.Errorf("landed at %v after %d retries: %v", landed, retries, err)
	}
}
