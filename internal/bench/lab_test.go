//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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

// TestWhatWasAbortedIsNoOutcome: the lab reads committed, to the last stable
// offset, past markers.
func TestWhatWasAbortedIsNoOutcome(t *testing.T) {
	log, err := openLog("")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx := t.Context()
	s, err := (&lab{log: log}).stage(ctx, httpOver, partitions, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	r, err := newReader(s)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	flows := []flow{{n: 40, healthy: true}}
	if err := s.load(ctx, flows); err != nil {
		t.Fatal(err)
	}
	writer, err := kgo.NewClient(kgo.SeedBrokers(s.address), kgo.TransactionalID("t"), kgo.DefaultProduceTopic(outcomesTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	begin := func(from, to int) error {
		if err := writer.BeginTransaction(); err != nil {
			return err
		}
		var rs []*kgo.Record
		for i := from; i < to; i++ {
			rs = append(rs, &kgo.Record{Key: fmt.Appendf(nil, "A%011d", i), Value: []byte(`{"outcome":"closed"}`)})
		}
		return writer.ProduceSync(ctx, rs...).FirstErr()
	}
	commit := func() error { return writer.EndTransaction(ctx, kgo.TryCommit) }
	tally, err := newTally(s, len(flows))
	if err != nil {
		t.Fatal(err)
	}
	defer tally.close()
	for _, c := range []struct {
		sentence       string
		do             func() error
		open, repeated int
	}{
		{"aborted, and more than there are requests", func() error { return errors.Join(begin(0, 50), writer.EndTransaction(ctx, kgo.TryAbort)) }, 40, 0},
		{"committed", func() error { return errors.Join(begin(0, 20), commit()) }, 20, 0},
		{"still open", func() error { return begin(20, 40) }, 20, 0},
		{"committed at last", commit, 0, 0},
		{"written again", func() error { return errors.Join(begin(0, 5), commit()) }, 0, 5},
	} {
		if err := errors.Join(c.do(), tally.read(ctx)); err != nil {
			t.Fatal(c.sentence, err)
		}
		if tally.open(flows) != c.open || tally.repeated != c.repeated || tally.byName["of no request"] != 0 {
			t.Errorf("%s: %d requests open, %d repeated, %v; want %d and %d", c.sentence, tally.open(flows), tally.repeated, tally.byName, c.open, c.repeated)
		}
	}
	for r.outcomes() < 45 && sleep(ctx, time.Millisecond) {
	}
	if n := len(r.times()); n != 40 {
		t.Errorf("the reader had outcomes of %d orders, want 40", n)
	}
	if seen := tally.seen(flows, r.times(), time.Time{}); len(seen) != 40 || seen[0] < 0 {
		t.Errorf("%v", seen)
	}
}

// TestTheCPUOfAChildCounts: an Apache Kafka is the child of what the lab starts.
func TestTheCPUOfAChildCounts(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `exec 3<&0; (i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; echo done; read line <&3) & wait`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if all, own := p.cpu(), cpuOf(strconv.Itoa(cmd.Process.Pid)); all <= own {
		t.Errorf("%v with its child, %v without", all, own)
	}
	in.Close()
	<-p.ended
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
