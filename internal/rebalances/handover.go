package rebalances

import (
	"cmp"
	"slices"
	"time"
)

// Class says what happens to a partition at a time.
type Class string

const (
	// Stays: its owner is the same before and after.
	Stays Class = "stays"
	// Moves: it goes from a member that lives to another.
	Moves Class = "moves"
	// Orphaned: its owner has died or was stopped, and another one has it, or
	// the same worker after a new start.
	Orphaned Class = "orphaned"
)

// classes, the worst last.
var classes = [...]Class{Stays, Moves, Orphaned}

// Handover is a partition on its way from one process to another. Times are in
// seconds since the scene began.
type Handover struct {
	Partition int    `json:"partition"`
	Class     Class  `json:"class"`
	From      string `json:"from"`
	To        string `json:"to"`
	// Begin is the last outcome of the old owner, First the first one of the
	// new owner. At End nothing is left that waited: the new owner answers a
	// request that was published after First.
	Begin float64 `json:"begin"`
	First float64 `json:"first"`
	End   float64 `json:"end"`
}

// handover is a Handover in real time.
type handover struct {
	partition         int
	class             Class
	from, to          string
	begin, first, end time.Time
}

// touches reports whether the partition was on its way at any time in a span.
func (h handover) touches(from, to time.Time) bool { return h.begin.Before(to) && from.Before(h.end) }

func (h handover) in(v *view) Handover {
	return Handover{
		Partition: h.partition, Class: h.class, From: h.from, To: h.to,
		Begin: v.at(h.begin), First: v.at(h.first), End: v.at(h.end),
	}
}

// handovers finds all handovers of a run, by who answered.
func handovers(requests []Request, ended map[string]time.Time) []handover {
	var all []handover
	for _, answered := range byPartition(requests) {
		var open *handover
		for i, r := range answered {
			if open != nil && r.Published.After(open.first) && r.Owner == open.to {
				open.end = r.Answered
				all, open = append(all, *open), nil
			}
			if i == 0 || r.Owner == answered[i-1].Owner {
				continue
			}
			before := answered[i-1]
			if open != nil { // the next one takes it before the last has caught up
				open.end = before.Answered
				all = append(all, *open)
			}
			open = &handover{
				partition: r.Partition, class: Moves, from: before.Owner, to: r.Owner,
				begin: before.Answered, first: r.Answered,
			}
			if at, gone := ended[before.Owner]; gone && !at.After(r.Answered) {
				open.class = Orphaned
			}
		}
		if open != nil {
			open.end = answered[len(answered)-1].Answered
			all = append(all, *open)
		}
	}
	slices.SortFunc(all, func(a, b handover) int {
		return cmp.Or(a.begin.Compare(b.begin), cmp.Compare(a.partition, b.partition))
	})
	return all
}

// byPartition returns what was answered in each partition, by the time of the
// answers.
func byPartition(requests []Request) map[int][]Request {
	out := make(map[int][]Request)
	for _, r := range requests {
		if !r.Answered.IsZero() {
			out[r.Partition] = append(out[r.Partition], r)
		}
	}
	for _, of := range out {
		slices.SortStableFunc(of, func(a, b Request) int {
			return cmp.Or(a.Answered.Compare(b.Answered), a.Published.Compare(b.Published))
		})
	}
	return out
}
