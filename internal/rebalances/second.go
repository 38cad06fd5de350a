package rebalances

import (
	"math"
	"slices"
	"time"
)

// Second is what happened in one second of a scene.
type Second struct {
	Published int `json:"published"`
	Answered  int `json:"answered"`
	// Late is the longest, in milliseconds, that a request of this second was
	// published later than it was due: what the machine has to do besides.
	Late float64 `json:"late"`
	// ByOwner counts the answers of each process.
	ByOwner map[string]int `json:"by_owner"`
	// ByClass divides all by what happened to its partition in this second.
	ByClass map[Class]Share `json:"by_class"`
	// Beside is what the worker that nobody disturbed did in it.
	Beside Share `json:"beside,omitzero"`
}

// Share is a part of a [Second].
type Share struct {
	Partitions int `json:"partitions"`
	// Published and Answered count the requests that were published to these
	// partitions in this second, and those that were answered in it.
	Published int `json:"published"`
	Answered  int `json:"answered"`
	// Latency is how long those published in this second waited. A request
	// is of the class of its partition while it waited.
	Latency
}

// percent is how many of what was published in a second were answered in it; -1 where
// nothing was.
func (s Share) percent() float64 {
	if s.Published == 0 {
		return -1
	}
	return math.Round(1000*float64(s.Answered)/float64(s.Published)) / 10
}

// Latency is how long requests waited for their outcomes, in milliseconds: by
// nearest rank, and 0 where there were none.
type Latency struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// view is a scene with what belongs to it.
type view struct {
	Scene
	requests  []Request // published or answered in it
	handovers []handover
	moving    map[int][]handover // by partition
}

func newView(s Scene, requests []Request, all []handover) *view {
	v := &view{Scene: s, moving: make(map[int][]handover)}
	for _, r := range requests {
		if v.has(r.Published) || v.has(r.Answered) {
			v.requests = append(v.requests, r)
		}
	}
	for _, h := range all {
		if h.touches(s.From, s.To) {
			v.handovers = append(v.handovers, h)
			v.moving[h.partition] = append(v.moving[h.partition], h)
		}
	}
	return v
}

func (v *view) has(t time.Time) bool { return !t.Before(v.From) && t.Before(v.To) }

// at is a time in seconds since the scene began, to the millisecond.
func (v *view) at(t time.Time) float64 { return math.Round(t.Sub(v.From).Seconds()*1000) / 1000 }

// class is the worst of what happens to a partition in a span of time.
func (v *view) class(partition int, from, to time.Time) Class {
	worst := Stays
	for _, h := range v.moving[partition] {
		if h.touches(from, to) && slices.Index(classes[:], h.class) > slices.Index(classes[:], worst) {
			worst = h.class
		}
	}
	return worst
}

// classOf is what happened to the partition of a request while it waited. What
// is never answered waits until the end.
func (v *view) classOf(r Request) Class {
	if r.Answered.IsZero() {
		return v.class(r.Partition, r.Published, v.To)
	}
	return v.class(r.Partition, r.Published, r.Answered)
}

// seconds are the whole seconds of the scene.
func (v *view) seconds() []Second {
	partitions := make(map[int]bool)
	for _, r := range v.requests {
		partitions[r.Partition] = true
	}
	out := make([]Second, int(v.To.Sub(v.From)/time.Second))
	shares := make([]map[Class]*Share, len(out))
	classes := make([]map[int]Class, len(out))
	waited := make([]map[Class][]time.Duration, len(out))
	for i := range out {
		out[i] = Second{ByOwner: make(map[string]int), ByClass: make(map[Class]Share)}
		shares[i], classes[i], waited[i] = make(map[Class]*Share), make(map[int]Class), make(map[Class][]time.Duration)
		from := v.From.Add(time.Duration(i) * time.Second)
		for p := range partitions {
			c := v.class(p, from, from.Add(time.Second))
			classes[i][p] = c
			share(shares[i], c).Partitions++
		}
	}
	for _, r := range v.requests {
		if i := int(r.Published.Sub(v.From) / time.Second); v.has(r.Published) && i < len(out) {
			out[i].Published++
			out[i].Late = max(out[i].Late, milliseconds(r.Published.Sub(r.Due)))
			share(shares[i], classes[i][r.Partition]).Published++
			if !r.Answered.IsZero() {
				c := v.classOf(r)
				share(shares[i], c)
				waited[i][c] = append(waited[i][c], r.Answered.Sub(r.Published))
			}
		}
		if i := int(r.Answered.Sub(v.From) / time.Second); v.has(r.Answered) && i < len(out) {
			out[i].Answered++
			out[i].ByOwner[r.Owner]++
			share(shares[i], classes[i][r.Partition]).Answered++
		}
	}
	for i := range out {
		for c, s := range shares[i] {
			s.Latency = latency(waited[i][c])
			out[i].ByClass[c] = *s
		}
	}
	return out
}

func share(of map[Class]*Share, c Class) *Share {
	if of[c] == nil {
		of[c] = new(Share)
	}
	return of[c]
}

func latency(waited []time.Duration) Latency {
	if len(waited) == 0 {
		return Latency{}
	}
	slices.Sort(waited)
	rank := func(q float64) float64 {
		return milliseconds(waited[max(int(math.Ceil(q*float64(len(waited))))-1, 0)])
	}
	return Latency{Requests: len(waited), P50: rank(.5), P99: rank(.99), Max: rank(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Round(time.Millisecond).Milliseconds()) }
