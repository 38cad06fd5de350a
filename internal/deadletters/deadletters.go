// Package deadletters finds dead letters and sends them again: by code,
// merchant, order and time, byte for byte, and only those that still lack a
// final outcome and were not sent again already. What was sent is not
// remembered here: it is read from the topics, so that a replay that was cut
// off goes on where it stopped, on whatever machine.
//
//	dead letters --Filter--> Letters --outcomes, requests--> Plan --Send--> requests topic
package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Letter is one record of the dead-letter topic.
type Letter struct {
	// At is its own place; Source is that of the request.
	At events.Source
	// Written is its own timestamp.
	Written time.Time
	records.DeadLetter
	// Request is what the original asks for, as far as it can be read.
	Request events.Request
	// Err says why the record is no dead letter; it is never replayed.
	Err error
}

// read makes a letter of a record.
func read(rec kafka.Record) Letter {
	l := Letter{At: rec.Source(), Written: rec.Time}
	l.DeadLetter, l.Err = records.DecodeDeadLetter(rec.Message)
	l.identify()
	return l
}

// identify reads the request out of the original. Its error is why there is a
// dead letter, in many cases: the request beside it names what can be named.
func (l *Letter) identify() { l.Request, _ = events.DecodeRequest(l.Original) }

// Time is when the request failed, or when the record was written where it
// does not say.
func (l *Letter) Time() time.Time {
	if l.Err != nil || l.FailedAt.IsZero() {
		return l.Written
	}
	return l.FailedAt
}

// Filter chooses dead letters. The zero Filter chooses all. As JSON its names are
// stable.
type Filter struct {
	// Codes, if any, are the error codes wanted, in upper or lower case.
	Codes      []string `json:"codes,omitempty"`
	MchID      string   `json:"mch_id,omitempty"`
	OutTradeNo string   `json:"out_trade_no,omitempty"`
	// Since and Until bound the time of the failure: from Since on, before
	// Until. Zero is without bound.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Matches reports whether a letter is chosen.
func (f Filter) Matches(l *Letter) bool {
	return f.matchesRecord(l) && f.matchesRequest(l)
}

// matchesRecord goes by what stands in the headers of every dead letter.
func (f Filter) matchesRecord(l *Letter) bool {
	t := l.Time()
	if t.Before(f.Since) || !f.Until.IsZero() && !t.Before(f.Until) {
		return false
	}
	return len(f.Codes) == 0 || slices.ContainsFunc(f.Codes, func(code string) bool { return strings.EqualFold(code, l.ErrorCode) })
}

// matchesRequest goes by the request, which may not be readable.
func (f Filter) matchesRequest(l *Letter) bool {
	return (f.MchID == "" || f.MchID == l.Request.MchID) && (f.OutTradeNo == "" || f.OutTradeNo == l.Request.OutTradeNo)
}

// clockSlack is by how much a failure may be timed after the record that
// tells of it was: by another clock.
const clockSlack = time.Hour

// Stretch is a part of a topic.
type Stretch struct {
	Topic    string
	From, To kafka.Offsets
}

// Records is about how many records it has.
func (s Stretch) Records() int64 { return s.From.Until(s.To) }

// Find returns the stretch of the dead-letter topic in which a filter can
// match. It asks until the cluster answers or ctx ends.
func Find(ctx context.Context, r *kafka.Reader, topic string, f Filter) (Stretch, error) {
	since := f.Since
	if !since.IsZero() {
		since = since.Add(-clockSlack)
	}
	return stretch(ctx, r, topic, since)
}

// stretch is a topic from a time on, or from its beginning, to its end.
func stretch(ctx context.Context, r *kafka.Reader, topic string, since time.Time) (s Stretch, err error) {
	s.Topic = topic
	if since.IsZero() {
		s.From, err = r.First(ctx, topic)
	} else {
		s.From, err = r.At(ctx, topic, since)
	}
	if err != nil {
		return s, err
	}
	s.To, err = r.End(ctx, topic)
	return s, err
}

// Each calls do for every letter of a stretch that the filter chooses, and
// seen for every record. Of a letter without its value the
// request is read where it stands, so that the filter sees what a replay sees.
func Each(ctx context.Context, r *kafka.Reader, s Stretch, f Filter, seen func(), do func(Letter) error) error {
	return each(ctx, r, s, f, seen, func(_ kafka.Record, l Letter) error { return do(l) })
}

// each is Each with the record of each letter.
func each(ctx context.Context, r *kafka.Reader, s Stretch, f Filter, seen func(), do func(kafka.Record, Letter) error) error {
	return r.Read(ctx, s.Topic, s.From, s.To, func(rec kafka.Record) error {
		seen()
		l := read(rec)
		if l.Err == nil && l.ValueOmitted != "" && f.matchesRecord(&l) {
			whole := l
			if err := restore(ctx, r, &whole); err != nil && !errors.Is(err, errOriginalGone) {
				return err
			}
			l.Request = whole.Request
		}
		if f.Matches(&l) {
			return do(rec, l)
		}
		return nil
	})
}

// MissingError says that there is no record at a place.
type MissingError struct {
	At events.Source
	// First and End are the bounds of the partition; both are 0 where there
	// is no such partition.
	First, End int64
}

func (e *MissingError) Error() string {
	text := fmt.Sprintf("%s, partition %d, offset %d: ", e.At.Topic, e.At.Partition, e.At.Offset)
	switch {
	case e.First == 0 && e.End == 0:
		return text + "there is no such partition, or it is empty"
	case e.At.Offset < e.First:
		return text + fmt.Sprintf("the record was deleted: the log begins at offset %d", e.First)
	case e.At.Offset >= e.End:
		return text + fmt.Sprintf("there is no such record yet: the log ends at offset %d", e.End)
	}
	return text + "there is no record (compacted, or a transaction marker)"
}

// Get returns the letter at a place. The error is a *MissingError where there
// is no record.
func Get(ctx context.Context, r *kafka.Reader, at events.Source) (Letter, error) {
	rec, err := get(ctx, r, at)
	if err != nil {
		return Letter{}, err
	}
	return read(rec), nil
}

// get reads one record.
func get(ctx context.Context, r *kafka.Reader, at events.Source) (kafka.Record, error) {
	first, err := r.First(ctx, at.Topic)
	if err != nil {
		return kafka.Record{}, err
	}
	end, err := r.End(ctx, at.Topic)
	if err != nil {
		return kafka.Record{}, err
	}
	missing := &MissingError{At: at, First: first[at.Partition], End: end[at.Partition]}
	if at.Offset < missing.First || at.Offset >= missing.End {
		return kafka.Record{}, missing
	}
	var found *kafka.Record
	err = r.Read(ctx, at.Topic, kafka.Offsets{at.Partition: at.Offset}, kafka.Offsets{at.Partition: at.Offset + 1},
		func(rec kafka.Record) error { found = &rec; return nil })
	if err != nil {
		return kafka.Record{}, err
	}
	if found == nil {
		return kafka.Record{}, missing
	}
	return *found, nil
}
