package consumer

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
)

func TestRetriesApartFromTheirRequestsAreTold(t *testing.T) {
	const patience = time.Minute
	counts := map[string]int{"q": 3, "r1": 3, "r2": 3}
	whole := map[string][]int{"q": {0, 1}, "r1": {0, 1}, "r2": {0, 1}}
	alone := map[string][]int{"q": {0}, "r1": {0, 2}, "r2": {0, 2}}
	const lost = "lost"
	for sentence, c := range map[string]struct {
		steps []any // assignments, or lost; and what follows them
		want  []string
	}{
		"what belongs together is together": {[]any{whole, time.Hour}, nil},
		"retries are alone":                 {[]any{alone, time.Hour}, []string{"[2] []"}},
		"requests are":                      {[]any{map[string][]int{"q": {0, 1}, "r1": {1}, "r2": {1}}, time.Hour}, []string{"[] [0]"}},
		"requests without one retry topic":  {[]any{map[string][]int{"q": {0}, "r1": {0}}, time.Hour}, []string{"[] [0]"}},
		"nothing is assigned":               {[]any{map[string][]int{}, time.Hour}, nil},
		"for as long as something moves":    {[]any{alone, patience - time.Second, whole, time.Hour}, nil},
		"other rebalances come meanwhile":   {[]any{alone, patience / 2, alone, patience/2 + time.Second}, []string{"[2] []"}},
		"it stays so":                       {[]any{alone, time.Hour, alone, time.Hour}, []string{"[2] []"}},
		"it comes again":                    {[]any{alone, time.Hour, whole, alone, time.Hour}, []string{"[2] []", "[2] []"}},
		"the membership is lost":            {[]any{alone, patience / 2, lost, time.Hour, alone, patience - time.Second}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, lines := logtest.NewNullLogger()
				var wg sync.WaitGroup
				a := apart{topics: Topics{Requests: "q", Retries: []Tier{{Topic: "r1"}, {Topic: "r2"}}}, patience: patience, log: log, wg: &wg}
				for _, step := range c.steps {
					switch step := step.(type) {
					case map[string][]int:
						a.look(t.Context(), step, counts)
					case time.Duration:
						time.Sleep(step)
						synctest.Wait()
					default:
						a.forget()
					}
				}
				var got []string
				for _, e := range lines.AllEntries() {
					got = append(got, fmt.Sprint(e.Data["retries_alone"], " ", e.Data["requests_alone"]))
					if !strings.HasPrefix(e.Message, "ALARM: ") {
						t.Error(e.Message)
					}
				}
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("told is %q, want %q", got, c.want)
				}
				a.forget()
				wg.Wait()
			})
		})
	}
}

// With another number of partitions a retry topic has no partition of the same
// number: that is told in words of its own, see assignment.compare.
func TestARetryTopicWithOtherPartitionsIsNotCalledApart(t *testing.T) {
	a := apart{topics: Topics{Requests: "q", Retries: []Tier{{Topic: "r1"}, {Topic: "r2"}}}}
	retries, requests := a.numbers(map[string][]int{"q": {0, 1}, "r1": {0, 1}}, map[string]int{"q": 2, "r1": 2, "r2": 1})
	if len(retries)+len(requests) > 0 {
		t.Errorf("alone are the retries %v and the requests %v", retries, requests)
	}
}
