// Package rebalances says what a rebalance of the group cost: how long requests
// waited for their outcomes and how many came in each second, apart for the
// partitions that stayed where they were and for those that changed hands.
//
//	requests and who answered them -> handovers -> seconds -> summary -> complaints, table, plot
//
// It knows neither Kafka nor processes and reads no clock: package crashtest
// runs and disturbs the workers and hands over what it has seen. Tests alone
// import it.
package rebalances

import (
	"fmt"
	"time"
)

// Request is a request as its order service sees it.
type Request struct {
	Partition int
	// Due is when it was to be published, Published when it was: what lies
	// between them is the machine's, not the workers'.
	Due, Published time.Time
	// Answered is when its first outcome stood in the topic; zero: never.
	Answered time.Time
	// Owner is the process that answered, a new one after each start of a
	// worker; empty where it was not answered.
	Owner string
}

// Scene is a stretch of a run in which one thing is done to the workers.
type Scene struct {
	Name     string
	From, To time.Time
	// Events are what was done to the workers, oldest first. None: quiet
	// times.
	Events []Event
	// MayMove is how many partitions have to go from one member that lives to
	// another for a balanced assignment.
	MayMove int
	// MayWait is the longest that a partition may stand still whose owner
	// died or left.
	MayWait time.Duration
	// SideBySide counts the orders that had two calls at a time, as the
	// gateway saw it.
	SideBySide int
}

// Event is one thing that was done.
type Event struct {
	At   time.Time
	What string
}

// Run is what one program did in all scenes with one kind of member id.
type Run struct {
	Program string // a name for it
	IDs     string // dynamic or static
	Scenes  []Scene
	// Requests of all scenes, in any order.
	Requests []Request
	// Beside are those of a worker that nobody disturbed, at the same moments on the
	// same machine; none where there was none.
	Beside []Request
	// Ended says when a process ended, those that did.
	Ended map[string]time.Time
}

// Result is what there is to tell about a run, and what stands in the JSON.
type Result struct {
	Program string   `json:"program"`
	IDs     string   `json:"ids"`
	Scenes  []Figure `json:"scenes"`
}

// Figure is a scene in numbers. Times are in seconds since the scene began,
// latencies in milliseconds.
type Figure struct {
	Name      string     `json:"name"`
	Events    []Mark     `json:"events,omitempty"`
	Handovers []Handover `json:"handovers,omitempty"`
	Summary   Summary    `json:"summary"`
	// Complaints say what is not as it should be.
	Complaints []string `json:"complaints,omitempty"`
	Seconds    []Second `json:"seconds"`
}

// Mark is an [Event] in the time of a [Figure].
type Mark struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// Measure computes the figures of a run. Quiet times are the scenes without
// events; there must be one.
func Measure(run Run) Result {
	res := Result{Program: run.Program, IDs: run.IDs}
	all := handovers(run.Requests, run.Ended)
	var quiet Summary
	for _, s := range run.Scenes {
		v := newView(s, run.Requests, all)
		f := Figure{Name: s.Name, Seconds: v.seconds(), Summary: v.summary()}
		beside := newView(s, run.Beside, nil)
		for i, second := range beside.seconds() {
			if second.Published > 0 {
				f.Seconds[i].Beside = second.ByClass[Stays]
			}
		}
		f.Summary.Beside = beside.summary().Stays
		for _, e := range s.Events {
			f.Events = append(f.Events, Mark{At: v.at(e.At), What: e.What})
		}
		for _, h := range v.handovers {
			f.Handovers = append(f.Handovers, h.in(v))
		}
		f.Summary.Lowest, f.Summary.LowestAt = lowest(f.Seconds)
		if at := f.Summary.LowestAt; at >= 0 {
			f.Summary.LowestLate = f.Seconds[at].Late
			f.Summary.LowestBeside = f.Seconds[at].Beside.percent()
		}
		if len(s.Events) == 0 {
			quiet = f.Summary
		}
		f.Summary.QuietP50, f.Summary.QuietP99 = quiet.Stays.P50, quiet.Stays.P99
		f.Complaints = complaints(s, f.Summary)
		res.Scenes = append(res.Scenes, f)
	}
	return res
}

// Complaints are those of all scenes of a result, with their names.
func (r Result) Complaints() []string {
	var all []string
	for _, f := range r.Scenes {
		for _, c := range f.Complaints {
			all = append(all, fmt.Sprintf("%s, %s ids, %s: %s", r.Program, r.IDs, f.Name, c))
		}
	}
	return all
}
