//go:build apachekafka

package crashtest

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/world"
)

// gatewayHost is the gateway as one worker reaches it: an address of its own,
// so that the order book and the counters tell the workers apart.
type gatewayHost struct {
	addr     string
	inFlight atomic.Int64
}

func (h *gatewayHost) url() string { return "http://" + h.addr }

// serveGateway serves the simulator on one more address until the test ends.
func serveGateway(t testing.TB, sim *gatewaysim.Simulator) *gatewayHost {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &gatewayHost{addr: ln.Addr().String()}
	server := sim.Server()
	server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h.inFlight.Add(1)
		defer h.inFlight.Add(-1)
		sim.ServeHTTP(rw, r)
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close() // and so every call that goes on ends
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return h
}

// noticeAfter is how much later than the caller itself the gateway may see that
// the caller has given up a call, on a machine with much to do: 0.8 s were seen with
// ten programs for two processors. Where time is virtual it sees that at once
// (internal/world).
const noticeAfter = time.Second

// callsIn returns the calls in the book as the checker wants them: as their
// callers saw them. workers are those that made them, attempt is their
// gateway.attempt_timeout.
func callsIn(t testing.TB, book []gatewaysim.Entry, workers []*worker, attempt time.Duration) []world.Call {
	t.Helper()
	callers := make(map[string]*worker)
	for _, w := range workers {
		callers[w.host.addr] = w
	}
	var calls []world.Call
	for _, e := range book {
		if e.CallsForgotten > 0 {
			t.Fatalf("%d calls of order %s are not in the book any more: raise History", e.CallsForgotten, e.OutTradeNo)
		}
		for _, c := range e.Calls {
			call := world.Call{
				Order: events.Order{MchID: e.MchID, SubMchID: e.SubMchID, OutTradeNo: e.OutTradeNo},
				Op:    c.Op, Host: c.Host, Start: c.Start, End: c.End, Answer: c.Answer,
			}
			var gone []time.Time
			if w := callers[c.Host]; w != nil {
				call.Caller, gone = w.name, w.gone
			}
			call.End = endForCaller(c, attempt, gone)
			calls = append(calls, call)
		}
	}
	return calls
}

// endForCaller is when a call that the gateway has seen was over for its caller,
// at the latest. What the gateway noticed of that it noticed too late rather than
// too early; one that gets no processor for a second even answers a call that nobody
// waits for any more. So two facts bound it that no gateway has to notice: a caller
// gives a call up after attempt, counted from before the gateway saw it, and no call
// outlives its process. gone are the moments at which a process of the caller was
// seen to be gone, in order.
func endForCaller(c gatewaysim.Call, attempt time.Duration, gone []time.Time) time.Time {
	end := c.End
	if c.GaveUp {
		end = end.Add(-noticeAfter)
	}
	bounds := []time.Time{c.Start.Add(attempt)}
	if i := slices.IndexFunc(gone, c.Start.Before); i >= 0 {
		bounds = append(bounds, gone[i])
	}
	for _, bound := range bounds {
		if end.IsZero() || bound.Before(end) {
			end = bound
		}
	}
	if end.Before(c.Start) {
		return c.Start
	}
	return end
}

func TestACallEndsForItsCaller(t *testing.T) {
	at := func(s float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	const attempt = 2 * time.Second
	for name, test := range map[string]struct {
		call gatewaysim.Call
		gone []time.Time
		want time.Time
	}{
		"when it was answered": {gatewaysim.Call{Start: at(10), End: at(10.1)}, nil, at(10.1)},
		"when it was answered, by a process that was killed later": {gatewaysim.Call{Start: at(10), End: at(10.1)}, []time.Time{at(5), at(11)}, at(10.1)},
		"after its time-out, if the gateway answered later":        {gatewaysim.Call{Start: at(10), End: at(12.5)}, nil, at(12)},
		"when its process was gone, if the gateway answered later": {gatewaysim.Call{Start: at(10), End: at(11)}, []time.Time{at(5), at(10.5), at(10.8)}, at(10.5)},
		"a little before the gateway noticed that it was given up": {gatewaysim.Call{Start: at(10), End: at(11.5), GaveUp: true}, nil, at(10.5)},
		"not before it began":                               {gatewaysim.Call{Start: at(10), End: at(10.1), GaveUp: true}, nil, at(10)},
		"when its process was gone, if the gateway goes on": {gatewaysim.Call{Start: at(10)}, []time.Time{at(11)}, at(11)},
		"after its time-out, if the gateway goes on":        {gatewaysim.Call{Start: at(10)}, nil, at(12)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := endForCaller(test.call, attempt, test.gone); !got.Equal(test.want) {
				t.Errorf("it ends %v after its start, not %v", got.Sub(test.call.Start), test.want.Sub(test.call.Start))
			}
		})
	}
}
