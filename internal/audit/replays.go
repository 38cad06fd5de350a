package audit

import (
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// replays are the requests that were sent again, whenever that was: a range does
// not bound them, as what mends a hole comes after it.
type replays struct {
	at map[replayPlace]*replay
	of map[uint64][]*replay // by the hash of their request
}

type replayPlace struct {
	partition int
	offset    int64
}

type replay struct {
	replayPlace
	number   int
	answered bool
}

func newReplays() *replays {
	return &replays{at: map[replayPlace]*replay{}, of: map[uint64][]*replay{}}
}

// request is told of each record of the requests topic.
func (r *replays) request(rec kafka.Record, t *table) {
	if _, is := rec.Header(events.HeaderReplay); !is {
		return
	}
	q, _ := events.DecodeRequest(rec.Message)
	if q.Replay <= 0 {
		return
	}
	again := &replay{replayPlace: replayPlace{rec.Partition, rec.Offset}, number: q.Replay}
	key := t.requestHash(q.RequestID, q.Order(), rec.Message)
	r.at[again.replayPlace] = again
	r.of[key] = append(r.of[key], again)
}

// outcome is told of each outcome.
func (r *replays) outcome(o events.Outcome) {
	if again := r.at[replayPlace{o.Source.Partition, o.Source.Offset}]; again != nil && again.number == o.Replay {
		again.answered = true
	}
}

// mended reports whether the request at a place was sent again behind it, with a
// higher number and to the same partition, and whether that has an answer. Any
// other record of the same request was there without regard to this one.
func (r *replays) mended(partition int, offset int64, e *entry) (again, answered bool) {
	for _, p := range r.of[e.request] {
		if p.partition == partition && p.offset > offset && p.number > int(e.replay) {
			again, answered = true, answered || p.answered
		}
	}
	return again, answered
}

// next is the number of the next replay of a request.
func (r *replays) next(e *entry) int {
	number := int(e.replay)
	for _, p := range r.of[e.request] {
		number = max(number, p.number)
	}
	return number + 1
}
