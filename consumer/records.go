package consumer

import (
	"cmp"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"go.opentelemetry.io/otel/trace"
)

// record is one record of a decision, to be published.
type record struct {
	topic string
	to    int // see publication
	what  what
	msg   events.Message
	// fault is why msg says less than it should.
	fault error
	// span sends it; nil: none.
	span trace.Span
}

// what a record is.
type what int

const (
	anOutcome what = iota + 1
	aDeadLetter
	aRetry
)

// records appends the records of a decision about r; now is the process's time.
//
//	conclude    outcome
//	deadLetter  dead letter, outcome
//	retryLater  retry record
func (ts *Topics) records(all []record, r *request, d *decision, now time.Time) []record {
	switch d.next {
	case conclude:
		return append(all, ts.outcome(r, &d.verdict, now))
	case deadLetter:
		return append(all, ts.deadLetter(r, &d.verdict, now), ts.outcome(r, &d.verdict, now))
	case retryLater:
		return append(all, ts.retry(r, d, now))
	}
	panic("consumer: no records for a request that waits in memory")
}

// The forms of a record. Brokers refuse few, so nothing is kept for them: a
// record in another form is made of the record itself.

// smaller is a record with less in it, for a broker that refuses rec for its size;
// false where there is nothing to leave out.
func (rec record) smaller() (record, bool) {
	switch rec.what {
	case anOutcome:
		return rec.smallerOutcome()
	case aDeadLetter:
		return rec.smallerDeadLetter()
	}
	return rec, false
}

// withKey is a record with a stand-in key, for a broker that takes none without;
// false where rec cannot have one.
func (rec record) withKey() (record, bool) {
	switch rec.what {
	case aDeadLetter:
		d, err := records.DecodeDeadLetter(rec.msg)
		d.StandInKey = true
		rec.msg = records.EncodeDeadLetter(d)
		return rec, err == nil
	case aRetry:
		retry, err := records.DecodeRetry(rec.msg)
		retry.StandInKey = true
		rec.msg = records.EncodeRetry(retry)
		return rec, err == nil
	}
	return rec, false
}

// instead is the verdict on the request of a record that is too large and has no
// smaller form; false where rec has to wait for somebody to change the topic.
func (rec record) instead() (v Verdict, ok bool) {
	if rec.what != aRetry {
		return v, false
	}
	retry, err := records.DecodeRetry(rec.msg)
	return Verdict{
		Class: Failed, Code: events.CodeRecordTooLarge,
		Message: "too large to wait in " + rec.topic + " (" + retry.Code + "): raise its max.message.bytes",
	}, err == nil
}

// outcome makes the outcome of a verdict. Its key is the request's, and its
// partition the one with the number of the request's, so that the outcomes of
// one order stay in order wherever its order service puts them.
func (ts *Topics) outcome(r *request, v *Verdict, now time.Time) record {
	o := events.NewOutcome(r.req, r.msg.Key, r.source)
	o.TraceParent = r.traceParent()
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
	rec := record{topic: ts.Outcomes, to: r.source.Partition, what: anOutcome, span: r.spanOf(anOutcome)}
	rec.msg, rec.fault = encodeOutcome(o)
	return rec
}

// shortened is the message of an outcome that a broker did not take as it was.
const shortened = "shortened: the broker refused the whole outcome for its size"

func (rec record) smallerOutcome() (record, bool) {
	o, err := events.DecodeOutcome(rec.msg)
	switch {
	case err != nil:
		return rec, false
	case o.Metadata != nil || o.Message != "" && o.Message != shortened:
		o.Metadata, o.Message = nil, shortened
	case len(o.Key) > longKey:
		o.Key = []byte(cmp.Or(o.OutTradeNo, o.ID))
	default:
		return rec, false
	}
	rec.msg, _ = encodeOutcome(o)
	return rec, true
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

// deadLetter keeps the request as it came.
func (ts *Topics) deadLetter(r *request, v *Verdict, now time.Time) record {
	return record{topic: ts.DeadLetters, to: r.source.Partition, what: aDeadLetter, span: r.spanOf(aDeadLetter), msg: records.EncodeDeadLetter(records.DeadLetter{
		Original: r.msg, ErrorCode: v.Code, ErrorMessage: v.Message, FailedAt: now, Calls: r.calls,
		Replay: r.req.Replay, Source: r.source, SourceTimestamp: r.time,
	})}
}

// A broker that refuses a dead letter for its size gets it without its value, then
// without its headers, and at last without its key: where they stand is in our
// headers.
func (rec record) smallerDeadLetter() (record, bool) {
	d, err := records.DecodeDeadLetter(rec.msg)
	switch {
	case err != nil || d.KeyOmitted():
		return rec, false
	case d.HeadersOmitted():
		d.Original.Key, d.ValueOmitted = nil, records.OmittedKey
	case d.ValueOmitted != "":
		d.Original.Headers, d.ValueOmitted = nil, records.OmittedHeaders
	default:
		d.Original.Value, d.ValueOmitted = nil, records.OmittedValue
	}
	rec.msg = records.EncodeDeadLetter(d)
	return rec, true
}

// retry makes the record that brings r back later. It goes to the partition
// with the number of its source, which belongs to the same member as long as
// the retry topics have as many partitions as the requests topic.
func (ts *Topics) retry(r *request, d *decision, now time.Time) record {
	return record{topic: d.tier.Topic, to: r.source.Partition, what: aRetry, span: r.spanOf(aRetry), msg: records.EncodeRetry(records.Retry{
		Original: r.msg, DueAt: d.due, Retries: d.retries, Calls: r.calls,
		Code: d.verdict.Code, Reason: d.verdict.Message, FirstRequestedAt: r.req.RequestedAt,
		Replay: r.req.Replay, Source: r.source, SourceTimestamp: r.time,
		Held: r.inHand(now), WaitsFor: d.scope.waitsFor(),
	})}
}
