package events

import (
	"errors"
	"fmt"
	"time"
)

// Headers that closeorder adds to a dead letter or a retry record, after the
// original ones.
const (
	HeaderErrorCode       = "closeorder-error-code"
	HeaderErrorMessage    = "closeorder-error-message"
	HeaderFailedAt        = "closeorder-failed-at"
	HeaderAttempts        = "closeorder-attempts"
	HeaderReplay          = "closeorder-replay"
	HeaderSourceTopic     = "closeorder-source-topic"
	HeaderSourcePartition = "closeorder-source-partition"
	HeaderSourceOffset    = "closeorder-source-offset"
	HeaderSourceTimestamp = "closeorder-source-timestamp"
)

// HeaderValueOmitted is set on a dead letter whose original value the broker
// would not take: the value is left out, Source still says where it stands.
const HeaderValueOmitted = "closeorder-value-omitted"

// DeadLetter is a request that was set aside: the original record byte for
// byte, and why.
type DeadLetter struct {
	Original     Message
	ErrorCode    string
	ErrorMessage string
	FailedAt     time.Time
	Attempts     int
	Replay       int
	Source       Source
	// SourceTimestamp is the timestamp of the original record.
	SourceTimestamp time.Time
	// ValueOmitted says why the original value is not in the dead letter;
	// empty when it is.
	ValueOmitted string
}

var deadLetterBlock = []string{
	HeaderErrorCode, HeaderErrorMessage, HeaderFailedAt, HeaderAttempts, HeaderReplay,
	HeaderSourceTopic, HeaderSourcePartition, HeaderSourceOffset, HeaderSourceTimestamp,
	HeaderValueOmitted,
}

// EncodeDeadLetter writes d: the original key, value and headers byte for
// byte, then our headers. The value is left out where ValueOmitted says why.
// ErrorMessage is cut to [MaxErrorMessage] bytes. The message shares the
// memory of d.Original, but for the list of headers.
func EncodeDeadLetter(d DeadLetter) Message {
	var b block
	b.text(HeaderErrorCode, d.ErrorCode)
	b.text(HeaderErrorMessage, cut(d.ErrorMessage, MaxErrorMessage))
	b.time(HeaderFailedAt, d.FailedAt)
	b.number(HeaderAttempts, int64(d.Attempts))
	b.number(HeaderReplay, int64(d.Replay))
	b.source(d.Source, d.SourceTimestamp)
	if d.ValueOmitted != "" {
		d.Original.Value = nil
		b.text(HeaderValueOmitted, cut(d.ValueOmitted, MaxErrorMessage))
	}
	return b.appendTo(d.Original)
}

// DecodeDeadLetter reads what EncodeDeadLetter wrote. Original is the request
// as it was, also when that had headers with our names: only the last block
// of them is ours. Headers that something else has added after it are dropped.
//
// The error is a *[ValidationError]. The DeadLetter beside it has what could
// be read and the whole of m as its Original: show it, do not replay it.
func DecodeDeadLetter(m Message) (DeadLetter, error) {
	var p problems
	original, b := splitBlock(m, deadLetterBlock, &p)
	d := DeadLetter{
		Original:     original,
		ErrorCode:    b.getText(HeaderErrorCode, true, &p),
		ErrorMessage: b.getText(HeaderErrorMessage, false, &p),
		FailedAt:     b.getTime(HeaderFailedAt, true, &p),
		Attempts:     b.getCount(HeaderAttempts, &p),
		Replay:       b.getCount(HeaderReplay, &p),
		ValueOmitted: b.getText(HeaderValueOmitted, false, &p),
	}
	d.Source, d.SourceTimestamp = b.getSource(&p)
	err := p.err()
	if err != nil {
		d.Original = m
	}
	return d, err
}

// What ValueOmitted says when the broker refused the dead letter for its size.
const (
	OmittedValue   = CodeRecordTooLarge
	OmittedHeaders = OmittedValue + ", and so were the headers"
	OmittedKey     = OmittedHeaders + " and the key"
)

// HeadersOmitted reports whether the original headers had to be left out too:
// the value alone was not enough for the broker.
func (d DeadLetter) HeadersOmitted() bool {
	return d.ValueOmitted == OmittedHeaders || d.KeyOmitted()
}

// KeyOmitted reports whether the original key had to be left out as well.
func (d DeadLetter) KeyOmitted() bool { return d.ValueOmitted == OmittedKey }

// ErrValueOmitted: the dead letter does not have the original value. Read it
// at Source, put it into Original and empty ValueOmitted.
var ErrValueOmitted = errors.New("dead letter has no value")

// ReplayMessage returns the record that asks again: the original byte for
// byte, with the next replay number as its only header closeorder-replay.
// The error wraps [ErrValueOmitted].
func (d DeadLetter) ReplayMessage() (Message, error) {
	if d.ValueOmitted != "" {
		return Message{}, fmt.Errorf("%w: %s", ErrValueOmitted, quote(d.ValueOmitted))
	}
	return withReplay(d.Original, d.Replay+1), nil
}
