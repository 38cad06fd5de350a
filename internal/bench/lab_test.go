//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/bench/gateway"
)

// TestMain lets this binary be what the lab starts: itself, in a role.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](context.Background(), []byte(os.Args[2])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestTheLabMeasuresAPeer runs the whole with few requests: broker, gateway and
// worker in processes of their own.
func TestTheLabMeasuresAPeer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	log, err := openLog("")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l := &lab{log: log}
	mixed := gateway.Config{Latency: time.Millisecond, Paid: .2, Closed: .2}
	for sentence, c := range map[string]struct {
		scenario scenario
		over     string
	}{
		"a load comes to a worker":      {scenario{gateway: mixed, flows: []flow{{n: 400, healthy: true}}, inFlight: 16, ideal: true}, httpOver},
		"a load comes to it over TLS":   {scenario{gateway: mixed, flows: []flow{{n: 400, healthy: true}}, inFlight: 16}, tlsOver},
		"a worker comes to a load":      {scenario{gateway: mixed, flows: []flow{{n: 400, healthy: true}}, waiting: true}, httpOver},
		"one merchant gets no call out": {scenario{flows: []flow{{n: 5}, {merchant: 1, n: 40, rate: 200, healthy: true}}, gateway: gateway.Config{Merchants: map[string]gateway.Trouble{merchants[0]: {Latency: time.Hour}}}}, httpOver},
	} {
		f, err := l.run(t.Context(), c.scenario, c.over, program{name: reference})
		if err != nil {
			t.Fatalf("%s: %v%s", sentence, err, tail(log))
		}
		if f.Lost != 0 || f.Repeated != 0 || f.PerSecond <= 0 || f.PeakMiB <= 0 || f.P50 < 0 || f.P99 < f.P50 {
			t.Errorf("%s: %+v", sentence, f)
		}
		if c.scenario.gateway.Paid > 0 && (f.Answered != 400 || f.Outcomes["paid"] == 0 || f.Outcomes["closed"]+f.Outcomes["paid"] != 400) {
			t.Errorf("%s: %+v", sentence, f)
		}
		if c.scenario.ideal != (f.Ideal > 0) || c.scenario.waiting != (f.First > 0) {
			t.Errorf("%s: %+v", sentence, f)
		}
	}
}

func TestAWorkerThatEndsIsNoResult(t *testing.T) {
	log, err := openLog("")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := scenario{flows: []flow{{n: 1, healthy: true}}, waiting: true}
	if f, err := (&lab{log: log}).run(t.Context(), s, httpOver, program{name: "no such peer"}); err == nil {
		t.Errorf("%+v", f)
	}
}
