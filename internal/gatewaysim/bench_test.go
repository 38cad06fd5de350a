package gatewaysim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

// One close at the handler, without a network: what the simulator itself
// costs.
func BenchmarkClose(b *testing.B) {
	s := newSimulator(b, Config{History: -1})
	c := newClient("", nil)
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = document(c.fields(fmt.Sprint("T", i)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w := httptest.NewRecorder()
		r, err := http.NewRequest(http.MethodPost, "/pay/closeorder", bytes.NewReader(bodies[i]))
		if err != nil {
			b.Fatal(err)
		}
		s.ServeHTTP(w, r)
		if w.Body.Len() < 300 {
			b.Fatal(w.Body)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
}

// One close over the loopback interface, client included.
func BenchmarkCloseTCP(b *testing.B) {
	c := serveTCP(b, newSimulator(b, Config{History: -1}))
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = document(c.fields(fmt.Sprint("T", i)))
	}
	next := make(chan []byte, len(bodies))
	for _, body := range bodies {
		next <- body
	}
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := c.http.Post(c.base+"/pay/closeorder", "text/xml", bytes.NewReader(<-next))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
}

// The memory of one closed order without history.
func BenchmarkMemory(b *testing.B) {
	s := newSimulator(b, Config{History: -1})
	c := newClient("", nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range b.N {
		w := httptest.NewRecorder()
		r, err := http.NewRequest(http.MethodPost, "/pay/closeorder", bytes.NewReader(document(c.fields(fmt.Sprintf("ORDER-2026-%010d", i)))))
		if err != nil {
			b.Fatal(err)
		}
		s.ServeHTTP(w, r)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "bytes/order")
	runtime.KeepAlive(s)
}
