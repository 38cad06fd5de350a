package main

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A timestamp is its producer's claim, and may lie beyond what JSON, and a duration, can hold.
func TestRecordsOfAnyTimeArePrinted(t *testing.T) {
	b, env := shop(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.MaxVersions(kversion.V3_0_0())) // topics by name
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, topic := range []string{config.Default().Topics.Requests, config.Default().Topics.DeadLetters} {
		if err := produceAt(t.Context(), client, topic, 1<<60, `{"mch_id":"1900000109","out_trade_no":"T1"}`); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{
		"deadletters list --json", "deadletters replay --json", "deadletters show --json 0:0", "trace T1 --json", "audit --json", "status --json",
	} {
		for _, line := range []string{command, strings.Replace(command, " --json", "", 1)} {
			code, stdout, stderr := call(t, env, "", strings.Fields(line)...)
			if stdout == "" || strings.Contains(stderr, "MarshalJSON") {
				t.Errorf("%s: exit code %d, %s", line, code, stderr)
			}
		}
	}
}

// produceAt writes a record of any timestamp, in milliseconds, into partition 0: the
// clients' own types hold none of a year beyond 2262.
func produceAt(ctx context.Context, client *kgo.Client, topic string, timestamp int64, value string) error {
	record := kmsg.Record{Value: []byte(value)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // less its own byte
	records := record.AppendTo(nil)
	batch := kmsg.RecordBatch{
		Magic: 2, FirstTimestamp: timestamp, MaxTimestamp: timestamp, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		PartitionLeaderEpoch: -1, NumRecords: 1, Records: records,
	}
	batch.Length = int32(len(batch.AppendTo(nil)) - 12)
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = raw
	in := kmsg.NewProduceRequestTopic()
	in.Topic, in.Partitions = topic, []kmsg.ProduceRequestTopicPartition{partition}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = -1, 10_000, []kmsg.ProduceRequestTopic{in}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ProduceResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return errors.Join(err, errors.New(topic))
				}
			}
		}
	}
	return nil
}
