package audit_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/world"
)

// TestAuditsOfLiveWorkers audits again and again while workers serve, put
// off, die and come back, and agrees at the end with the world's own checker,
// which shares no code with it.
func TestAuditsOfLiveWorkers(t *testing.T) {
	for _, guarantee := range []string{config.AtLeastOnce, config.ExactlyOnce} {
		t.Run(guarantee, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { auditLiveWorkers(t, guarantee) }) })
	}
}

func auditLiveWorkers(t *testing.T, guarantee string) {
	w, err := world.New(world.Config{
		Brokers: 3,
		Gateway: gatewaysim.Config{Latency: gatewaysim.Latency{Min: 50 * time.Millisecond, Max: 400 * time.Millisecond}},
		Tune: func(c *config.Config) {
			c.ProcessingGuarantee = guarantee
			c.Topics.RetryDelays = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}
		},
	})
	must(t, err)
	observer, err := w.Observe()
	must(t, err)
	shop, err := w.OpenShop("shop")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	client := kafka.Open(kafka.Config{Brokers: w.Kafka.Addrs(), Dial: w.Network.Boot("auditor").DialContext})
	defer func() {
		cancel()
		client.Close()
		must(t, w.Close())
	}()
	scope := audit.Scope{
		Reader: &kafka.Reader{Client: client},
		Group:  w.Config.Kafka.Group,
		Topics: w.Config.Topics,
	}
	look := func() *audit.Report {
		s, err := audit.Take(ctx, scope)
		must(t, err)
		r, err := s.Audit(ctx, audit.Options{Limit: 5, ExactlyOnce: guarantee == config.ExactlyOnce})
		must(t, err)
		if !r.Balanced || r.OutcomesWithoutRequest.Sum() != 0 || r.Unreadable != 0 {
			t.Errorf("%+v", *r)
		}
		return r
	}
	var workers []*world.Worker
	for i := range 3 {
		wk, err := w.StartWorker(fmt.Sprint("worker-", i), nil)
		must(t, err)
		workers = append(workers, wk)
	}
	asked := make(chan error, 2)
	ask := func(tr world.Traffic) { asked <- shop.Ask(ctx, tr.Publications()) }
	go ask(world.Traffic{Seed: 1, Requests: 300, Over: 3 * time.Minute, Poison: .05, Repeats: .1, Copies: .02})
	go ask(world.Traffic{Seed: 2, Requests: 60, Over: time.Minute, Behaviours: []string{"FLAKY", "DEAD", "PAID", "SYSERR"}})
	waiting, flight := int64(0), int64(0)
	for i := range 40 {
		time.Sleep(5 * time.Second)
		switch i {
		case 6:
			workers[0].Kill()
		case 12:
			_, err := w.StartWorker("worker-0", nil)
			must(t, err)
		case 18:
			must(t, workers[1].Stop())
		}
		r := look()
		waiting, flight = waiting+r.Waiting, flight+r.InFlight
	}
	for range 2 {
		must(t, <-asked)
	}
	time.Sleep(15 * time.Minute)
	_, err = observer.Look(ctx)
	must(t, err)
	evidence := w.Evidence(observer)
	evidence.Settled = true
	want, got := world.Check(evidence), look()
	if got.Waiting+got.InFlight+got.Unproven != 0 || int(got.Requests) != want.Requests ||
		int(got.Closed) != want.Closed || int(got.Paid) != want.Paid || int(got.Failed) != want.Failed ||
		int(got.Duplicates+got.DuplicatesThatDiffer) != want.Duplicates || int(got.DeadLetters) != want.DeadLetters {
		t.Errorf("the checker says %v\nthe audit says %+v", want, *got)
	}
	if len(want.Findings) > 0 {
		t.Errorf("the checker found %v", want.Findings)
	}
	if flight == 0 || waiting == 0 || want.Failed == 0 {
		t.Errorf("too little went on: %d in flight, %d waiting, %v", flight, waiting, want)
	}
	t.Logf("%v", want)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
