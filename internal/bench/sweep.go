package main

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/internal/bench/gateway"
)

// Swept is one point of the plot.
type Swept struct {
	Program string
	// LatencyMs is the gateway's, Limit the most calls at one time.
	LatencyMs, Limit int
	// PerSecond is of a burst, P99 in ms of a load of half as much, at most
	// pacedAtMost.
	PerSecond, P99 float64
}

var (
	sweptLatencies = []int{0, 5, 20, 50, 100, 200} // ms
	sweptLimits    = []int{16, 64, 256, 1024}
)

const (
	pacedAtMost  = 1000.0 // per second
	pacedSeconds = 3
)

// sweep measures one point.
func (l *lab) sweep(ctx context.Context, p program, latencyMs, limit int) (Swept, error) {
	n := 8000
	if latencyMs > 0 {
		n = min(n, 2*limit*1000/latencyMs) // 2 s
	}
	s := scenario{
		gateway: gateway.Config{Latency: time.Duration(latencyMs) * time.Millisecond}, inFlight: limit, flows: []flow{{n: n, healthy: true}},
	}
	stage, err := l.stage(ctx, httpOver, partitions, s.gateway)
	if err != nil {
		return Swept{}, err
	}
	defer stage.close()
	if err := p.prepare(ctx, stage, s); err != nil {
		return Swept{}, err
	}
	m := &measurement{stage: stage, scenario: s, flows: s.flows, program: p}
	defer m.close()
	if err := m.loaded(ctx); err != nil {
		return Swept{}, err
	}
	point := Swept{Program: p.name, LatencyMs: latencyMs, Limit: limit, PerSecond: float64(m.answered-m.before) / m.to.at.Sub(m.begun).Seconds()}
	rate := min(point.PerSecond/2, pacedAtMost)
	m.flows[0].healthy = false
	m.flows = append(m.flows, flow{n: int(pacedSeconds * rate), rate: rate, healthy: true})
	if err := stage.pace(ctx, letters[1:2], m.flows[1]); err != nil {
		return Swept{}, err
	}
	if _, err := m.until(ctx, m.before+m.requests(), patience); err != nil {
		return Swept{}, err
	}
	m.to = stage.usage(m.worker)
	f, err := m.figures(ctx)
	point.P99 = f.P99
	return point, err
}
