package consumer

import (
	"cmp"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
)

// record is one record of a decision, to be published.
type record struct {
	topic string
	to    int // see publication
	msg   events.Message
	// smaller are tried one after the other while the broker refuses msg for
	// its size.
	smaller []func() events.Message
	// withKey, if set, is tried when the broker takes no record without a key,
	// and msg has none.
	withKey func() events.Message
	// instead, if set, is the verdict on the request when nothing is small
	// enough.
	instead *Verdict
	// fault is why msg says less than it should.
	fault error
}

// records makes the records of a decision about r; now is the process's time.
//
//	conclude    outcome
//	deadLetter  dead letter, outcome
//	retryLater  retry record
func (ts Topics) records(r *request, d decision, now time.Time) []record {
	switch d.next {
	case conclude:
		return []record{ts.outcome(r, d.verdict, now)}
	case deadLetter:
		return []record{ts.deadLetter(r, d.verdict, now), ts.outcome(r, d.verdict, now)}
	case retryLater:
		return []record{ts.retry(r, d, now)}
	}
	panic("consumer: no records for a request that waits in memory")
}

// outcome makes the outcome of a verdict. Its key is the request's, and its
// partition the one with the number of the request's, so that the outcomes of
// one order stay in order wherever its order service puts them.
func (ts Topics) outcome(r *request, v Verdict, now time.Time) record {
	o := events.NewOutcome(r.req, r.msg.Key, r.source)
	switch v.Class {
	case Closed:
		o.Result = events.Closed
	case Paid:
		o.Result = events.Paid
	default:
		o.Result = events.Failed
	}
	o.Code, o.Message = v.Code, v.Message
	o.SafeToReissue = v.SafeToReissue && v.Class == Closed
	o.ConfirmedBy, o.Gateway, o.Attempts = v.ConfirmedBy, v.Gateway, r.calls
	o.CompletedAt = now
	if o.RequestedAt.IsZero() {
		o.RequestedAt = r.time
	}
	if len(o.Key) == 0 && o.OutTradeNo == "" {
		o.Key = []byte(o.ID) // the topic may be compacted, which takes no record without a key
	}
	rec := record{topic: ts.Outcomes, to: r.source.Partition}
	rec.msg, rec.fault = encodeOutcome(o)
	smaller := func(change func()) {
		rec.smaller = append(rec.smaller, func() events.Message {
			change()
			msg, _ := encodeOutcome(o)
			return msg
		})
	}
	if o.Metadata != nil || o.Message != "" {
		smaller(func() { o.Metadata, o.Message = nil, "shortened: the broker refused the whole outcome for its size" })
	}
	if len(o.Key) > longKey {
		smaller(func() { o.Key = []byte(cmp.Or(o.OutTradeNo, o.ID)) })
	}
	return rec
}

// longKey is the length from which on a key may be what makes a record too
// large.
const longKey = 1 << 10

// encodeOutcome writes o, or with an error what it cannot do without: the request
// may carry something that cannot be written, a record's timestamp in a year
// that RFC 3339 does not know, say. The answer must go out all the same.
func encodeOutcome(o events.Outcome) (events.Message, error) {
	msg, err := events.EncodeOutcome(o)
	if err == nil {
		return msg, nil
	}
	msg, bare := events.EncodeOutcome(events.Outcome{
		ID: o.ID, Result: o.Result, RecordKey: o.RecordKey, OutTradeNo: o.OutTradeNo, MchID: o.MchID, SubMchID: o.SubMchID, RequestID: o.RequestID,
		Code: o.Code, SafeToReissue: o.SafeToReissue, ConfirmedBy: o.ConfirmedBy,
		Attempts: o.Attempts, Replay: o.Replay, CompletedAt: o.CompletedAt, Source: o.Source, Key: o.Key,
	})
	if bare != nil {
		panic("consumer: outcome cannot be encoded: " + bare.Error())
	}
	return msg, err
}

// deadLetter keeps the request as it came. A broker that refuses it for its
// size gets it without its value, then without its headers, and at last without
// its key: where they stand is in our headers.
func (ts Topics) deadLetter(r *request, v Verdict, now time.Time) record {
	d := records.DeadLetter{
		Original: r.msg, ErrorCode: v.Code, ErrorMessage: v.Message, FailedAt: now, Calls: r.calls,
		Replay: r.req.Replay, Source: r.source, SourceTimestamp: r.time,
	}
	without := func(what string, drop func()) func() events.Message {
		return func() events.Message {
			drop()
			d.ValueOmitted = what
			return records.EncodeDeadLetter(d)
		}
	}
	return record{
		topic: ts.DeadLetters, to: r.source.Partition, msg: records.EncodeDeadLetter(d),
		smaller: []func() events.Message{
			without(records.OmittedValue, func() { d.Original.Value = nil }),
			without(records.OmittedHeaders, func() { d.Original.Headers = nil }),
			without(records.OmittedKey, func() { d.Original.Key = nil }),
		},
		withKey: func() events.Message {
			d.StandInKey = true
			return records.EncodeDeadLetter(d)
		},
	}
}

// retry makes the record that brings r back later. It goes to the partition
// with the number of its source, which belongs to the same member as long as
// the retry topics have as many partitions as the requests topic.
func (ts Topics) retry(r *request, d decision, now time.Time) record {
	retry := records.Retry{
		Original: r.msg, DueAt: d.due, Retries: d.retries, Calls: r.calls,
		Code: d.verdict.Code, Reason: d.verdict.Message, FirstRequestedAt: r.req.RequestedAt,
		Replay: r.req.Replay, Source: r.source, SourceTimestamp: r.time,
		Held: r.inHand(now), WaitsFor: d.scope.waitsFor(),
	}
	return record{
		topic: d.tier.Topic, to: r.source.Partition,
		msg: records.EncodeRetry(retry),
		withKey: func() events.Message {
			retry.StandInKey = true
			return records.EncodeRetry(retry)
		},
		instead: &Verdict{
			Class: Failed, Code: events.CodeRecordTooLarge,
			Message: "too large to wait in " + d.tier.Topic + " (" + d.verdict.Code + "): raise its max.message.bytes",
		},
	}
}
