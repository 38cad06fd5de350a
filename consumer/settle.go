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
	if d.next == retryLater && w.debugs {
		log().WithField("due", d.due).WithField("code", d.verdict.Code).Debug("put off")
	}
	w.spans.sends(r, &d, &w.cfg.Topics)
	var some [2]record
	records := w.cfg.Topics.records(some[:0], r, &d, time.Now())
	what := w.newsOf(r, &d)
	for i := range records {
		if fault := records[i].fault; fault != nil && w.shortened.due("cannot be written", time.Now()) {
			log().WithError(fault).Error("outcome shortened: what the request carried cannot be written")
		}
	}
	w.write(r, what, records...)
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
	// together are all of them where they are written in one transaction, or in
	// none; nil without transactions.
	together []*delivery
	// taken: no topic has refused one of them in the last transaction, which was
	// aborted as it was torn. publisher.mu guards it.
	taken bool
	// told is what there is to tell of the decision once all are acknowledged.
	told tidings
}

// tidings are what an Observer is told of, one of them or none.
type tidings struct {
	answer *Answer
	putOff *PutOff
}

// newsOf is what a decision about r is told as once it is done; nothing where
// nobody wants to know.
func (w *Worker) newsOf(r *request, d *decision) (t tidings) {
	switch {
	case d.next == retryLater && w.cfg.Observer == nil:
	case d.next == retryLater:
		t.putOff = &PutOff{Order: r.req.Order(), Topic: d.tier.Topic, Code: d.verdict.Code, Due: d.due, Source: r.source, Counts: d.retries > r.retries}
	case w.cfg.Observer != nil, d.verdict.Class == Failed, w.debugs: // one that has expired fails without a dead letter
		t.answer = answerOf(r, d)
	}
	return t
}

// announce says what has come of a decision.
func (w *Worker) announce(t tidings) {
	if t.answer != nil {
		t.answer.Took = max(w.cfg.Now().Sub(t.answer.Requested), 0)
		w.logged(t.answer)
		if w.cfg.Observer != nil {
			w.cfg.Observer.Answered(*t.answer)
		}
	}
	if t.putOff != nil {
		w.cfg.Observer.PutOff(*t.putOff)
	}
}

// write publishes the records of a request and finishes it when all are
// acknowledged. A record that cannot be published any more because the
// partition was taken away leaves the offset to the next owner. Each record
// counts as one on its way; settle has counted the first.
func (w *Worker) write(r *request, what tidings, records ...record) {
	r.is(publishing, nil)
	r.partition.unclaim(r)
	for range len(records) - 1 {
		w.lanes.publishing(r.partition)
	}
	var some [2]publication
	pubs := some[:0]
	var all *deliveries
	for i := range records {
		d := &delivery{worker: w, request: r, record: records[i]}
		if all == nil {
			all = &d.all
			all.left.Store(int32(len(records)))
			all.told = what
		}
		if d.of = all; w.cfg.ExactlyOnce {
			all.together = append(all.together, d)
		}
		pubs = append(pubs, d.publication())
	}
	w.publisher.publish(pubs...)
}

func (d *delivery) publication() publication {
	return publication{
		topic: d.record.topic, to: d.record.to, msg: d.record.msg, request: d.request, of: d.of, fence: d.request.partition.owned, done: d.done,
	}
}

// mates are the record itself and those that it is never written without.
func (d *delivery) mates() []*delivery {
	if d.of.together != nil {
		return d.of.together
	}
	return []*delivery{d}
}

// again publishes the record once more, in another form if it has one now.
func (d *delivery) again() {
	var pubs []publication
	for _, mate := range d.mates() {
		pubs = append(pubs, mate.publication())
	}
	d.worker.publisher.publish(pubs...)
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
	sent(d.record.span, err)
	if d.of.left.Add(-1) == 0 && !d.of.dropped.Load() {
		d.request.done(nil)
		d.worker.progress.Add(1)
		d.worker.finish(d.request)
		d.worker.announce(d.of.told)
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
			d.again()
			return
		}
	}
	if err.TooLarge() {
		if smaller, ok := d.record.smaller(); ok {
			if w.shortened.due(topic, time.Now()) {
				log.Warn("publishing a shortened record: raise max.message.bytes of the topic; more of them are not told of for a minute")
			}
			d.record = smaller
			d.again()
			return
		}
		if v, ok := d.record.instead(); ok {
			if w.shortened.due("retry "+topic, time.Now()) {
				log.Warn("the record cannot wait in a retry topic: it fails; raise max.message.bytes of the topic; more of them are not told of for a minute")
			}
			w.settle(r, decide(w.circumstances(r, circumstances{turn: hopeless, verdict: v})))
			for _, mate := range d.mates() {
				mate.done(errReplaced)
			}
			return
		}
	}
	if w.refusals.due(fmt.Sprint(err.Topic, " ", err.Partition, " ", err.Code()), time.Now()) {
		log.WithField("to_partition", err.Partition).Error("ALARM: the topic does not take a record: its request stays uncommitted and is tried again each minute, the others go on; more of the kind are not told of for an hour")
	}
	mates := d.mates()
	for range mates {
		w.lanes.published(r.partition)
	}
	w.refused.Add(1)
	w.wg.Go(func() {
		err := kafka.Sleep(r.partition.owned, refusedRest)
		w.refused.Add(-1)
		for range mates {
			w.lanes.publishing(r.partition)
		}
		if err == nil {
			d.again()
			return
		}
		for _, mate := range mates {
			mate.done(errFencedOff)
		}
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
