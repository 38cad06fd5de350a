package consumer

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
)

// topicPartition names a partition of a topic.
type topicPartition struct {
	topic string
	id    int
}

// request is one record on its way from its offset to its outcome. One goroutine
// has it at a time: the fetcher, whoever has its turn, or the timer that it waits
// for; only noCall is looked at by others.
type request struct {
	partition *partition
	lane      *lane // that it stands in, from lanes.add on
	offset    int64
	time      time.Time // the record's timestamp
	msg       events.Message
	req       events.Request
	rejected  string // why it can never work; empty when it may
	// noCall says that it can probably be settled without a call, see
	// Worker.withoutCall. Guarded by lanes.mu once it is in a lane.
	noCall bool
	letGo  bool // its memory was given back, see partition.letGo
	// crowded is set of one that had better wait elsewhere, see crowd.go: for how
	// long others of its merchant have waited for a slot when it came.
	crowded time.Duration
	retries int  // so far, that counted
	calls   int  // to the gateway, so far
	expired bool // expires_at had passed when its turn came
	// rest is how long it rests in its place before its turn may come again.
	rest time.Duration
	// hadBefore is for how long workers had its request before this one took it,
	// at taken.
	hadBefore time.Duration
	taken     time.Time
	// waits is what it waits for, if it waits for its merchant: until due, or
	// until the hold is lifted.
	waits Scope
	due   time.Time
	// climbed is in how many retry topics it has waited for its merchant, this
	// one included, counted from the shortest.
	climbed int
	probes  bool // may be the prober of a hold, see merchantHolds
	// source is the record that the order service published: this one, or
	// for a record of a retry topic the one that it continues.
	source events.Source
	size   int64

	// What others may look at at any time, see look.go. stage is 0 until read has
	// returned; what read has set changes no more.
	stage atomic.Int32
	note  atomic.Pointer[note]
	// Its neighbours among the open requests of its partition; partition.mu guards
	// them.
	before, behind *request
	listed         bool
	// traced is nil where nothing is traced, see spans.go.
	traced *traced
}

// note says more of what a request waits for.
type note struct {
	until time.Time
	why   string
}

// is notes where a request is on its way, and what it waits for.
func (r *request) is(at stage, waits *note) {
	if waits != nil || r.note.Load() != nil {
		r.note.Store(waits)
	}
	r.stage.Store(int32(at))
}

// read decodes the record of r, which for one of a retry topic is that of the
// request it continues. due is when that one may be served; rejected says what
// cannot be read.
func (r *request) read(retries tiers) (due time.Time) {
	r.taken = time.Now()
	var waitsFor string
	tier := retries.index(r.partition.topic)
	if tier >= 0 {
		record, err := records.DecodeRetry(r.msg)
		if err != nil {
			r.rejected = "not a retry record: " + err.Error()
			return due
		}
		r.msg, r.source = record.Original, record.Source
		if !record.SourceTimestamp.IsZero() { // else it was none that could be written
			r.time = record.SourceTimestamp
		}
		r.retries, r.calls, r.hadBefore = record.Retries, record.Calls, record.Held
		due, waitsFor = record.DueAt, record.WaitsFor
	}
	var err error
	if r.req, err = events.DecodeRequest(r.msg); err != nil {
		r.rejected = err.Error()
	}
	if r.waits = scopeOf(waitsFor, r.req); r.waits != (Scope{}) {
		r.climbed = tier + 1
	}
	return due
}

// order is the lane of a request. A record that names no order has one of its
// own.
func (r *request) order() events.Order {
	if o := r.req.Order(); o.OutTradeNo != "" {
		return o
	}
	return events.Order{OutTradeNo: fmt.Sprintf("@%s/%d/%d", r.partition.topic, r.partition.id, r.offset)}
}

// continues says whether r is a record of a retry topic, which continues another.
func (r *request) continues() bool {
	return r.source != events.Source{Topic: r.partition.topic, Partition: r.partition.id, Offset: r.offset}
}

// expiredAt says whether expires_at has passed.
func (r *request) expiredAt(now time.Time) bool {
	return !r.req.ExpiresAt.IsZero() && !now.Before(r.req.ExpiresAt)
}

// inHand is how long workers have had the request, as they measured it; now is
// the process's.
func (r *request) inHand(now time.Time) time.Duration { return r.hadBefore + now.Sub(r.taken) }

// fields name a request in the log: enough to find it in Kafka and in the shop.
func (r *request) fields() logrus.Fields {
	f := logrus.Fields{
		"topic": r.source.Topic, "partition": r.source.Partition, "offset": r.source.Offset,
		"mch_id": r.req.MchID, "out_trade_no": r.req.OutTradeNo,
	}
	traceID, spanID := r.ids()
	if traceID != "" {
		f["trace_id"] = traceID
	}
	if spanID != "" {
		f["span_id"] = spanID
	}
	return f
}
