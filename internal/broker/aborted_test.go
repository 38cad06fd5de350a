package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/twmb/franz-go/pkg/kgo"
)

// An answer is full in the middle of a partition whose records were aborted: a
// reader of committed records must be told so all the same.
func TestAReaderOfCommittedRecordsGetsNoneThatWasAborted(t *testing.T) {
	b := start(t, broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 1}}})
	producer := newFranz(t, b, kgo.TransactionalID("shop"), kgo.DefaultProduceTopic("t"))
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range 20 { // a batch each
			value := append(fmt.Appendf(nil, "%v %d ", end, i), bytes.Repeat([]byte{'x'}, 4<<10)...)
			if err := producer.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	reader := newFranz(t, b, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(10<<10), kgo.FetchMaxPartitionBytes(1<<20))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; n < 20; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d records: %v", n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if n++; !bytes.HasPrefix(r.Value, fmt.Appendf(nil, "%v ", kgo.TryCommit)) {
				t.Errorf("offset %d was aborted", r.Offset)
			}
		})
	}
}
