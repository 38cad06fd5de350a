package kafka

import (
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// versions are what a broker speaks of each API.
type versions map[protocol.ApiKey]struct{ from, to int16 }

func versionsOf(res *apiversions.Response) versions {
	v := make(versions, len(res.ApiKeys))
	for _, api := range res.ApiKeys {
		v[protocol.ApiKey(api.ApiKey)] = struct{ from, to int16 }{api.MinVersion, api.MaxVersion}
	}
	return v
}

// both is the newest version that the broker and kafka-go speak. Without one
// the error is an UNSUPPORTED_VERSION, which lasts.
func (v versions) both(address string, api protocol.ApiKey) (int16, error) {
	theirs, known := v[api]
	if !known {
		return 0, fmt.Errorf("broker %s does not know %s: %w", address, api, kafkago.UnsupportedVersion)
	}
	ours := placeOf(api)
	version := min(ours.MaxVersion(), theirs.to)
	if version < max(ours.MinVersion(), theirs.from) {
		return 0, fmt.Errorf("broker %s speaks %s in versions %d to %d, closeorder in %d to %d: %w",
			address, api, theirs.from, theirs.to, ours.MinVersion(), ours.MaxVersion(), kafkago.UnsupportedVersion)
	}
	return version, nil
}

// The first versions whose records have headers (Kafka 0.11, KIP-82). kafka-go
// writes and reads older ones too, and drops the headers without an error.
const (
	produceHeaders = 3
	fetchHeaders   = 4
)

// OldBrokerError says that a broker is older than Kafka 0.11: it would drop the
// headers of all records, and with them the ids of outcomes and what a retry
// record or a dead letter says. Nothing is sent to it. It lasts.
type OldBrokerError struct {
	// Address of the broker, host:port.
	Address string
	// Produce and Fetch are the newest versions that it speaks.
	Produce, Fetch int16
}

func (e *OldBrokerError) Error() string {
	return fmt.Sprintf("broker %s is older than Kafka 0.11 and drops the headers of records (it speaks Produce up to version %d and Fetch up to %d; %d and %d are needed): upgrade it",
		e.Address, e.Produce, e.Fetch, produceHeaders, fetchHeaders)
}

// carriesHeaders returns an *OldBrokerError where records would lose them.
func (v versions) carriesHeaders(address string) error {
	if v[protocol.Produce].to < produceHeaders || v[protocol.Fetch].to < fetchHeaders {
		return &OldBrokerError{Address: address, Produce: v[protocol.Produce].to, Fetch: v[protocol.Fetch].to}
	}
	return nil
}

// clientWaits holds, for each API, the first version whose throttle time the
// client has to wait itself (KIP-219). In older ones the broker has waited
// before it answered.
var clientWaits = map[protocol.ApiKey]int16{
	protocol.Produce: 6, protocol.Fetch: 8, protocol.ListOffsets: 3, protocol.Metadata: 6,
	protocol.OffsetCommit: 4, protocol.OffsetFetch: 4, protocol.FindCoordinator: 2,
	protocol.JoinGroup: 3, protocol.SyncGroup: 2, protocol.LeaveGroup: 2,
	protocol.DescribeGroups: 2, protocol.ListGroups: 2, protocol.DeleteGroups: 1,
	protocol.CreateTopics: 3, protocol.DeleteTopics: 2, protocol.CreatePartitions: 1,
	protocol.DescribeConfigs: 2, protocol.AlterConfigs: 1, protocol.IncrementalAlterConfigs: 0,
	protocol.InitProducerId: 1, protocol.AddPartitionsToTxn: 1, protocol.AddOffsetsToTxn: 1, protocol.EndTxn: 1, protocol.TxnOffsetCommit: 1,
	protocol.OffsetDelete: 0, consumerGroupDescribe: 0,
}
