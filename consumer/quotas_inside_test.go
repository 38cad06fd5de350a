package consumer

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
)

func TestQuotasThatHoldTheWorkerBackAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := test.NewNullLogger()
		q := newQuotas(log, nil, new(recent))
		for range 70 {
			q.throttled(1, "Produce", 3*time.Second)
			q.throttled(2, "Produce", time.Second)
			q.throttled(2, "Fetch", heldLong)
			q.throttled(3, "Fetch", heldLong-1) // shows nowhere
			time.Sleep(time.Second)
		}
		var told []string
		for _, e := range said.AllEntries() {
			told = append(told, fmt.Sprintf("%v %v %v %v", e.Level, e.Data["broker"], e.Data["request"], e.Data["wait"]))
		}
		once := []string{"warning 1 Produce 3s", "warning 2 Produce 1s", "warning 2 Fetch 100ms"}
		if !slices.Equal(told, slices.Concat(once, once)) {
			t.Errorf("%q", told)
		}
	})
}
