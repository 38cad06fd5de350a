package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

func TestWhatAnErrorMeans(t *testing.T) {
	for _, c := range []struct {
		sentence                                string
		err                                     error
		lasting, refused, tooLarge, noPartition bool
	}{
		{"a leader that moved", kafkago.NotLeaderForPartition, false, false, false, false},
		{"a connection that broke", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, false, false, false, false},
		{"a deadline", context.DeadlineExceeded, false, false, false, false},
		{"too few replicas in sync", kafkago.NotEnoughReplicas, false, false, false, false},
		{"a topic the broker does not know, which may be new", kafkago.UnknownTopicOrPartition, false, false, false, true},
		{"a topic that no broker was asked for yet", protocol.NewErrNoTopic("t"), false, false, false, true},
		{"a partition that the metadata do not have", protocol.NewErrNoPartition("t", 1), false, false, false, true},
		{"topics that are missing", &MissingTopicsError{Topics: []string{"t"}}, true, false, false, false},
		{"a record that is too large", kafkago.MessageSizeTooLarge, true, true, true, false},
		{"a batch that is too large", kafkago.RecordListTooLarge, true, true, true, false},
		{"a record without a key in a compacted topic", kafkago.InvalidRecord, true, true, false, false},
		{"a timestamp that the topic does not take", kafkago.InvalidTimestamp, true, true, false, false},
		{"headers in a topic whose format knows none", kafkago.UnsupportedForMessageFormat, true, true, false, false},
		{"a topic that is not allowed", kafkago.TopicAuthorizationFailed, true, false, false, false},
		{"a group that is not allowed", kafkago.GroupAuthorizationFailed, true, false, false, false},
		{"a cluster that is not allowed", kafkago.ClusterAuthorizationFailed, true, false, false, false},
		{"a transactional id that is not allowed", kafkago.TransactionalIDAuthorizationFailed, true, false, false, false},
		{"a transaction that may not take as long", kafkago.InvalidTransactionTimeout, true, false, false, false},
		{"a transaction of which the offsets are not there yet", UnstableOffset, false, false, false, false},
		{"a producer that is fenced", kafkago.ProducerFenced, false, false, false, false},
		{"a wrong password", kafkago.SASLAuthenticationFailed, true, false, false, false},
		{"a mechanism that is not switched on", kafkago.UnsupportedSASLMechanism, true, false, false, false},
		{"a group that has no name", kafkago.InvalidGroupId, true, false, false, false},
		{"a topic name that Kafka does not take", kafkago.InvalidTopic, true, false, false, false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("kafka.(*Client).Produce: %w", c.err), errors.Join(c.err)} {
			if Lasting(err) != c.lasting || Refused(err) != c.refused || TooLarge(err) != c.tooLarge || NoPartition(err) != c.noPartition {
				t.Errorf("%s (%v): lasting %v, refused %v, too large %v, no partition %v", c.sentence, err, Lasting(err), Refused(err), TooLarge(err), NoPartition(err))
			}
		}
	}
}
