package records

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
)

// DeadLetter is a request that was set aside: the original record byte for
// byte, and why.
type DeadLetter struct {
	Original     events.Message
	ErrorCode    string
	ErrorMessage string
	FailedAt     time.Time
	Calls        int
	Replay       int
	Source       events.Source
	// SourceTimestamp is the timestamp of the original record.
	SourceTimestamp time.Time
	// ValueOmitted says why the original value is not in the dead letter, as
	// the broker would not take it: Source still says where it stands. Empty
	// when it is there.
	ValueOmitted string
	// StandInKey says that the record has a key that the original has not: its
	// place. A compacted topic takes no record without a key.
	StandInKey bool
}

func (d *DeadLetter) block() headerBlock {
	return slices.Concat(headerBlock{
		text(headerErrorCode, required, &d.ErrorCode),
		text(headerErrorMessage, always, &d.ErrorMessage),
		moment(headerFailedAt, required, &d.FailedAt),
		count(headerAttempts, &d.Calls),
		count(events.HeaderReplay, &d.Replay),
	}, place(&d.Source, &d.SourceTimestamp), headerBlock{
		text(headerValueOmitted, optional, &d.ValueOmitted),
		standIn(&d.StandInKey),
	})
}

// EncodeDeadLetter writes d: the original key, value and headers byte for
// byte, then our headers. The value is left out where ValueOmitted says why, and
// the key is another one where StandInKey says so.
// ErrorMessage is cut to 1 KiB. The message shares the memory of d.Original,
// but for the list of headers.
func EncodeDeadLetter(d DeadLetter) events.Message {
	d.ErrorMessage, d.ValueOmitted = cut(d.ErrorMessage, maxErrorMessage), cut(d.ValueOmitted, maxErrorMessage)
	if d.ValueOmitted != "" {
		d.Original.Value = nil
	}
	if d.StandInKey {
		d.Original.Key = standInKey(d.Source)
	}
	return d.block().appendTo(d.Original)
}

// DecodeDeadLetter reads what EncodeDeadLetter wrote. Original is the request
// as it was, also when that had headers with our names: only the last block
// of them is ours. Headers that something else has added after it are dropped.
//
// The error is a *[events.ValidationError]. The DeadLetter beside it has what
// could be read and the whole of m as its Original: show it, do not replay it.
func DecodeDeadLetter(m events.Message) (d DeadLetter, err error) {
	if d.Original, err = d.block().readFrom(m); err == nil && d.StandInKey {
		d.Original.Key = nil
	}
	return d, err
}

// What ValueOmitted says when the broker refused the dead letter for its size.
const (
	OmittedValue   = events.CodeRecordTooLarge
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
// byte, with the next replay number as its only header closeorder-replay, and
// without those that a replay before may have put beside it, see [Replay].
// The error wraps [ErrValueOmitted].
func (d DeadLetter) ReplayMessage() (events.Message, error) {
	if d.ValueOmitted != "" {
		return events.Message{}, fmt.Errorf("%w: %s", ErrValueOmitted, quote(d.ValueOmitted))
	}
	m := d.Original
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h events.Header) bool { return events.OfReplay(h.Key) })
	m.Headers = append(m.Headers, events.Header{Key: events.HeaderReplay, Value: strconv.AppendInt(nil, int64(d.Replay)+1, 10)})
	return m, nil
}
