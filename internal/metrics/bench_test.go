package metrics

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
)

// BenchmarkRequest is what metrics cost a request: a record, a call, a turn and an
// outcome.
func BenchmarkRequest(b *testing.B) {
	m := New(Config{Merchants: 100})
	attempt := closer.Attempt{Call: closer.CallClose, Host: gatewayURL, Class: closer.Closed, Code: "SUCCESS", Duration: 20 * time.Millisecond}
	done := answer("1900000109", events.Closed, "SUCCESS")
	turn := consumer.Turn{Class: consumer.Closed}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		m.Took(requests)
		m.Attempt(ctx, attempt)
		m.Called(turn)
		m.Answered(done)
	}
}

// BenchmarkScrape is what a scrape costs: of a worker that does its work, and of one
// whose series are as many as can be.
func BenchmarkScrape(b *testing.B) {
	for name, merchants := range map[string]int{"usual": 0, "flooded": 1000} {
		b.Run(name, func(b *testing.B) {
			m := busy(b)
			if merchants > 0 {
				m = New(Config{Merchants: 100})
				flood(m, merchants, merchants, 5, 60)
			}
			handler, ask := m.Handler(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), ask)
			}
		})
	}
}
