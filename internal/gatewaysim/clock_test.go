package gatewaysim_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// The Date header is what tells of a clock that is wrong.
func TestAClockThatIsAheadIsToldInTheDateHeader(t *testing.T) {
	const ahead = 10 * time.Minute
	sim, err := gatewaysim.New(gatewaysim.Config{ClockAhead: ahead})
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Truncate(time.Second)
	reply := httptest.NewRecorder()
	sim.ServeHTTP(reply, httptest.NewRequest(http.MethodHead, "/", http.NoBody))
	date, err := http.ParseTime(reply.Header().Get("Date"))
	if err != nil || date.Before(before.Add(ahead)) || date.After(time.Now().Add(ahead)) {
		t.Errorf("Date is %v, %v; want one %v ahead", date, err, ahead)
	}
}
