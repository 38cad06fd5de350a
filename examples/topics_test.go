//go:build examples

package examples

import (
	"context"
	"fmt"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	requestsTopic = "closeorder.requests"
	outcomesTopic = "closeorder.outcomes"
)

func connect(t *testing.T, brokers string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// areAsTheContractSays reads the n requests that a client has published: each
// is a CloudEvent in binary mode that the worker can read, under the number of
// its order, in the partition that Java's murmur2 gives it (docs/contract.md,
// "Topics and keys").
func areAsTheContractSays(t *testing.T, brokers string, n int) {
	t.Helper()
	client := connect(t, brokers, kgo.ConsumeTopics(requestsTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), requestsTopic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for seen := 0; seen < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d requests are there: %v", seen, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen++
			m := events.Message{Key: r.Key, Value: r.Value}
			headers := map[string]string{}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
				headers[h.Key] = string(h.Value)
			}
			request, err := events.DecodeRequest(m)
			if err != nil {
				t.Errorf("%s: %v", r.Value, err)
			}
			if string(r.Key) != request.OutTradeNo || int(r.Partition) != kafka.PartitionOf(r.Key, len(topics[requestsTopic].Partitions)) {
				t.Errorf("%s stands under the key %q in partition %d", r.Value, r.Key, r.Partition)
			}
			if headers["ce_type"] != "closeorder.requested" || headers["ce_id"] != request.RequestID || headers["ce_time"] == "" {
				t.Errorf("%s has the headers %q", r.Value, headers)
			}
		})
	}
}

// others publish requests of their own, outcomes that are none, and one that is
// rolled back: a reader has to take what stands there, and only that.
func others(t *testing.T, brokers string) {
	t.Helper()
	closed := func(no, id string) []byte {
		return fmt.Appendf(nil, `{"outcome":"closed","out_trade_no":%q,"mch_id":"1900000109","request_id":%q,"safe_to_reissue":true,`+
			`"attempts":1,"replay":0,"completed_at":"2026-02-01T08:00:00Z","source":{"topic":"closeorder.requests","partition":0,"offset":1000}}`, no, id)
	}
	headers := func(id, typ string) []kgo.RecordHeader {
		return []kgo.RecordHeader{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(id)}, {Key: "ce_source", Value: []byte("/closeorder")},
			{Key: "ce_type", Value: []byte(typ)}, {Key: "ce_time", Value: []byte("2026-02-01T08:00:00Z")}, {Key: "content-type", Value: []byte("application/json")},
		}
	}
	write := func(client *kgo.Client, r *kgo.Record) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client := connect(t, brokers)
	for _, r := range []*kgo.Record{
		// A key may be any bytes; its outcome has it too.
		{Topic: requestsTopic, Key: []byte{0xff, 0xfe}, Value: []byte(`{"out_trade_no":"T2026020100201","mch_id":"1900000109","request_id":"key-of-any-bytes"}`)},
		// Its outcome names neither an order nor a request.
		{Topic: requestsTopic, Key: []byte("T2026020100202"), Value: []byte("close T2026020100202")},

		// On its way somebody has given it headers of their own.
		{Topic: outcomesTopic, Key: []byte("T2026020100208"), Value: closed("T2026020100208", "headers-of-others"),
			Headers: append(headers("5", "closeorder.closed"), kgo.RecordHeader{Key: "trace-bin", Value: []byte{0xfe}}, kgo.RecordHeader{Key: "note"})},

		{Topic: outcomesTopic, Key: []byte("T2026020100203"), Value: []byte("no JSON"), Headers: headers("1", "closeorder.closed")},
		{Topic: outcomesTopic, Key: []byte("T2026020100204"), Value: nil, Headers: headers("2", "closeorder.closed")},
		{Topic: outcomesTopic, Key: []byte("T2026020100205"), Value: []byte("{}")},
		{Topic: outcomesTopic, Key: []byte("T2026020100206"), Value: closed("T2026020100206", "of-another-type"), Headers: headers("3", "closeorder.failed")},
	} {
		write(client, r)
	}
	transactional := connect(t, brokers, kgo.TransactionalID("others"))
	if err := transactional.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	write(transactional, &kgo.Record{Topic: outcomesTopic, Key: []byte("T2026020100207"), Value: closed("T2026020100207", "rolled-back"), Headers: headers("4", "closeorder.closed")})
	if err := transactional.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// committed is how many records of the outcomes a group has committed.
func committed(t *testing.T, brokers, group string) (records int64) {
	t.Helper()
	offsets, err := kadm.NewClient(connect(t, brokers)).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == outcomesTopic {
			records += o.At
		}
	})
	return records
}
