package consumer

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// settle publishes the records of a decision, and finishes the request's offset
// when all of them are acknowledged (G1). It does not block.
func (w *Worker) settle(r *request, d decision) {
	w.lanes.publishing(r.partition)
	log := func() logrus.FieldLogger { return w.cfg.Log.WithFields(r.fields()) } // made where something is told
	if d.next == retryLater {
		log().WithField("due", d.due).WithField("code", d.verdict.Code).Debug("put off")
	}
	records := w.cfg.Topics.records(r, d, time.Now())
	for _, rec := range records {
		if rec.fault != nil {
			log().WithError(rec.fault).Error("outcome shortened: what the request carried cannot be written")
		}
	}
	w.write(r, records...)
}

// write publishes the records of a request and finishes it when all are
// acknowledged. A record that cannot be published any more because the
// partition was taken away leaves the offset to the next owner. Each record
// counts as one on its way; settle has counted the first.
func (w *Worker) write(r *request, records ...record) {
	r.partition.unclaim(r)
	left := new(atomic.Int32)
	dropped := new(atomic.Bool)
	left.Store(int32(len(records)))
	one := func(err error) {
		if err != nil {
			dropped.Store(true)
		}
		if left.Add(-1) == 0 && !dropped.Load() {
			w.finish(r)
		}
		w.lanes.published(r.partition)
	}
	for range len(records) - 1 {
		w.lanes.publishing(r.partition)
	}
	for _, rec := range records {
		w.publish(r, rec, one)
	}
}

// publish publishes one record of a request, in another form if it must be, and
// calls done once it is acknowledged or cannot be any more.
func (w *Worker) publish(r *request, rec record, done func(error)) {
	w.publisher.publish(publication{
		topic: rec.topic, to: rec.to, msg: rec.msg, fence: r.partition.owned,
		done: func(err error) {
			if refused, is := errors.AsType[*kafka.RefusedError](err); is {
				w.refused(r, rec, refused, done)
				return
			}
			done(err)
		},
	})
}

// refused publishes in another form what the broker does not take as it is. What
// has no other form waits for somebody to change the topic: it must not be
// dropped, so its offset stays open, and it is tried again from time to time.
// While it rests it holds up nobody: not its partition, nor a drain.
func (w *Worker) refused(r *request, rec record, err *kafka.RefusedError, done func(error)) {
	log := w.cfg.Log.WithFields(r.fields()).WithField("to", rec.topic).WithError(err)
	switch {
	case err.Invalid() && rec.msg.Key == nil && rec.withKey != nil:
		if w.refusals.due("key "+rec.topic, time.Now()) {
			log.Warn("a record without a key gets a stand-in key: the topic takes none without; more of them are not told of for an hour")
		}
		rec.msg, rec.withKey = rec.withKey(), nil
		w.publish(r, rec, done)
	case err.TooLarge() && len(rec.smaller) > 0:
		log.Warn("publishing a shortened record")
		rec.msg, rec.smaller = rec.smaller[0](), rec.smaller[1:]
		w.publish(r, rec, done)
	case err.TooLarge() && rec.instead != nil:
		log.Warn("the record cannot wait in a retry topic: it fails")
		w.settle(r, decide(w.circumstances(r, circumstances{turn: hopeless, verdict: *rec.instead})))
		done(errReplaced)
	default:
		if w.refusals.due(fmt.Sprint(err.Topic, " ", err.Partition, " ", err.Code()), time.Now()) {
			log.WithField("to_partition", err.Partition).Error("ALARM: the topic does not take a record: its request stays uncommitted and is tried again each minute, the others go on; more of the kind are not told of for an hour")
		}
		w.lanes.published(r.partition)
		w.wg.Go(func() {
			err := kafka.Sleep(r.partition.owned, refusedRest)
			w.lanes.publishing(r.partition)
			if err != nil {
				done(errFencedOff)
				return
			}
			w.publish(r, rec, done)
		})
	}
}

const (
	// refusedRest is after how long a record that a topic does not take is
	// tried again.
	refusedRest = time.Minute
	// refusalsEvery is how often it is told of, for each partition and code.
	refusalsEvery = time.Hour
)

// errReplaced ends a record whose place the records of another decision have
// taken.
var errReplaced = errors.New("replaced")

// finish ends a request: its offset may be committed.
func (w *Worker) finish(r *request) {
	r.partition.finish(r)
	w.committer.markDirty(r.partition)
}
