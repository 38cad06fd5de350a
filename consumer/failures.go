package consumer

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/remedies"
	"github.com/sirupsen/logrus"
)

const (
	// failuresEvery is how often the failures of one code and merchant are told of
	// while they go on. The first one is told at once.
	failuresEvery = 10 * time.Second
	// mostFailures bounds the groups, as order services name merchants and gateways
	// codes. Those of all others are one group.
	mostFailures = 200
)

// failures tells of requests that have failed: in one line for all of a code and a
// merchant, with how many and an example. 20,000 failed requests are a few lines,
// and one is a line. A log that is written slowly holds up who writes the line, and
// nobody else. It is safe for concurrent use.
type failures struct {
	log logrus.FieldLogger
	// writing is held where more than one line is written: none is left when close
	// returns. mu may be taken under it.
	writing sync.Mutex

	mu     sync.Mutex
	groups map[kindOfFailure]*failed
	timer  *time.Timer // tells of what has come together
	over   bool
}

// kindOfFailure is what failures are grouped by.
type kindOfFailure struct{ code, mchID string }

// failed are the failures of one kind while they go on.
type failed struct {
	since time.Time // of the first one
	all   int
	fresh int // since the last line
	last  Answer
}

func newFailures(log logrus.FieldLogger) *failures {
	return &failures{log: log, groups: make(map[kindOfFailure]*failed)}
}

// report is a line that is to be written when mu is not held.
type report struct {
	fields logrus.Fields
	text   string
}

func (f *failures) write(lines ...report) {
	for _, l := range lines {
		f.log.WithFields(l.fields).Warn(l.text)
	}
}

// add takes a failed request.
func (f *failures) add(a Answer) { f.write(f.taken(a)...) }

func (f *failures) taken(a Answer) (lines []report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	kind := kindOfFailure{a.Code, a.Order.MchID}
	group := f.groups[kind]
	if group == nil && len(f.groups) >= mostFailures {
		kind = kindOfFailure{"others", "others"}
		group = f.groups[kind]
	}
	if group == nil {
		group = &failed{since: now}
		f.groups[kind] = group
	}
	group.all++
	group.fresh++
	group.last = a
	if group.all == 1 || f.over {
		lines = append(lines, group.report(kind, 0))
	}
	if f.timer == nil && !f.over {
		f.timer = time.AfterFunc(failuresEvery, f.round)
	}
	return lines
}

// round tells of what has come since the last one, and forgets what goes on no
// more.
func (f *failures) round() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.write(f.fresh()...)
}

func (f *failures) fresh() (lines []report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timer = nil
	for kind, group := range f.groups {
		if group.fresh == 0 {
			delete(f.groups, kind)
			continue
		}
		lines = append(lines, group.report(kind, failuresEvery))
	}
	if len(f.groups) > 0 && !f.over {
		f.timer = time.AfterFunc(failuresEvery, f.round)
	}
	return lines
}

// close tells of what has not been told. What comes later is told at once.
func (f *failures) close() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.write(f.rest()...)
}

func (f *failures) rest() (lines []report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if f.timer != nil {
		f.timer.Stop()
	}
	for kind, group := range f.groups {
		if group.fresh > 0 {
			lines = append(lines, group.report(kind, failuresEvery))
		}
	}
	return lines
}

// report tells of a group; in is how long its fresh ones have come together, 0 for
// one that is told at once. failures.mu is held.
func (group *failed) report(kind kindOfFailure, in time.Duration) report {
	a := group.last
	text := fmt.Sprintf("%s %s: a request has failed: %s: %s", kind.code, kind.mchID, a.Order.OutTradeNo, a.Message)
	if in > 0 {
		text = fmt.Sprintf("%s %s: %d more requests have failed in %v, for example %s: %s", kind.code, kind.mchID, group.fresh, in, a.Order.OutTradeNo, a.Message)
	}
	fields := a.fields()
	maps.Copy(fields, logrus.Fields{
		"code": a.Code, "count": group.fresh, "since": group.since.UTC().Format(time.RFC3339), "remedy": remedies.For(a.Code),
	})
	group.fresh = 0
	return report{fields, text}
}

// fields name the request in the log, as request.fields does.
func (a *Answer) fields() logrus.Fields {
	f := logrus.Fields{
		"topic": a.Source.Topic, "partition": a.Source.Partition, "offset": a.Source.Offset,
		"mch_id": a.Order.MchID, "out_trade_no": a.Order.OutTradeNo,
	}
	if of := remoteOf(a.Traceparent, nil); of.IsValid() {
		f["trace_id"] = of.TraceID().String()
	}
	return f
}

// logged says what there is to tell of an answer in the log.
func (w *Worker) logged(a *Answer) {
	if a.Result == events.Failed {
		w.failures.add(*a)
	}
	if w.debugs {
		w.cfg.Log.WithFields(a.fields()).WithFields(logrus.Fields{
			"outcome": a.Result, "code": a.Code, "calls": a.Calls, "replay": a.Replay, "took": a.Took.Round(time.Millisecond), "safe_to_reissue": a.SafeToReissue,
		}).Debug("answered")
	}
}

// debugs says whether anybody reads lines at level debug; of a logger that does
// not say so it is taken to.
func debugs(log logrus.FieldLogger) bool {
	switch log := log.(type) {
	case *logrus.Logger:
		return log.IsLevelEnabled(logrus.DebugLevel)
	case *logrus.Entry:
		return log.Logger.IsLevelEnabled(logrus.DebugLevel)
	}
	return true
}
