package kafka

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// Answers of brokers that callers treat apart. They are compared with
// errors.Is.
const (
	// UnknownTopic: there is no such topic or partition, or the broker has not
	// heard of it yet.
	UnknownTopic = kafkago.UnknownTopicOrPartition
	// OffsetOutOfRange: the log does not hold the offset. For a moment after a
	// topic was made a broker says so of any offset.
	OffsetOutOfRange = kafkago.OffsetOutOfRange

	// RecordTooLarge: a batch is larger than max.message.bytes of the topic.
	RecordTooLarge = kafkago.MessageSizeTooLarge

	// IllegalGeneration, UnknownMember and FencedInstance: the membership that
	// a commit was made under is over.
	IllegalGeneration = kafkago.IllegalGeneration
	UnknownMember     = kafkago.UnknownMemberId
	FencedInstance    = kafkago.FencedInstanceID
	// Rebalancing: the members of the group do not know yet what is theirs in
	// the next generation; a commit is taken again when this one does.
	Rebalancing = kafkago.RebalanceInProgress
	// MetadataTooLarge: the broker takes the commit with less metadata
	// (offset.metadata.max.bytes).
	MetadataTooLarge = kafkago.OffsetMetadataTooLarge
)

// TooLarge reports whether the broker refuses a batch for its size for good.
func TooLarge(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}

// Invalid reports whether the broker refuses a record for what it says: the
// topic is compacted and the record has no key, or a validation of the broker's
// owner does not like it.
func Invalid(err error) bool { return errors.Is(err, kafkago.InvalidRecord) }

// Refused reports whether the broker refuses a batch for what is in it, whoever
// sends it and however often, until somebody changes the topic or the record:
// for its size, its content or its timestamp, or because the topic keeps a
// format that knows no headers.
func Refused(err error) bool {
	return TooLarge(err) || Invalid(err) || errors.Is(err, kafkago.InvalidTimestamp) || errors.Is(err, kafkago.UnsupportedForMessageFormat)
}

// transactionAbortable is TRANSACTION_ABORTABLE (Kafka 3.8, KIP-890), which
// kafka-go has no name for.
const transactionAbortable kafkago.Error = 120

// Fenced reports whether a transaction can only be aborted: another producer has
// begun with its id, the coordinator has aborted it, or the brokers have lost
// what was written in it. Nothing of it is or will be committed: an
// *[UnsureError] is none of these.
func Fenced(err error) bool {
	if _, unsure := errors.AsType[*UnsureError](err); unsure {
		return false
	}
	if errors.Is(err, errForked) {
		return true
	}
	code, _ := errors.AsType[kafkago.Error](err)
	switch code {
	case kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidProducerIDMapping, kafkago.InvalidTransactionState,
		kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId, transactionAbortable:
		return true
	}
	return false
}

// coordinatorBusy reports whether a coordinator says that it is another one, or
// not ready yet, or still ends the transaction before.
func coordinatorBusy(err error) bool {
	code, _ := errors.AsType[kafkago.Error](err)
	switch code {
	case kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup, kafkago.GroupLoadInProgress, kafkago.ConcurrentTransactions:
		return true
	}
	return false
}

// BatchError is a broker's answer to a batch that it did not write.
type BatchError struct {
	// Code is the answer, as one of this package's errors, and so is what the
	// error wraps.
	Code error
	// Message is the broker's own, empty where it says nothing (before Kafka
	// 2.4).
	Message string
	// Records are the messages that the broker blames, by their index in the
	// batch, with what it says of each one. Empty where it names none.
	Records map[int]string
}

func (e *BatchError) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return e.Code.Error() + ": " + e.Message
}

func (e *BatchError) Unwrap() error { return e.Code }

// names reports whether the broker blames messages of a batch of n.
func (e *BatchError) names(n int) bool {
	for i := range e.Records {
		if i < 0 || i >= n {
			return false
		}
	}
	return len(e.Records) > 0
}

// maxSaid bounds what is kept of a broker's message, in bytes.
const maxSaid = 1 << 10

func said(message string) string {
	if len(message) > maxSaid {
		return strings.ToValidUTF8(message[:maxSaid], "") + "..."
	}
	return message
}

// batchError is the error of an answer, nil for none.
func batchError(p *produce.ResponsePartition) error {
	if p.ErrorCode == 0 {
		return nil
	}
	e := &BatchError{Code: asError(p.ErrorCode), Message: said(p.ErrorMessage)}
	for _, r := range p.RecordErrors {
		if e.Records == nil {
			e.Records = make(map[int]string, len(p.RecordErrors))
		}
		e.Records[int(r.BatchIndex)] = said(r.BatchIndexErrorMessage)
	}
	return e
}

// NoPartition reports whether err may mean that there is no such topic or
// partition. It may as well mean that no broker was reached yet: ask
// [Client.Partitions].
func NoPartition(err error) bool {
	return errors.Is(err, UnknownTopic) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// Lasting reports whether an error will still be there on another try, if
// nobody does anything about it. All that is not named here is worth one:
// connections break, leaders move. Who waits for somebody to do something does
// not ask.
func Lasting(err error) bool {
	var missing *MissingTopicsError
	var old *OldBrokerError
	if errors.As(err, &missing) || errors.As(err, &old) || Refused(err) || certificateFails(err) {
		return true
	}
	if none, is := errors.AsType[*NoTokenError](err); is {
		return none.Lasts
	}
	var code kafkago.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState,
		kafkago.InvalidTopic, kafkago.InvalidGroupId, kafkago.InconsistentGroupProtocol,
		kafkago.UnsupportedVersion, kafkago.TransactionalIDAuthorizationFailed, kafkago.InvalidTransactionTimeout:
		return true
	}
	return false
}

// certificateFails reports whether one side does not take the certificate of
// the other, or has other terms for TLS.
func certificateFails(err error) bool {
	var broker *tls.CertificateVerificationError
	var client *net.OpError // an alert of the broker
	return errors.As(err, &broker) || errors.As(err, &client) && client.Op == "remote error"
}

// asError is the error of a code, nil for 0.
func asError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafkago.Error(code)
}
