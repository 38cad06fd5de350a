package consumer

import (
	"errors"
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
// partition was taken away leaves the offset to the next owner.
func (w *Worker) write(r *request, records ...record) {
	r.partition.unclaim(r)
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
			w.finish(r)
		}
		w.lanes.published(r.partition)
	}
	for _, rec := range records {
		w.publish(r, rec, one)
	}
}

// publish publishes one record of a request, smaller if it must be, and calls
// done once it is acknowledged or cannot be any more.
func (w *Worker) publish(r *request, rec record, done func(error)) {
	w.publisher.publish(publication{
		topic: rec.topic, to: rec.to, msg: rec.msg, fence: r.partition.owned,
		done: func(err error) {
			if !errors.Is(err, errTooLarge) {
				done(err)
				return
			}
			log := w.cfg.Log.WithFields(r.fields()).WithField("to", rec.topic).WithError(err)
			switch {
			case len(rec.smaller) > 0:
				log.Warn("publishing a shortened record")
				rec.msg, rec.smaller = rec.smaller[0](), rec.smaller[1:]
				w.publish(r, rec, done)
			case rec.instead != nil:
				log.Warn("the record cannot wait in a retry topic: it fails")
				w.settle(r, decide(w.circumstances(r, circumstances{turn: hopeless, verdict: *rec.instead})))
				done(errReplaced)
			default:
				// Nothing may be dropped, so this waits for somebody to raise
				// the limit.
				log.Error("cannot publish: raise max.message.bytes of the topic; the request stays uncommitted")
				w.wg.Go(func() {
					if err := kafka.Sleep(r.partition.owned, time.Minute); err != nil {
						done(errFencedOff)
						return
					}
					w.publish(r, rec, done)
				})
			}
		},
	})
}

// errReplaced ends a record whose place the records of another decision have
// taken.
var errReplaced = errors.New("replaced")

// finish ends a request: its offset may be committed.
func (w *Worker) finish(r *request) {
	r.partition.finish(r)
	w.committer.markDirty(r.partition)
}
