package plots

import (
	"math"
	"time"
)

// axis is where numbers stand, from the bottom of a chart to its top.
type axis struct {
	ticks    []float64 // round numbers, which ascend; the first is at the bottom
	from, to float64
	scale    func(float64) float64
}

// at is how far down a number stands; what is beyond the axis stands at its end.
func (a axis) at(v float64) float64 {
	const room = height - top - bottom
	share := (a.scale(v) - a.scale(a.from)) / (a.scale(a.to) - a.scale(a.from))
	return top + room*(1-min(max(share, 0), 1))
}

// linear is an axis from 0 on that holds most, with at most five steps of 1, 2 or 5.
func linear(most float64) axis {
	const steps = 4
	step := 1.0
	if most > steps {
		step = math.Pow(10, math.Floor(math.Log10(most/steps)))
		for _, times := range []float64{1, 2, 5, 10} {
			if step*times*steps >= most || times == 10 {
				step *= times
				break
			}
		}
	}
	a := axis{to: step * math.Ceil(max(most, 1)/step), scale: func(v float64) float64 { return v }}
	if math.IsInf(a.to, 0) {
		a.to = math.MaxFloat64
	}
	for n := 0.0; n*step <= a.to && len(a.ticks) <= steps+1; n++ {
		a.ticks = append(a.ticks, n*step)
	}
	return a
}

// logarithmic is an axis of marks that holds what lies between least and most.
// Where there are many, not each has a line.
func logarithmic(least, most float64, marks []float64) axis {
	first, last := 0, len(marks)-1
	for first < len(marks)-2 && marks[first+1] <= least {
		first++
	}
	for last > first+1 && marks[last-1] >= most {
		last--
	}
	a := axis{from: marks[first], to: marks[last], scale: func(v float64) float64 { return math.Log(max(v, marks[first])) }}
	for i := first; i <= last; i += 1 + (last-first)/7 {
		a.ticks = append(a.ticks, marks[i])
	}
	return a
}

// roundTime is the time between two times of an axis that is so long: at most six.
func roundTime(long time.Duration) time.Duration {
	for _, every := range []time.Duration{
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	} {
		if long/every < 6 {
			return every
		}
	}
	return max(long/5, time.Minute)
}
