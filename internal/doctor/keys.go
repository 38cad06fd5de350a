package doctor

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
)

// CheckKeys is whether the requests stand where their keys belong.
const CheckKeys = "keys"

// patience is how long a partition may bring nothing.
const patience = 10 * time.Second

// sampled is how many of the last requests are looked at, of all partitions.
const sampled = 4096

// keys reads the end of the requests topic and judges by what partitioner they
// stand where they do.
func (p *patient) keys(ctx context.Context) []Finding {
	topic := p.cfg.Topics.Requests
	t := p.layout.Topics[topic]
	if t.Partitions < 2 || t.Hidden || len(t.Leaderless) > 0 {
		return nil // there is nothing to tell apart, or another check says why not
	}
	reader := &kafka.Reader{Client: p.client, Patience: patience}
	from, err := reader.First(ctx, topic)
	if err != nil {
		return []Finding{unseen(ctx, CheckKeys, topic, err)}
	}
	to, err := reader.End(ctx, topic)
	if err != nil {
		return []Finding{unseen(ctx, CheckKeys, topic, err)}
	}
	for partition, end := range to {
		from[partition] = max(from[partition], end-max(sampled/int64(t.Partitions), 32))
	}
	var seen []consumer.KeyPlace
	err = reader.Read(ctx, topic, from, to, func(r kafka.Record) error {
		seen = append(seen, consumer.KeyPlace{Key: bytes.Clone(r.Key), Partition: r.Partition})
		return nil
	})
	if err != nil {
		return []Finding{unseen(ctx, CheckKeys, topic, err)}
	}
	return []Finding{aboutKeys(topic, t.Partitions, seen)}
}

func aboutKeys(topic string, partitions int, seen []consumer.KeyPlace) Finding {
	j := consumer.JudgeKeys(seen, partitions)
	switch {
	case j.Mixed:
		return Finding{Warning, CheckKeys, topic, j.Seen + ": requests of one order may stand in two partitions, and run side by side in two workers", j.Remedy}
	case j.Grown:
		return Finding{Note, CheckKeys, topic, j.Seen + ": from before partitions were added", "nothing: it ends with the old requests"}
	}
	return Finding{OK, CheckKeys, topic, fmt.Sprintf("nothing speaks against one partitioner (of the last %d requests)", len(seen)), ""}
}
