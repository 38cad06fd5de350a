package kafka

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// kafka-go's response decodes the records while it is read: what a batch's
// header claims is believed there, and the batch's timestamp is dropped. Ours
// leaves the records as the bytes that came; batch.go reads them. With it in
// the place of kafka-go's own, nothing of kafka-go that fetches may be called
// any more: its Client.Fetch, Reader and Conn expect the other type.
func init() { protocol.Register(&fetchRequest{}, &fetchResponse{}) } //nolint:gochecknoinits // kafka-go's table of messages has no lock, and is read from the first request on

// fetchRequest is kafka-go's from version 4 on, the first one whose records have
// headers. It goes to the broker that it names.
type fetchRequest struct {
	broker int32 // not on the wire

	ReplicaID       int32                         `kafka:"min=v4,max=v11"`
	MaxWaitTime     int32                         `kafka:"min=v4,max=v11"`
	MinBytes        int32                         `kafka:"min=v4,max=v11"`
	MaxBytes        int32                         `kafka:"min=v4,max=v11"`
	IsolationLevel  int8                          `kafka:"min=v4,max=v11"`
	SessionID       int32                         `kafka:"min=v7,max=v11"`
	SessionEpoch    int32                         `kafka:"min=v7,max=v11"`
	Topics          []fetch.RequestTopic          `kafka:"min=v4,max=v11"`
	ForgottenTopics []fetch.RequestForgottenTopic `kafka:"min=v7,max=v11"`
	RackID          string                        `kafka:"min=v11,max=v11"`
}

func (*fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker implements protocol.BrokerMessage.
func (r *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerIn(cluster, r.broker)
}

type fetchResponse struct {
	ThrottleTimeMs int32        `kafka:"min=v4,max=v11"`
	ErrorCode      int16        `kafka:"min=v7,max=v11"`
	SessionID      int32        `kafka:"min=v7,max=v11"`
	Topics         []fetchTopic `kafka:"min=v4,max=v11"`
}

func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

type fetchTopic struct {
	Topic      string           `kafka:"min=v4,max=v11"`
	Partitions []fetchPartition `kafka:"min=v4,max=v11"`
}

type fetchPartition struct {
	Partition            int32                       `kafka:"min=v4,max=v11"`
	ErrorCode            int16                       `kafka:"min=v4,max=v11"`
	HighWatermark        int64                       `kafka:"min=v4,max=v11"`
	LastStableOffset     int64                       `kafka:"min=v4,max=v11"`
	LogStartOffset       int64                       `kafka:"min=v5,max=v11"`
	AbortedTransactions  []fetch.ResponseTransaction `kafka:"min=v4,max=v11"`
	PreferredReadReplica int32                       `kafka:"min=v11,max=v11"`
	Records              packedRecords               `kafka:"min=v4,max=v11"`
}

// packedRecords are batches as they came.
type packedRecords struct{ bytes []byte }

// ReadFrom reads them off an answer: their size, then as many bytes. Memory is
// taken as bytes come, not for what the size claims.
func (p *packedRecords) ReadFrom(r io.Reader) (int64, error) {
	var size [4]byte
	if n, err := io.ReadFull(r, size[:]); err != nil {
		return int64(n), err
	}
	left := int(int32(binary.BigEndian.Uint32(size[:])))
	if left <= 0 {
		return 4, nil // null, or nothing
	}
	const step = 4 << 20
	for left > 0 {
		n, at := min(left, step), len(p.bytes)
		p.bytes = slices.Grow(p.bytes, n)[:at+n]
		got, err := io.ReadFull(r, p.bytes[at:])
		left -= got
		if err != nil {
			return int64(4 + at + got), fmt.Errorf("the answer lacks %d bytes of its records: %w", left, io.ErrUnexpectedEOF)
		}
	}
	return int64(4 + len(p.bytes)), nil
}
