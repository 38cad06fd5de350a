#!/usr/bin/env bash
# Expected: a read_committed consumer gets no record of an aborted transaction. Beside the records a broker sends the list of the
#   aborted transactions among them (KIP-98); the client passes these over.
# Happens: where an answer is full by max_bytes of the whole in the middle of a partition, kfake sends the records of that partition
#   and forgets the list. The client cannot know better: the aborted records are delivered. With max_bytes large they are not.
# Version: kfake v0.0.0-20260918054303-01f206a7e32c, franz-go 1.22.2 as producer and consumer.
# Seen (20 batches of 4 KiB aborted, then one record committed; two readers of committed records):
#   max_bytes 50 MiB: 0 aborted records
#   max_bytes 10 KiB: 18 aborted records
# Why it matters: kfake is what many Go projects test consumers of transactions on, and what `closeorder dev` embeds. A test that
#   fails so now and then looks like a fault of the consumer: it takes many partitions, or a small limit, for an answer to be full.
# Source: kfake, 01_fetch.go, handleFetch: `break full` leaves the loop above "look up aborted transactions".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module x

go 1.26

require (
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c
)
MOD
cat >main.go <<'GO'
package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func client(c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...))...)
	must(err)
	return cl
}

func main() {
	ctx := context.Background()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	must(err)
	defer c.Close()
	p := client(c, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer p.Close()
	must(p.BeginTransaction())
	for range 20 {
		must(p.ProduceSync(ctx, &kgo.Record{Value: bytes.Repeat([]byte("a"), 4<<10)}).FirstErr())
	}
	must(p.EndTransaction(ctx, kgo.TryAbort))
	must(p.BeginTransaction())
	must(p.ProduceSync(ctx, &kgo.Record{Value: []byte("end")}).FirstErr())
	must(p.EndTransaction(ctx, kgo.TryCommit))

	for _, max := range []int32{50 << 20, 10 << 10} {
		r := client(c, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(max), kgo.FetchMaxPartitionBytes(1<<20))
		aborted := 0
		for over := false; !over; {
			f := r.PollFetches(ctx)
			must(f.Err())
			f.EachRecord(func(rec *kgo.Record) {
				if over = string(rec.Value) == "end"; !over {
					aborted++
				}
			})
		}
		r.Close()
		text := fmt.Sprintf("%d KiB", max>>10)
		if max >= 1<<20 {
			text = fmt.Sprintf("%d MiB", max>>20)
		}
		fmt.Printf("max_bytes %s: %d aborted records\n", text, aborted)
	}
}
GO
go mod tidy >log 2>&1 || { cat log; exit 1; }
go run . >seen 2>log || { cat log; exit 1; }
cat >expected <<'TEXT'
max_bytes 50 MiB: 0 aborted records
max_bytes 10 KiB: 18 aborted records
TEXT
echo "expected by the protocol: 0 aborted records with either"
echo "seen:"
cat seen
diff expected seen >/dev/null || { echo "this has changed"; exit 1; }
