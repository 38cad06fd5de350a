package world

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

func TestGoodDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w, err := New(Config{Brokers: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		obs, err := w.Observe()
		if err != nil {
			t.Fatal(err)
		}
		shop, err := w.OpenShop("shop")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"worker-0", "worker-1", "worker-2"} {
			if _, err := w.StartWorker(name, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := shop.Ask(t.Context(), Traffic{Seed: 1, Requests: 3000, Over: 60 * time.Second, Poison: .02, Repeats: .1, Hot: .05}.Publications()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := obs.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		counts := map[events.Result]int{}
		for _, r := range obs.Records("closeorder.outcomes") {
			o, err := events.DecodeOutcome(r.Message)
			if err != nil {
				t.Error(err)
			}
			counts[o.Result]++
		}
		t.Log(len(obs.Records("closeorder.requests")), len(obs.Records("closeorder.outcomes")), len(obs.Records("closeorder.dead-letters")), counts, obs.looks[0].Commits, w.Network.OpenEnds(), time.Since(begin), w.Gateway.Stats())
	})
}
