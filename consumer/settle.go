package consumer

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
)

// settle turns the answer to a task into records, and finishes the task's
// offset when all of them are acknowledged (G1). It does not block.
//
//	closed, paid      outcome
//	failed            outcome and dead letter; expired: outcome
//	later, unanswered retry record; after the last tier as failed
//	held              retry record that costs no try
func (w *Worker) settle(t *task, a Answer) {
	w.lanes.settle(t.partition)
	now := w.now()
	a.Message = w.told(t, a.Message)
	switch a.Disposition {
	case Closed, Paid:
		w.write(t, w.outcome(t, a))
	case Failed:
		w.fail(t, a)
	case Held:
		tier, _ := w.retries.forHold(t.climbed)
		w.write(t, w.retry(t, a, tier, now.Add(tier.Delay), t.attempt))
	default:
		tier, ok := w.retries.forRetry(t.attempt, a.RetryAfter)
		if !ok || a.Unworkable && t.attempt >= unworkableTries {
			a.Message = "no final answer after the last retry: " + a.Code + ": " + a.Message
			a.Code = events.CodeRetriesExhausted
			w.fail(t, a)
			return
		}
		// Never longer than the longest tier, whatever was asked for: a record
		// that is due in years would keep its partition's window shut.
		delay := tier.Delay
		if a.RetryAfter > 0 {
			delay = max(delay, min(a.RetryAfter, w.retries[len(w.retries)-1].Delay)+unmeasured)
		}
		w.write(t, w.retry(t, a, tier, now.Add(delay), t.attempt+1))
	}
}

// unworkableTries is how many retries a request gets of which the gateway says,
// in words that nobody signs, that it cannot work as it stands.
const unworkableTries = 2

// fail ends a request without proof.
func (w *Worker) fail(t *task, a Answer) {
	a.Disposition = Failed
	if t.expired {
		// The shop has given it up itself: there is nothing to replay.
		a.Message = "expires_at " + t.req.ExpiresAt.Format(time.RFC3339) + " has passed; " + a.Message
		a.Code = events.CodeExpired
		w.write(t, w.outcome(t, a))
		return
	}
	w.write(t, w.deadLetter(t, a), w.outcome(t, a))
}

// postpone puts a request off until a time, at no cost of a try. A wait that
// is longer than the longest tier takes several hops.
func (w *Worker) postpone(t *task, a Answer, until time.Time) {
	w.lanes.settle(t.partition)
	now := w.now()
	a.Message = w.told(t, a.Message)
	tier := w.retries.forWait(until.Sub(now))
	due := now.Add(tier.Delay)
	if until.Sub(due) <= unmeasured { // or it would take another hop for that
		due = until
	}
	w.write(t, w.retry(t, a, tier, due, t.attempt))
}

// record is one record that settles a task.
type record struct {
	topic string
	to    int // see publication
	msg   events.Message
	// smaller are tried one after the other while the broker refuses msg for
	// its size.
	smaller []func() events.Message
	// instead, if set, settles the task in another way when nothing is small
	// enough.
	instead func()
}

// write publishes the records of a task and finishes it when all are
// acknowledged. A record that cannot be published any more because the
// partition was lost leaves the offset to the next owner.
func (w *Worker) write(t *task, records ...record) {
	t.partition.unclaim(t)
	left := new(atomic.Int32)
	dropped := new(atomic.Bool)
	left.Store(int32(len(records)))
	one := func(err error) {
		if err != nil {
			dropped.Store(true)
		}
		if left.Add(-1) > 0 {
			return
		}
		if !dropped.Load() {
			w.finish(t)
		}
		w.lanes.settled(t.partition)
	}
	for _, r := range records {
		w.publishRecord(t, r, one)
	}
}

// finish ends a task: its offset may be committed.
func (w *Worker) finish(t *task) {
	t.partition.finish(t)
	w.committer.touch(t.partition)
}

func (w *Worker) publishRecord(t *task, r record, done func(error)) {
	w.publisher.publish(publication{
		topic: r.topic, to: r.to, msg: r.msg, fence: t.partition.owned,
		done: func(err error) {
			if !errors.Is(err, errTooLarge) {
				done(err)
				return
			}
			log := w.log.WithFields(t.fields()).WithField("to", r.topic).WithError(err)
			switch {
			case len(r.smaller) > 0:
				log.Warn("publishing a shortened record")
				r.msg, r.smaller = r.smaller[0](), r.smaller[1:]
				w.publishRecord(t, r, done)
			case r.instead != nil:
				log.Warn("the record cannot wait in a retry topic: it fails")
				r.instead()
				done(errReplaced)
			default:
				// Nothing may be dropped, so this waits for somebody to raise
				// the limit.
				log.Error("cannot publish: raise max.message.bytes of the topic; the request stays uncommitted")
				w.wg.Go(func() {
					if err := sleep(t.partition.owned, time.Minute); err != nil {
						done(errFencedOff)
						return
					}
					w.publishRecord(t, r, done)
				})
			}
		},
	})
}

// errReplaced ends a record that another settlement has taken the place of.
var errReplaced = errors.New("replaced")

// outcome makes the answer's outcome. Its key is the request's, and its
// partition the one with the number of the request's, so that the outcomes of
// one order stay in order wherever its order service puts them.
func (w *Worker) outcome(t *task, a Answer) record {
	result := events.Failed
	switch a.Disposition {
	case Closed:
		result = events.Closed
	case Paid:
		result = events.Paid
	}
	o := events.NewOutcome(t.req, t.msg.Key, t.source)
	o.Result, o.Code, o.Message = result, a.Code, a.Message
	o.SafeToReissue = a.SafeToReissue && result == events.Closed
	o.ConfirmedBy, o.Gateway, o.Attempts = a.ConfirmedBy, a.Gateway, t.attempts+a.Attempts
	o.CompletedAt = time.Now()
	if o.RequestedAt.IsZero() {
		o.RequestedAt = t.time
	}
	if len(o.Key) == 0 && o.OutTradeNo == "" {
		o.Key = []byte(o.ID) // the topic may be compacted, which takes no record without a key
	}
	r := record{topic: w.topics.Outcomes, to: t.source.Partition, msg: w.encodeOutcome(t, o)}
	if o.Metadata != nil || o.Message != "" {
		r.smaller = append(r.smaller, func() events.Message {
			o.Metadata, o.Message = nil, "shortened: the broker refused the whole outcome for its size"
			return w.encodeOutcome(t, o)
		})
	}
	if len(o.Key) > longKey {
		r.smaller = append(r.smaller, func() events.Message {
			o.Key = []byte(cmp.Or(o.OutTradeNo, o.ID))
			return w.encodeOutcome(t, o)
		})
	}
	return r
}

// longKey is the length from which on a key may be what makes a record too
// large.
const longKey = 1 << 10

func (w *Worker) encodeOutcome(t *task, o events.Outcome) events.Message {
	msg, err := events.EncodeOutcome(o)
	if err != nil {
		// A record's timestamp, say, in a year that RFC 3339 cannot write.
		// The answer must go out all the same: with what it cannot do without.
		w.log.WithFields(t.fields()).WithError(err).Error("outcome shortened: what the request carried cannot be written")
		msg, err = events.EncodeOutcome(events.Outcome{
			ID: o.ID, Result: o.Result, RecordKey: o.RecordKey, OutTradeNo: o.OutTradeNo, MchID: o.MchID, SubMchID: o.SubMchID, RequestID: o.RequestID,
			Code: o.Code, SafeToReissue: o.SafeToReissue, ConfirmedBy: o.ConfirmedBy,
			Attempts: o.Attempts, Replay: o.Replay, CompletedAt: o.CompletedAt, Source: o.Source, Key: o.Key,
		})
		if err != nil {
			panic("consumer: outcome cannot be encoded: " + err.Error())
		}
	}
	return msg
}

// deadLetter keeps the request as it came. A broker that refuses it for its
// size gets it without its value, then without its headers, and at last without
// its key: where they stand is in our headers.
func (w *Worker) deadLetter(t *task, a Answer) record {
	d := records.DeadLetter{
		Original:        t.msg,
		ErrorCode:       a.Code,
		ErrorMessage:    a.Message,
		FailedAt:        time.Now(),
		Attempts:        t.attempts + a.Attempts,
		Replay:          t.req.Replay,
		Source:          t.source,
		SourceTimestamp: t.time,
	}
	return record{
		topic: w.topics.DeadLetters, to: t.source.Partition, msg: records.EncodeDeadLetter(d),
		smaller: []func() events.Message{
			func() events.Message {
				d.Original.Value = nil
				d.ValueOmitted = records.OmittedValue
				return records.EncodeDeadLetter(d)
			},
			func() events.Message {
				d.Original.Headers = nil
				d.ValueOmitted = records.OmittedHeaders
				return records.EncodeDeadLetter(d)
			},
			func() events.Message {
				d.Original.Key = nil
				d.ValueOmitted = records.OmittedKey
				return records.EncodeDeadLetter(d)
			},
		},
	}
}

// fields name a task in the log: enough to find it in Kafka and in the shop.
func (t *task) fields() logrus.Fields {
	return logrus.Fields{
		"topic": t.source.Topic, "partition": t.source.Partition, "offset": t.source.Offset,
		"mch_id": t.req.MchID, "out_trade_no": t.req.OutTradeNo,
	}
}
