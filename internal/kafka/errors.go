package kafka

import (
	"crypto/tls"
	"errors"
	"net"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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

	// IllegalGeneration, UnknownMember and FencedInstance: the membership that
	// a commit was made under is over.
	IllegalGeneration = kafkago.IllegalGeneration
	UnknownMember     = kafkago.UnknownMemberId
	FencedInstance    = kafkago.FencedInstanceID
	// MetadataTooLarge: the broker takes the commit with less metadata
	// (offset.metadata.max.bytes).
	MetadataTooLarge = kafkago.OffsetMetadataTooLarge
)

// TooLarge reports whether the broker refuses a batch for its size for good.
func TooLarge(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}

// Refused reports whether the broker never takes a record of the batch,
// whoever sends it and however often: for its size, or because the topic is
// compacted and the record has no key.
func Refused(err error) bool { return TooLarge(err) || errors.Is(err, kafkago.InvalidRecord) }

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
	if errors.As(err, &missing) || Refused(err) || certificateFails(err) {
		return true
	}
	var code kafkago.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState,
		kafkago.InvalidTopic, kafkago.InvalidGroupId, kafkago.InvalidTimestamp,
		kafkago.UnsupportedVersion, kafkago.UnsupportedForMessageFormat:
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
