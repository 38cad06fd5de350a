package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kmsg is made from Kafka's own definition of its messages, the compact forms of
// the later versions included.
func TestMessagesOfTransactionsAreWhatKafkaReads(t *testing.T) {
	for sentence, c := range map[string]struct {
		ours     protocol.Message
		theirs   kmsg.Request
		from, to int16
	}{
		"a producer id alone": {&producerIDRequest{ProducerID: -1, ProducerEpoch: -1},
			&kmsg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}, 0, 4},
		"one with a transactional id": {&initproducerid.Request{TransactionalID: "x", TransactionTimeoutMs: 9, ProducerID: -1, ProducerEpoch: -1},
			&kmsg.InitProducerIDRequest{TransactionalID: new("x"), TransactionTimeoutMillis: 9, ProducerID: -1, ProducerEpoch: -1}, 0, 4},
		"partitions": {&addpartitionstotxn.Request{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, Topics: []addpartitionstotxn.RequestTopic{{Name: "t", Partitions: []int32{0, 300}}, {Name: "u", Partitions: []int32{1}}}},
			&kmsg.AddPartitionsToTxnRequest{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, Topics: []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0, 300}}, {Topic: "u", Partitions: []int32{1}}}}, 0, 3},
		"a group": {&addoffsetstotxn.Request{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, GroupID: "g"},
			&kmsg.AddOffsetsToTxnRequest{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, Group: "g"}, 0, 3},
		"the end": {&endtxn.Request{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, Committed: true},
			&kmsg.EndTxnRequest{TransactionalID: "x", ProducerID: 5, ProducerEpoch: 6, Commit: true}, 0, 3},
		"offsets": {
			&txnoffsetcommit.Request{TransactionalID: "x", GroupID: "g", ProducerID: 5, ProducerEpoch: 6, GenerationID: 7, MemberID: "m", GroupInstanceID: "i",
				Topics: []txnoffsetcommit.RequestTopic{{Name: "t", Partitions: []txnoffsetcommit.RequestPartition{{Partition: 1, CommittedOffset: 2, CommittedLeaderEpoch: -1, CommittedMetadata: "meta"}}}}},
			&kmsg.TxnOffsetCommitRequest{TransactionalID: "x", Group: "g", ProducerID: 5, ProducerEpoch: 6, Generation: 7, MemberID: "m", InstanceID: new("i"),
				Topics: []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: 1, Offset: 2, LeaderEpoch: -1, Metadata: new("meta")}}}}}, 3, 3},
		"offsets of a dynamic member": {
			&txnoffsetcommit.Request{TransactionalID: "x", GroupID: "g", GenerationID: -1},
			&kmsg.TxnOffsetCommitRequest{TransactionalID: "x", Group: "g", Generation: -1}, 3, 3},
		"what is committed": {&offsetFetchRequest{GroupID: "g", RequireStable: true, Topics: []offsetFetchTopic{{Name: "t", PartitionIndexes: []int32{0, 300}}}},
			&kmsg.OffsetFetchRequest{Group: "g", RequireStable: true, Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 300}}}}, 1, 7},
	} {
		for version := c.from; version <= c.to; version++ {
			c.theirs.SetVersion(version)
			want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, c.theirs, 7)
			f, err := encode(c.ours, version, "me")
			if err != nil {
				t.Fatal(err)
			}
			f.number(7)
			if got := f.buffer.Bytes(); !bytes.Equal(got, want) {
				t.Errorf("%s, version %d: %x, want %x", sentence, version, got, want)
			}
			f.free()
		}
	}
}

func TestWhatIsCommittedIsReadAsKafkaWritesIt(t *testing.T) {
	for version := int16(1); version <= 7; version++ {
		theirs := &kmsg.OffsetFetchResponse{Version: version, ThrottleMillis: 5, Topics: []kmsg.OffsetFetchResponseTopic{{Topic: "t", Partitions: []kmsg.OffsetFetchResponseTopicPartition{
			{Partition: 1, Offset: 1 << 40, LeaderEpoch: 3, Metadata: new("meta")}, {Partition: 2, Offset: -1, LeaderEpoch: -1, ErrorCode: 88},
		}}}}
		body := []byte{0, 0, 0, 7}
		if version >= 6 {
			body = append(body, 0) // no tags
		}
		body = theirs.AppendTo(body)
		read, err := decode(bufio.NewReader(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))), protocol.OffsetFetch, version)
		if err != nil {
			t.Fatal(err)
		}
		got := read.(*offsetFetchResponse)
		want := []offsetFetchedPartition{{PartitionIndex: 1, CommittedOffset: 1 << 40, LeaderEpoch: 3, Metadata: "meta"}, {PartitionIndex: 2, CommittedOffset: -1, LeaderEpoch: -1, ErrorCode: 88}}
		if version < 5 {
			want[0].LeaderEpoch, want[1].LeaderEpoch = 0, 0
		}
		if len(got.Topics) != 1 || got.Topics[0].Name != "t" || fmt.Sprint(got.Topics[0].Partitions) != fmt.Sprint(want) {
			t.Errorf("version %d: %+v", version, got)
		}
		if wait := throttled(got, version); (wait.Milliseconds() == 5) != (version >= 4) {
			t.Errorf("version %d: throttled for %v", version, wait)
		}
	}
}
