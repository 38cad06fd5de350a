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
	var some [2]record
	records := w.cfg.Topics.records(some[:0], r, &d, time.Now())
	for i := range records {
		if fault := records[i].fault; fault != nil {
			log().WithError(fault).Error("outcome shortened: what the request carried cannot be written")
		}
	}
	w.write(r, records...)
}

// delivery is one of the records of a request on its way to its topic.
type delivery struct {
	worker  *Worker
	request *request
	record  record
	of      *deliveries
	all     deliveries // of those of the first one
}

// deliveries are those of one decision.
type deliveries struct {
	left    atomic.Int32 // that are not acknowledged
	dropped atomic.Bool  // one that never will be
}

// write publishes the records of a request and finishes it when all are
// acknowledged. A record that cannot be published any more because the
// partition was taken away leaves the offset to the next owner. Each record
// counts as one on its way; settle has counted the first.
func (w *Worker) write(r *request, records ...record) {
	r.partition.unclaim(r)
	for range len(records) - 1 {
		w.lanes.publishing(r.partition)
	}
	var all *deliveries
	for i := range records {
		d := &delivery{worker: w, request: r, record: records[i]}
		if all == nil {
			all = &d.all
			all.left.Store(int32(len(records)))
		}
		d.of = all
		d.publish()
	}
}

// publish publishes the record, in another form if it must be.
func (d *delivery) publish() {
	d.worker.publisher.publish(publication{
		topic: d.record.topic, to: d.record.to, msg: d.record.msg, fence: d.request.partition.owned, done: d.done,
	})
}

// done is called once it is acknowledged or cannot be any more.
func (d *delivery) done(err error) {
	if err != nil {
		if refused, is := errors.AsType[*kafka.RefusedError](err); is {
			d.refused(refused)
			return
		}
		d.of.dropped.Store(true)
	}
	if d.of.left.Add(-1) == 0 && !d.of.dropped.Load() {
		d.worker.finish(d.request)
	}
	d.worker.lanes.published(d.request.partition)
}

// refused publishes in another form what the broker does not take as it is. What
// has no other form waits for somebody to change the topic: it must not be
// dropped, so its offset stays open, and it is tried again from time to time.
// While it rests it holds up nobody: not its partition, nor a drain.
func (d *delivery) refused(err *kafka.RefusedError) {
	w, r, topic := d.worker, d.request, d.record.topic
	log := w.cfg.Log.WithFields(r.fields()).WithField("to", topic).WithError(err)
	if err.Invalid() && d.record.msg.Key == nil {
		if keyed, ok := d.record.withKey(); ok {
			if w.refusals.due("key "+topic, time.Now()) {
				log.Warn("a record without a key gets a stand-in key: the topic takes none without; more of them are not told of for an hour")
			}
			d.record = keyed
			d.publish()
			return
		}
	}
	if err.TooLarge() {
		if smaller, ok := d.record.smaller(); ok {
			log.Warn("publishing a shortened record")
			d.record = smaller
			d.publish()
			return
		}
		if v, ok := d.record.instead(); ok {
			log.Warn("the record cannot wait in a retry topic: it fails")
			w.settle(r, decide(w.circumstances(r, circumstances{turn: hopeless, verdict: v})))
			d.done(errReplaced)
			return
		}
	}
	if w.refusals.due(fmt.Sprint(err.Topic, " ", err.Partition, " ", err.Code()), time.Now()) {
		log.WithField("to_partition", err.Partition).Error("ALARM: the topic does not take a record: its request stays uncommitted and is tried again each minute, the others go on; more of the kind are not told of for an hour")
	}
	w.lanes.published(r.partition)
	w.wg.Go(func() {
		err := kafka.Sleep(r.partition.owned, refusedRest)
		w.lanes.publishing(r.partition)
		if err != nil {
			d.done(errFencedOff)
			return
		}
		d.publish()
	})
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
