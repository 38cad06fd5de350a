package deadletters

import (
	"context"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
)

// Run carries a plan out as those who look after it want to have it: it watches
// what comes of what it sends, and says in the log when it begins and ends.
//
//	outcomes' end --watch--> Send --outcomes--> enough have failed? pause
type Run struct {
	Sending
	// PauseAfter is after how many failed outcomes of what it sends it ends with a
	// *PausedError, 0 for never. It wants a Rate: at full speed all is sent before
	// the first outcome.
	PauseAfter int
	// Failed are outcomes that failed before it began and count too, by code: of a
	// replay that goes on by itself.
	Failed map[string]int
	// Log, if not nil, is told of its begin and its end, with the words of Replay.
	Log logrus.FieldLogger
}

// Do carries the plan out, see [Sending.Send]. The error is the cause of ctx where
// that ended, a *PausedError where too much has failed, and wraps [ErrNoOutcomes]
// where nobody can tell how much did.
func (r Run) Do(ctx context.Context, plan *Plan) error {
	if plan.Replays == 0 {
		return nil
	}
	sent := 0
	r.tell("a replay begins", logrus.Fields{"count": plan.Replays})
	err := r.watched(ctx, plan, &sent)
	r.tell("a replay ends", logrus.Fields{"count": sent, "left": plan.Replays - sent})
	return err
}

func (r Run) watched(ctx context.Context, plan *Plan, sent *int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{after: r.PauseAfter, id: r.Replay.ID, pause: cancel}
	if r.PauseAfter > 0 {
		stop, err := w.begin(ctx, r.Sending, r.Failed, plan.open)
		if err != nil {
			return err
		}
		defer stop()
	}
	s := r.Sending
	s.OnSent = func(step Step, landed events.Source) {
		*sent++
		r.OnSent(step, landed)
		w.sent(landed)
	}
	return s.Send(ctx, plan)
}

// tell writes a line of the log.
func (r Run) tell(what string, fields logrus.Fields) {
	if r.Log == nil {
		return
	}
	log := r.Log.WithFields(fields).WithField("topic", r.Topics.Requests)
	if r.Replay.ID != "" {
		log = log.WithField("replay_id", r.Replay.ID)
	}
	if r.Replay.By != "" {
		log = log.WithField("by", r.Replay.By)
	}
	if r.Replay.Reason != "" {
		log = log.WithField("reason", r.Replay.Reason)
	}
	log.Info(what)
}
