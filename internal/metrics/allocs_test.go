//go:build !race

package metrics

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
)

// What is told on the way of every request costs no garbage: neither what was seen
// before, nor what comes too late to have a series of its own. The race detector
// allocates itself.
func TestTellingAllocatesNothing(t *testing.T) {
	m := New(Config{Merchants: 1})
	m.Answered(answer("1900000109", events.Failed, "FIRST"))
	for i := range mostCodes { // no room for more
		m.code("CODE_" + string(rune('A'+i%26)) + string(rune('A'+i/26)))
	}
	known, late := answer("1900000109", events.Closed, "SUCCESS"), answer("1900000110", events.Failed, "LATE")
	attempt := closer.Attempt{Call: closer.CallClose, Host: gatewayURL, Class: closer.Closed, Code: "SUCCESS", Duration: 20 * time.Millisecond}
	for sentence, tell := range map[string]func(){
		"a record":                              func() { m.Took(requests) },
		"a turn":                                func() { m.Called(consumer.Turn{Class: consumer.Closed}) },
		"a call":                                func() { m.Attempt(t.Context(), attempt) },
		"an outcome":                            func() { m.Answered(known) },
		"an outcome of a merchant without room": func() { m.Answered(late) },
		"a wait":                                func() { m.PutOff(consumer.PutOff{Topic: retries, Code: "SYSTEMERROR"}) },
		"a batch":                               func() { m.Published(outcomes, 3, time.Millisecond, nil) },
		"a commit":                              func() { m.Committed(time.Millisecond, nil) },
	} {
		tell()
		if got := testing.AllocsPerRun(200, tell); got > 0 {
			t.Errorf("%s: %v allocations", sentence, got)
		}
	}
}
