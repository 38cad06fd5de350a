package world

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactional are the requests that make up a transaction, in their order, but
// for those that write.
var transactional = []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}

// amid does something once in the middle of a transaction of a worker: as its
// next request of one kind leaves, so that the request never arrives, or as it
// arrives, so that it is done and nobody hears of it. A worker that has no
// transactions goes on.
func (r *run) amid(name string, f Fault, do func(*Requests)) (disarm func()) {
	kinds := append([]kmsg.Key{kmsg.Produce, kmsg.EndTxn, kmsg.EndTxn}, transactional[1:]...)
	key := kinds[f.Choice%len(kinds)]
	some := r.world.Network.Requests(name, key.Int16())
	if f.N%2 == 0 {
		return some.Before(func() { do(some) })
	}
	return r.world.arrives(some, key, func() { do(some) })
}

// arrives does something once, when the next of the requests of a host has come
// to its broker, just before it is done.
func (w *World) arrives(some *Requests, key kmsg.Key, do func()) (disarm func()) {
	var sent atomic.Bool
	forget := some.Before(func() { sent.Store(true) })
	h := w.Kafka.Cluster().Fault(kfake.Fault{
		Keys: []kmsg.Key{key}, Count: -1, Observe: true,
		When: func(kmsg.Request) bool {
			if sent.CompareAndSwap(true, false) {
				do()
			}
			return false
		},
	})
	return func() {
		forget()
		h.Remove()
	}
}

// leavesOpen has the order service open a transaction, write to a few partitions
// and say nothing more until ended is closed: then it commits or aborts, or the
// brokers abort it about then. It returns when that is over.
func (s *Shop) leavesOpen(f Fault, ended <-chan struct{}) error {
	ctx := context.Background()
	id := fmt.Sprintf("%s-open-%d", s.name, s.transactions.Add(1))
	var records []Publication
	for i := range 1 + f.N%3 {
		no := fmt.Sprintf("%s-%d", id, i)
		records = append(records, Publication{Message: Message{Key: []byte(no), Value: encode(map[string]any{"mch_id": "1900000109", "out_trade_no": no})}})
	}
	begun := time.Now()
	timeout := shopTimeout
	if f.Choice%3 == 2 {
		timeout = f.For
	}
	t, err := s.Begin(ctx, id, timeout)
	if err == nil {
		err = t.Write(ctx, records)
	}
	<-ended
	switch {
	case f.Choice%3 == 2:
		time.Sleep(time.Until(begun.Add(timeout + time.Minute)))
		return nil
	case err == nil && f.Choice%3 == 1:
		_ = t.End(ctx, true) // else it is aborted, below
	}
	// What is not committed is aborted by the next of that id, in which nothing
	// is written.
	for {
		if _, err := s.Begin(ctx, id, timeout); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return nil
}

// fence takes a transactional id over: a producer that uses it is fenced (KIP-98).
func (o *Observer) fence(id string) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 10_000
	// Whether it works is for the brokers to say: a fault may refuse it.
	_, _ = req.RequestWith(context.Background(), o.client)
}
