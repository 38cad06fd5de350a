package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/metrics"
)

// autoscaler does what a Kubernetes cluster does for a KEDA ScaledObject with a
// Prometheus trigger of the kind AverageValue, and all else at its defaults:
//
//   - Prometheus scrapes each pod every 15 s. The series of a pod that is deleted are
//     marked stale at the second scrape that would follow, and a tenth of the
//     interval later (endOfRunStaleness of its scrape loop). Until then the last
//     sample counts, beside what the others say.
//   - The HorizontalPodAutoscaler asks every 15 s; KEDA asks Prometheus each time,
//     as its pollingInterval of 30 s is about scaling from and to nothing. It wants
//     ceil(sum/threshold) pods, or leaves their number alone where the sum is within a
//     tenth of what they may have (GetExternalPerPodMetricReplicas).
//   - It adds at most as many as there were 15 s ago, or four. It takes away down to
//     the most that it wanted in the last five minutes.
//
// Where no pod says anything the sum is an error, and the number stays.
type autoscaler struct {
	*stage
	threshold float64
	most      int
	static    bool // a StatefulSet with static ids; else a Deployment
	looks     bool // it only looks, and changes nothing
	what      func(scraped map[string]float64) float64

	random  *rand.Rand
	pods    []*pod
	gone    []*pod // of which samples may still count
	made    int
	wanted  []wanted
	seen    []observation
	history []scaling
}

// pod is a worker with its metrics, as Prometheus has them.
type pod struct {
	*Worker
	name    string
	metrics *metrics.Metrics
	starts  time.Time // when its process does
	sample  float64
	sampled bool
	stale   time.Time // of one that is gone: from when on its sample does not count
}

// wanted is a recommendation.
type wanted struct {
	at   time.Time
	pods int
}

// observation is what it saw, and when.
type observation struct {
	at   time.Time
	sum  float64
	pods int
}

// scaling is a change of the number of pods.
type scaling struct {
	at       time.Time
	from, to int
	sum      float64
}

func (e scaling) String() string { return fmt.Sprintf("%d->%d for %v", e.from, e.to, e.sum) }

const (
	scrapeEvery = 15 * time.Second
	syncEvery   = 15 * time.Second
	stabilize   = 5 * time.Minute
	// podStarts is how long a pod takes until its process runs.
	podStarts = 10 * time.Second
)

// dueNow is what the workers are to be scaled on, lag what they are not to be.
func dueNow(scraped map[string]float64) float64 { return scraped["closeorder_due_now"] }

func lag(scraped map[string]float64) (sum float64) {
	for series, v := range scraped {
		if strings.HasPrefix(series, "closeorder_partition_lag{") {
			sum += v
		}
	}
	return sum
}

// autoscale begins with so many pods.
func (s *stage) autoscale(pods int, static bool, what func(map[string]float64) float64) *autoscaler {
	a := &autoscaler{stage: s, threshold: threshold, most: 4, static: static, what: what, random: rand.New(rand.NewPCG(1, 15))}
	for range pods {
		a.add(0)
	}
	a.wanted = []wanted{{time.Now(), pods}} // as a controller does that finds them
	return a
}

// add makes one more pod: with the next name, or with the next ordinal.
func (a *autoscaler) add(in time.Duration) {
	a.made++
	name := fmt.Sprintf("worker-%d", a.made)
	if a.static {
		name = fmt.Sprintf("worker-%d", len(a.pods))
	}
	a.pods = append(a.pods, &pod{name: name, starts: time.Now().Add(in)})
}

// remove deletes a pod: the one with the highest ordinal, or any. SIGTERM ends its
// process, within its grace.
func (a *autoscaler) remove() {
	i := len(a.pods) - 1
	if !a.static {
		i = a.random.IntN(len(a.pods))
	}
	p := a.pods[i]
	a.pods = append(a.pods[:i:i], a.pods[i+1:]...)
	if p.Worker != nil {
		p.stop()
		p.stale = time.Now().Truncate(scrapeEvery).Add(2*scrapeEvery + scrapeEvery/10)
		a.gone = append(a.gone, p)
	}
}

// start starts the processes that are due. One of a StatefulSet waits until the one
// of its name before has ended.
func (a *autoscaler) start() {
	a.t.Helper()
	for _, p := range a.pods {
		if p.Worker != nil || time.Now().Before(p.starts) || a.static && a.ending(p.name) {
			continue
		}
		var tune func(*config.Config)
		if a.static {
			tune = static(p.name)
		}
		p.Worker = a.worker(p.name, tune)
		p.metrics = metrics.New(metrics.Config{})
		p.metrics.Watch(p.is.State, p.is.Hosts)
	}
}

func (a *autoscaler) ending(name string) bool {
	for _, p := range a.gone {
		if p.name == name && !p.hasEnded() {
			return true
		}
	}
	return false
}

// scrape takes the samples, from the /metrics of each pod.
func (a *autoscaler) scrape() {
	a.t.Helper()
	for _, p := range a.pods {
		if p.Worker == nil {
			continue
		}
		rec := httptest.NewRecorder()
		p.metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		scraped := make(map[string]float64)
		for line := range strings.Lines(rec.Body.String()) {
			if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
				scraped[line[:i]], _ = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			}
		}
		if scraped["closeorder_state_readable"] != 1 {
			a.t.Errorf("%s did not tell its state: status %d", p.name, rec.Code)
		}
		p.sample, p.sampled = a.what(scraped), true
	}
}

// sync is what the HorizontalPodAutoscaler does.
func (a *autoscaler) sync() {
	now, sum, known := time.Now(), 0.0, false
	for _, p := range a.pods {
		if p.sampled {
			sum, known = sum+p.sample, true
		}
	}
	for _, p := range a.gone {
		if p.sampled && now.Before(p.stale) {
			sum, known = sum+p.sample, true
		}
	}
	is := len(a.pods)
	a.seen = append(a.seen, observation{now, sum, is})
	if !known {
		return
	}
	want := is
	if ratio := sum / (a.threshold * float64(is)); math.Abs(1-ratio) > .1 {
		want = int(math.Ceil(sum / a.threshold))
	}
	want = min(max(want, 1), a.most)
	a.wanted = slices.DeleteFunc(a.wanted, func(w wanted) bool { return now.Sub(w.at) >= stabilize })
	a.wanted = append(a.wanted, wanted{now, want})
	switch {
	case want > is:
		want = min(want, max(2*is, is+4))
	case want < is:
		for _, w := range a.wanted {
			want = max(want, min(w.pods, is))
		}
	}
	if want == is || a.looks {
		return
	}
	a.history = append(a.history, scaling{now, is, want, sum})
	for range want - is {
		a.add(podStarts)
	}
	for range is - want {
		a.remove()
	}
}

// plays lets time pass, with all that goes on in it.
func (a *autoscaler) plays(d time.Duration) {
	a.t.Helper()
	const tick = 5 * time.Second
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := a.began.Add(time.Since(a.began).Truncate(tick) + tick)
		if next.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(next))
		a.start()
		switch at := next.Sub(a.began); {
		case at%scrapeEvery == 0:
			a.scrape()
			a.look()
		case at%syncEvery == 2*tick:
			a.sync()
		}
	}
}

// playsUntil lets time pass until all is answered, at most so long.
func (a *autoscaler) playsUntil(atMost time.Duration) {
	a.t.Helper()
	for end := time.Now().Add(atMost); ; {
		a.plays(15 * time.Second)
		open := a.observer.unanswered(a.World)
		if open == 0 {
			return
		}
		if time.Now().After(end) {
			a.t.Fatalf("%v later %d are not answered: %v", atMost, open, a.report())
		}
	}
}

// scaled are the changes from a time on, or until then.
func (a *autoscaler) scaled(from, to time.Time) (all []scaling) {
	for _, e := range a.history {
		if !e.at.Before(from) && e.at.Before(to) {
			all = append(all, e)
		}
	}
	return all
}

// largest is the largest sum that it saw in a span, of at least one.
func (a *autoscaler) largest(from, to time.Time) (sum float64) {
	a.t.Helper()
	looks := 0
	for _, s := range a.seen {
		if !s.at.Before(from) && s.at.Before(to) {
			looks++
			sum = max(sum, s.sum)
		}
	}
	if looks == 0 {
		a.t.Fatalf("it saw nothing from %v to %v", from, to)
	}
	return sum
}

// highest is the most pods that there were.
func (a *autoscaler) highest() (most int) {
	for _, s := range a.seen {
		most = max(most, s.pods)
	}
	return most
}

// steady checks that their number went up, and then down, and up no more.
func (a *autoscaler) steady() {
	a.t.Helper()
	down := false
	for _, e := range a.history {
		if down = down || e.to < e.from; down && e.to > e.from {
			a.t.Errorf("it scales out, in and out again: %v", a.history)
			return
		}
	}
	if len(a.history) > 2*(a.most-1) {
		a.t.Errorf("%d changes: %v", len(a.history), a.history)
	}
}

// report is what it saw, a line for each change.
func (a *autoscaler) report() string {
	var b strings.Builder
	for i, s := range a.seen {
		if i == 0 || i == len(a.seen)-1 || a.seen[i-1].pods != s.pods || math.Abs(a.seen[i-1].sum-s.sum) > a.threshold/4 {
			fmt.Fprintf(&b, "\n%v: %v due, %d workers", s.at.Sub(a.began).Round(time.Second), s.sum, s.pods)
		}
	}
	return b.String()
}
