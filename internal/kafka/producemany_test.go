package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batchesFor is one batch of two messages for each of n partitions of topics.
func batchesFor(n int, topics ...string) (batches []kafka.Batch) {
	for _, topic := range topics {
		for p := range n {
			batches = append(batches, kafka.Batch{Topic: topic, Partition: p, Messages: []events.Message{
				{Key: []byte("k"), Value: fmt.Appendf(nil, "%s/%d", topic, p), Headers: []events.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
				{Value: []byte{}}, // no key, and no header of the one before
			}})
		}
	}
	return batches
}

func TestBatchesOfManyPartitionsGoInOneRequestForEachLeader(t *testing.T) {
	b, err := broker.Start(broker.Config{Brokers: 3, Topics: []broker.Topic{{Name: "t", Partitions: 24}, {Name: "u", Partitions: 24}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	defer client.Close()
	var mu sync.Mutex
	requests, partitions := 0, 0
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		mu.Lock()
		defer mu.Unlock()
		requests++
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			partitions += len(topic.Partitions)
		}
		return nil, nil, false
	})
	leaders, err := client.Leaders(t.Context(), "t", "u")
	if err != nil || len(leaders["t"]) != 24 || kafka.LeaderOf(leaders, "t", 24) != kafka.NoLeader || kafka.LeaderOf(leaders, "v", 0) != kafka.NoLeader {
		t.Fatalf("%v, %v", leaders, err)
	}
	batches := batchesFor(24, "t", "u")
	for round := range 2 {
		for i, done := range client.ProduceMany(t.Context(), batches) {
			if done.Err != nil || done.Base != int64(2*round) || done.Leader != kafka.LeaderOf(leaders, batches[i].Topic, batches[i].Partition) {
				t.Errorf("%s/%d: %+v", batches[i].Topic, batches[i].Partition, done)
			}
		}
	}
	if requests != 6 || partitions != 96 {
		t.Errorf("%d requests with %d batches, want one for each of 3 brokers, twice", requests, partitions)
	}
	r := kafka.Reader{Client: client}
	for _, want := range batches {
		n := 0
		err := r.Read(t.Context(), want.Topic, kafka.Offsets{want.Partition: 0}, kafka.Offsets{want.Partition: 4}, func(rec kafka.Record) error {
			m := want.Messages[n%2]
			same := func(x, y []byte) bool { return string(x) == string(y) && (x == nil) == (y == nil) }
			if !same(rec.Key, m.Key) || !same(rec.Value, m.Value) || !slices.EqualFunc(rec.Headers, m.Headers, func(x, y events.Header) bool { return x.Key == y.Key && same(x.Value, y.Value) }) {
				t.Errorf("%s/%d has %q %q %q, want %q", want.Topic, want.Partition, rec.Key, rec.Value, rec.Headers, m)
			}
			n++
			return nil
		})
		if err != nil || n != 4 {
			t.Errorf("%s/%d has %d records: %v", want.Topic, want.Partition, n, err)
		}
	}
}

// What a broker says of one partition is no matter of the others, and what it
// says of single messages is passed on.
func TestAnAnswerIsAboutItsPartition(t *testing.T) {
	b, client := startBroker(t, broker.Topic{Name: "t", Partitions: 4})
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := answer(req.(*kmsg.ProduceRequest), 0)
		says := func(i int, code int16) *kmsg.ProduceResponseTopicPartition {
			p := &res.Topics[0].Partitions[i]
			p.ErrorCode = code
			return p
		}
		says(0, 0).BaseOffset = 7
		says(1, kerr.NotEnoughReplicas.Code)
		invalid, what := says(2, kerr.InvalidRecord.Code), "one or more records have been rejected"
		why := "no key"
		invalid.ErrorMessage = &what
		invalid.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{{RelativeOffset: 1, ErrorMessage: &why}}
		res.Topics[0].Partitions = res.Topics[0].Partitions[:3] // and nothing of the last
		return res, nil, true
	})
	done := client.ProduceMany(t.Context(), batchesFor(4, "t"))
	if done[0].Err != nil || done[0].Base != 7 {
		t.Errorf("the one that was written: %+v", done[0])
	}
	if err := done[1].Err; err == nil || kafka.Refused(err) || kafka.Lasting(err) {
		t.Errorf("the one that lacks replicas: %v", err)
	}
	refused, is := errors.AsType[*kafka.BatchError](done[2].Err)
	if !is || !kafka.Invalid(done[2].Err) || refused.Message != "one or more records have been rejected" || len(refused.Records) != 1 || refused.Records[1] != "no key" {
		t.Errorf("the one that is refused: %+v", done[2])
	}
	if err := done[3].Err; err == nil || kafka.Lasting(err) {
		t.Errorf("the one that the broker forgot: %v", err)
	}
}

func TestABatchForAPartitionThatIsNotThereHoldsUpNoOther(t *testing.T) {
	_, client := startBroker(t, broker.Topic{Name: "t", Partitions: 2})
	done := client.ProduceMany(t.Context(), append(batchesFor(2, "t"), kafka.Batch{Topic: "t", Partition: 9, Messages: []events.Message{{}}}, kafka.Batch{Topic: "nowhere", Messages: []events.Message{{}}}))
	for i, one := range done {
		if gone := i >= 2; (one.Err != nil) != gone || gone && (!kafka.NoPartition(one.Err) || one.Leader != kafka.NoLeader) {
			t.Errorf("batch %d: %+v", i, one)
		}
	}
}

func TestARefusalNamesCodeMessageAndRemedy(t *testing.T) {
	for sentence, c := range map[string]struct {
		code   int16
		says   string
		remedy string
	}{
		"a compacted topic":  {kerr.InvalidRecord.Code, "Compacted topic cannot accept message without key", "compacted"},
		"a clock":            {kerr.InvalidTimestamp.Code, "Timestamp 0 of message with offset 0 is out of range", "message.timestamp.before.max.ms"},
		"an old format":      {kerr.UnsupportedForMessageFormat.Code, "", "message.format.version"},
		"a large record":     {kerr.MessageTooLarge.Code, "", "max.message.bytes"},
		"a very large batch": {kerr.RecordListTooLarge.Code, "", "max.message.bytes"},
	} {
		t.Run(sentence, func(t *testing.T) {
			b, client := startBroker(t, broker.Topic{Name: "t", Partitions: 1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				res := answer(req.(*kmsg.ProduceRequest), c.code)
				res.Topics[0].Partitions[0].ErrorMessage = &c.says
				return res, nil, true
			})
			w := kafka.Writer{Client: client}
			_, err := w.Write(ctx, "t", []events.Message{{Value: []byte("v")}})
			refused, is := errors.AsType[*kafka.RefusedError](err)
			if !is || refused.Code() != int(c.code) {
				t.Fatalf("%v", err)
			}
			wants := []string{"topic t ", c.remedy}
			if !refused.TooLarge() {
				wants = append(wants, "partition 0", fmt.Sprintf("[%d]", c.code), c.says)
			}
			for _, want := range wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}
