//go:build apachekafka

package crashtest

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/world"
)

// TestBothGuaranteesInOneGroup goes over from at_least_once to exactly_once, one
// worker after the other, all of them killed under load and not only restarted.
// Nothing is lost meanwhile, and what comes again goes back to a worker that had not
// gone over. Either that wrote one of the outcomes, or it wrote a retry record and
// died before it could commit the request's offset: then a worker that has gone over
// answers both, the request and the retry, each once.
func TestBothGuaranteesInOneGroup(t *testing.T) {
	const perSecond, each = 200, 3
	began := time.Now()
	r, seed := random(t)
	t.Logf("seed %d", seed)
	names := []string{"worker-0", "worker-1", "worker-2"}
	s := newStage(t, settings{
		gateway: realGateway(seed), partitions: 6, workers: names, static: names[:2], guarantee: atLeastOnce, inFlight: 128,
	})
	s.startAll()
	var done disturbances
	sent := s.underLoad(perSecond, mixedTraffic(seed), func() {
		for _, w := range s.workers {
			// The last start of the one that goes over is with the new guarantee.
			most := done.kills + each
			s.killWorkers(r, &done, func() bool { return done.kills < most })
			s.must(w.kill())
			done.kills++
			w.env = append(w.env, "CLOSEORDER_PROCESSING_GUARANTEE="+exactlyOnce)
			s.must(w.start())
			done.starts++
			s.note("%s has gone over", w.name)
		}
		most := done.kills + each
		s.killWorkers(r, &done, func() bool { return done.kills < most })
	})
	report, e := s.conclude(sent, done, began)
	if lost := sent - report.Requests + report.Waiting + report.Open + report.Count(world.Hole); lost != 0 {
		t.Errorf("%d of %d requests are lost: %v", lost, sent, report)
	}
	// outside counts the retries of a request that were written in no transaction.
	// Each of them may be answered in a transaction, and the request too.
	outside := make(map[events.Source]int)
	for _, r := range e.Retries {
		if !r.Transactional {
			outside[world.SourceOf(r.Message)]++
		}
	}
	before, within := 0, make(map[events.Source]int) // outcomes by whether they are in transactions, these by their requests
	for _, r := range e.Outcomes {
		o, err := events.DecodeOutcome(r.Message)
		s.must(err)
		if !r.Transactional {
			before++
			continue
		}
		if within[o.Source]++; within[o.Source] > 1+outside[o.Source] {
			t.Errorf("%s %s is the outcome of %d transactions, and of a request with %d retries outside of transactions\n%s",
				o.Result, o.ID, within[o.Source], outside[o.Source], e.History(o.Order()))
		}
	}
	if before == 0 || len(within) == 0 {
		t.Errorf("%d outcomes of workers with %s, %d requests with one of those with %s: want both", before, atLeastOnce, len(within), exactlyOnce)
	}
	t.Logf("%d outcomes in no transaction, %d requests with one in a transaction: %d repeats", before, len(within), report.Duplicates+report.Overtaken)
}
