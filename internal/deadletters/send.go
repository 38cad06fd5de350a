package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"golang.org/x/time/rate"
)

// Sending says how a plan is carried out.
type Sending struct {
	Reader *kafka.Reader
	Writer *kafka.Writer
	Topics config.Topics
	// From is the topic that holds the records of the steps, empty for the dead
	// letters. What is sent in the place of such a record is then made by Message: the
	// reason, if any, is why nothing is, and the error says more.
	From    string
	Message func(s Step, rec kafka.Record) (m events.Message, reason Skip, err error)
	// Replay is what each record says of the replay that sends it.
	Replay records.Replay
	// Rate is the most replays per second, 0 for as fast as it goes.
	Rate float64
	// Patience is how long one write may take; what is being written when
	// the context ends gets so much time too.
	Patience time.Duration
	// OnSent is told of each step when all in-sync replicas have its
	// record, and where it landed.
	OnSent func(s Step, landed events.Source)
	// OnLeft is told of each step that cannot be sent, and why:
	// Deleted, OriginalGone or Unreadable where the topics have changed since
	// the plan was made, TooLarge or Refused where the requests topic does not
	// take the record. The others are sent all the same.
	OnLeft func(s Step, reason Skip, err error)
}

// chunkBytes bounds the values that are held at one time.
const chunkBytes = 4 << 20

// chunk is how many are written at one time.
func (s Sending) chunk() int {
	if s.Rate <= 0 {
		return 500
	}
	return max(1, int(min(500, s.Rate/10))) // no int holds every rate
}

// Send sends the replays of a plan: each original read again from the
// dead-letter topic, byte for byte, with its replay number.
//
// When ctx ends, what is being written is finished, and Send returns the
// cause. What was sent is told by OnSent, also beside an error; a new plan
// leaves it out. After an error the records that were being written and are
// not told of may have been: the next plan finds them too.
//
// In the place of a record that the topic does not take, the plan's next one
// that is over the limit is sent, and is no longer skipped by the plan: else
// the oldest letters could use a small limit up for ever.
func (s Sending) Send(ctx context.Context, plan *Plan) error {
	for steps := plan.chosen(); len(steps) > 0; {
		refused, err := s.send(ctx, steps)
		if err != nil {
			return err
		}
		steps = plan.more(refused)
	}
	return nil
}

// send sends the replays of some steps, and counts those that the topic does
// not take.
func (s Sending) send(ctx context.Context, chosen []Step) (refused int, err error) {
	todo := make(map[events.Source]Step, len(chosen))
	from, to := kafka.Offsets{}, kafka.Offsets{}
	for _, step := range chosen {
		todo[step.At] = step
		at := step.At
		if first, any := from[at.Partition]; !any || at.Offset < first {
			from[at.Partition] = at.Offset
		}
		to[at.Partition] = max(to[at.Partition], at.Offset+1)
	}
	limit := rate.NewLimiter(cmp.Or(rate.Limit(s.Rate), rate.Inf), s.chunk())
	var steps []Step
	var messages []events.Message
	bytes := 0
	flush := func() error {
		if len(steps) == 0 {
			return nil
		}
		if err := limit.WaitN(ctx, len(steps)); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		n, err := s.write(ctx, steps, messages)
		refused += n
		steps, messages, bytes = steps[:0], messages[:0], 0
		return err
	}
	reader := *s.Reader
	reader.Parallel = 1 // in the order of the topic, and not ahead of the rate
	err = reader.Read(ctx, cmp.Or(s.From, s.Topics.DeadLetters), from, to, func(rec kafka.Record) error {
		step, wanted := todo[rec.Source()]
		if !wanted {
			return nil
		}
		delete(todo, rec.Source())
		m, reason, err := s.message(ctx, step, rec)
		if reason != "" {
			s.OnLeft(step, reason, err)
			return nil
		}
		if err != nil {
			return err
		}
		steps, messages, bytes = append(steps, step), append(messages, m), bytes+len(m.Value)
		if len(steps) == s.chunk() || bytes >= chunkBytes {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return refused, err
	}
	gone := errors.New("the dead letter was deleted meanwhile")
	if s.From != "" {
		gone = errors.New("the record was deleted meanwhile")
	}
	for _, at := range slices.SortedFunc(maps.Keys(todo), compareSources) {
		s.OnLeft(todo[at], Deleted, gone)
	}
	return refused, nil
}

func compareSources(a, b events.Source) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// message is the record that asks again. The reason, if any, is why there is
// none; an error without one is of Kafka.
func (s Sending) message(ctx context.Context, step Step, rec kafka.Record) (events.Message, Skip, error) {
	if s.From != "" {
		m, reason, err := s.Message(step, rec)
		return s.Replay.Stamp(m), reason, err
	}
	l := read(rec)
	if l.Err != nil {
		return events.Message{}, Unreadable, l.Err
	}
	if err := restore(ctx, s.Reader, &l); errors.Is(err, errOriginalGone) {
		return events.Message{}, OriginalGone, err
	} else if err != nil {
		return events.Message{}, "", err
	}
	m, err := l.ReplayMessage()
	return s.Replay.Stamp(m), "", err
}

// write writes one chunk, also when ctx ends meanwhile: a chunk of which
// nobody knows what was written would be the worst of it. It counts those that
// the topic does not take.
func (s Sending) write(ctx context.Context, steps []Step, messages []events.Message) (refusals int, failure error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Patience)
	defer cancel()
	to := make([]int, len(steps))
	for i, step := range steps {
		to[i] = step.To
	}
	results, _ := s.Writer.Write(ctx, s.Topics.Requests, messages, to...)
	for i, r := range results {
		var refused *kafka.RefusedError
		switch {
		case r.Err == nil:
			s.OnSent(steps[i], r.At)
		case errors.As(r.Err, &refused) && refused.TooLarge():
			refusals++
			s.OnLeft(steps[i], TooLarge, r.Err)
		case refused != nil:
			refusals++
			s.OnLeft(steps[i], Refused, r.Err)
		case failure == nil:
			failure = fmt.Errorf("replay: %w", r.Err)
		}
	}
	return refusals, failure
}
