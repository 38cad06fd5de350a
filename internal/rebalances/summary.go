package rebalances

import (
	"fmt"
	"math"
	"time"
)

// Summary is a scene in one row. Silences are in seconds.
type Summary struct {
	Requests int `json:"requests"` // published in the scene
	// Latencies of requests that were published after the first event, by
	// what happened to their partitions while they waited. Of quiet times:
	// of all.
	Stays    Latency `json:"stays"`
	Moves    Latency `json:"moves"`
	Orphaned Latency `json:"orphaned"`
	// QuietP50 and QuietP99 are those of quiet times.
	QuietP50 float64 `json:"quiet_p50"`
	QuietP99 float64 `json:"quiet_p99"`
	// Beside is how long requests waited of a worker that nobody disturbed.
	Beside Latency `json:"beside,omitzero"`
	// Lowest is the least share, in percent, of what was published to the
	// partitions that stay that was answered in the same second, and with a worker
	// beside of its share in that second, LowestBeside; LowestAt is that second.
	Lowest       float64 `json:"lowest"`
	LowestBeside float64 `json:"lowest_beside,omitzero"`
	LowestAt     int     `json:"lowest_at"`
	// LowestLate is how late the load was in that second, Late at the most,
	// in milliseconds; see [Second].
	LowestLate float64 `json:"lowest_late"`
	Late       float64 `json:"late"`
	// Silence is the longest time between two outcomes of one partition that
	// stays.
	Silence float64 `json:"silence"`
	// Moved and Left count partitions that changed hands, by class; MovedFor
	// and LeftFor are the longest that one had no owner who answered.
	Moved    int     `json:"moved"`
	MayMove  int     `json:"may_move"`
	MovedFor float64 `json:"moved_for"`
	Left     int     `json:"left"`
	LeftFor  float64 `json:"left_for"`

	Lost       int `json:"lost"`
	SideBySide int `json:"side_by_side"`
}

func (v *view) summary() Summary {
	s := Summary{MayMove: v.MayMove, SideBySide: v.SideBySide, Silence: v.silence()}
	since := v.From
	if len(v.Events) > 0 {
		since = v.Events[0].At
	}
	waited := make(map[Class][]time.Duration)
	for _, r := range v.requests {
		if !v.has(r.Published) {
			continue
		}
		s.Requests++
		s.Late = max(s.Late, milliseconds(r.Published.Sub(r.Due)))
		if r.Answered.IsZero() {
			s.Lost++
			continue
		}
		if c := v.classOf(r); !r.Published.Before(since) {
			waited[c] = append(waited[c], r.Answered.Sub(r.Published))
		}
	}
	s.Stays, s.Moves, s.Orphaned = latency(waited[Stays]), latency(waited[Moves]), latency(waited[Orphaned])
	for _, h := range v.handovers {
		if !v.has(h.begin) {
			continue // it began in the scene before
		}
		out := v.at(h.first) - v.at(h.begin)
		if h.class == Orphaned {
			s.Left, s.LeftFor = s.Left+1, max(s.LeftFor, out)
		} else {
			s.Moved, s.MovedFor = s.Moved+1, max(s.MovedFor, out)
		}
	}
	return s
}

// silence is the longest time between two outcomes of one partition that stays.
func (v *view) silence() float64 {
	longest := 0.0
	for p, answered := range byPartition(v.requests) {
		for i := 1; i < len(answered); i++ {
			from, to := answered[i-1].Answered, answered[i].Answered
			if v.has(from) && v.class(p, from, to) == Stays {
				longest = max(longest, v.at(to)-v.at(from))
			}
		}
	}
	return math.Round(longest*1000) / 1000
}

// lowest is the least share of answers, in percent, in any second in which any
// partition stays; -1 where there is none. With a worker beside it is the share of
// its share: what it did not do in a second the machine did not let it. In the
// first second those are missing that were published in it and take their usual
// time: it is left out.
func lowest(seconds []Second) (least float64, second int) {
	least, second = -1, -1
	for i, s := range seconds {
		share := s.ByClass[Stays]
		if i == 0 || share.Published == 0 {
			continue
		}
		got := 100 * float64(share.Answered) / float64(share.Published)
		if s.Beside.Published > 0 {
			if s.Beside.Answered == 0 {
				continue // nobody could do anything
			}
			// In a second in which it makes up for the one before it does more than is asked.
			got /= min(float64(s.Beside.Answered)/float64(s.Beside.Published), 1)
		}
		if second < 0 || got < least {
			least, second = got, i
		}
	}
	return math.Round(least*10) / 10, second
}

// What a rebalance may cost what stays.
const (
	maxTimesQuiet = 2.0 // the p99
	minPercent    = 90.0
)

// complaints say what is not as it should be in a scene.
func complaints(scene Scene, s Summary) []string {
	var all []string
	complain := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case s.Stays.Requests == 0 || s.LowestAt < 0:
		complain("no partition stays where it is: nothing can be said of those that should")
	case len(scene.Events) > 0 && s.Stays.P99 > maxTimesQuiet*max(s.QuietP99, s.Beside.P99):
		complain("p99 of what stays is %.0f ms, more than %v times the %.0f ms of quiet times", s.Stays.P99, maxTimesQuiet, s.QuietP99)
	}
	if s.LowestAt >= 0 && s.Lowest < minPercent {
		than := ""
		if s.LowestBeside > 0 {
			than = fmt.Sprintf(" of the %.1f %% beside it", s.LowestBeside)
		}
		complain("in second %d only %.1f %%%s of what stays was answered, want %v %% (the load was late by %.0f ms in it)",
			s.LowestAt, s.Lowest, than, minPercent, s.LowestLate)
	}
	if s.Moved > s.MayMove {
		complain("%d partitions went from one member that lives to another, %d have to", s.Moved, s.MayMove)
	}
	if s.LeftFor > scene.MayWait.Seconds() {
		complain("a partition whose owner was gone stood still for %.1f s, may %v", s.LeftFor, scene.MayWait)
	}
	if s.Lost > 0 {
		complain("%d requests have no outcome", s.Lost)
	}
	if s.SideBySide > 0 {
		complain("%d orders had two calls at a time", s.SideBySide)
	}
	return all
}
