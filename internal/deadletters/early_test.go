package deadletters

import (
	"testing"

	"github.com/closeorder/closeorder/events"
)

// The first outcome of a record counts, also where several come in before it is known
// that it was sent.
func TestTheFirstOfEarlyOutcomesCounts(t *testing.T) {
	for what, tt := range map[string]struct {
		results []events.Result
		failed  int
	}{
		"closed, and failed then": {[]events.Result{events.Closed, events.Failed}, 0},
		"failed, and closed then": {[]events.Result{events.Failed, events.Closed}, 1},
		"failed twice":            {[]events.Result{events.Failed, events.Failed}, 1},
	} {
		w := &watch{after: 9, pause: func(error) {}, ours: map[events.Source]bool{}, early: map[events.Source]early{}, codes: map[string]int{}}
		at := events.Source{Topic: "requests", Offset: 3}
		for _, result := range tt.results {
			w.answered(events.Outcome{Source: at, Result: result, Replay: 1})
		}
		w.sent(at)
		if w.failed != tt.failed || len(w.early) > 0 {
			t.Errorf("%s: %d failed, %d early", what, w.failed, len(w.early))
		}
	}
}
