//go:build apachekafka

package crashtest

import (
	"errors"
	"net"
	"net/http"
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
// callers saw them. callers are the names of the workers by the address that
// each of them calls.
func callsIn(t testing.TB, book []gatewaysim.Entry, callers map[string]string) []world.Call {
	t.Helper()
	var calls []world.Call
	for _, e := range book {
		if e.CallsForgotten > 0 {
			t.Fatalf("%d calls of order %s are not in the book any more: raise History", e.CallsForgotten, e.OutTradeNo)
		}
		for _, c := range e.Calls {
			call := world.Call{
				Order: events.Order{MchID: e.MchID, SubMchID: e.SubMchID, OutTradeNo: e.OutTradeNo},
				Op:    c.Op, Caller: callers[c.Host], Host: c.Host, Start: c.Start, End: c.End, Answer: c.Answer,
			}
			if c.GaveUp {
				// The next call may come in before the gateway has noticed.
				if call.End = c.End.Add(-noticeAfter); call.End.Before(c.Start) {
					call.End = c.Start
				}
			}
			calls = append(calls, call)
		}
	}
	return calls
}
