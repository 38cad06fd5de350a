package deadletters

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Skip is why a dead letter is not replayed. The texts are stable.
type Skip string

const (
	// Unreadable: the record is no dead letter.
	Unreadable Skip = "unreadable"
	// Answered: the request has a final outcome, closed or paid.
	Answered Skip = "answered"
	// Replayed: it was replayed already, with a higher replay number; that
	// replay is under way, or has a dead letter of its own.
	Replayed Skip = "replayed"
	// FailedAgain: the replay that goes on has sent it, and it has failed again.
	FailedAgain Skip = "failed_again"
	// Repeated: another dead letter of the same request and replay number is
	// replayed.
	Repeated Skip = "repeated"
	// MaxReplays: it was replayed as often as is allowed.
	MaxReplays Skip = "max_replays"
	// Expired: expires_at has passed, so that a replay would not be closed.
	Expired Skip = "expired"
	// OriginalGone: the value is not in the dead letter, and the original is
	// deleted or another one.
	OriginalGone Skip = "original_gone"
	// OverLimit: enough for one run; it is left for the next.
	OverLimit Skip = "over_limit"

	// Those below are known only when a plan is carried out.

	// TooLarge: the requests topic takes no record of its size.
	TooLarge Skip = "too_large"
	// Refused: the requests topic does not take the record.
	Refused Skip = "refused"
	// Deleted: the dead letter was deleted since the plan was made.
	Deleted Skip = "deleted"
)

// Step is what is to be done with one dead letter. It has none of its bytes:
// they are read again when they are sent.
type Step struct {
	// At is the dead letter, Source the request.
	At, Source events.Source
	FailedAt   time.Time
	Code       string
	MchID      string
	SubMchID   string
	OutTradeNo string
	RequestID  string
	// What else names the order at the gateway, and when it was made.
	AppID, SubAppID string
	OrderCreatedAt  time.Time
	// Replay is the number that the replay gets, or would get.
	Replay int
	// To is the partition of the requests topic that it is sent to: the one
	// that the request came from, so that it stands where its order service
	// puts the requests of its order. kafka.ByKey where that is another
	// topic's, or is no more. Partitions only ever grow, unless a topic is made
	// again: then the key decides when it is sent.
	To int
	// Skip says why it is not replayed; empty: it is. Why is for people.
	Skip Skip
	Why  string

	request uint64 // of the key of the request
	expires time.Time
}

// Plan is what a replay does, in the order of the failures.
type Plan struct {
	Steps []Step
	// Replays is the number of steps that are not skipped.
	Replays int
	// Landed is where the replay of Options.ReplayID has landed of the letters that it
	// has sent already, by the letters' places: steps that are skipped now.
	Landed map[events.Source]events.Source
	// Failed are the outcomes of those that failed, by code.
	Failed map[string]int
	// open are those of Landed that have no outcome so far.
	open []events.Source
}

// Skipped counts the steps that are skipped, by why.
func (p *Plan) Skipped() map[Skip]int {
	n := map[Skip]int{}
	for _, s := range p.Steps {
		if s.Skip != "" {
			n[s.Skip]++
		}
	}
	return n
}

// chosen are the steps that are not skipped.
func (p *Plan) chosen() []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return s.Skip != "" })
}

// more chooses up to n steps that were over the limit, and returns them.
func (p *Plan) more(n int) []Step {
	var steps []Step
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Skip == OverLimit && len(steps) < n {
			s.Skip, s.Why = "", ""
			steps = append(steps, *s)
		}
	}
	p.Replays += len(steps)
	return steps
}

// plan decides about each step.
func (p *planner) plan() *Plan {
	slices.SortStableFunc(p.steps, func(a, b Step) int {
		return cmp.Or(a.FailedAt.Compare(b.FailedAt), compareSources(a.At, b.At))
	})
	plan := &Plan{Steps: p.steps, Landed: map[events.Source]events.Source{}, Failed: map[string]int{}}
	taken := map[uint64]bool{}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		if landed, ours := p.ours[sending{s.request, s.Replay}]; ours {
			plan.Landed[s.At] = landed
			if code, answered := p.first[landed]; !answered {
				plan.open = append(plan.open, landed)
			} else if code != "" {
				plan.Failed[code]++
			}
		}
		if s.Skip == "" {
			s.Skip, s.Why = p.decide(s, taken)
		}
		if s.Skip != "" {
			continue
		}
		taken[s.request] = true
		if p.options.Limit > 0 && plan.Replays == p.options.Limit {
			s.Skip, s.Why = OverLimit, fmt.Sprintf("left for another run: --limit %d", p.options.Limit)
			continue
		}
		plan.Replays++
	}
	return plan
}

func (p *planner) decide(s *Step, taken map[uint64]bool) (Skip, string) {
	final, any := p.answers[s.request]
	seen := p.replays[s.request]
	switch {
	case any:
		why := string(final.result)
		if final.replay > 0 {
			why += fmt.Sprintf(", by replay %d", final.replay)
		}
		return Answered, why
	case seen >= s.Replay:
		if p.dead[s.request] >= seen {
			return Replayed, fmt.Sprintf("replay %d has failed too and has a dead letter of its own", seen)
		}
		return Replayed, fmt.Sprintf("replay %d is under way", seen)
	case taken[s.request]:
		return Repeated, "another dead letter of the same request is replayed"
	case s.Replay > p.options.MaxReplays:
		return MaxReplays, fmt.Sprintf("replayed %d times: --max-replays %d", s.Replay-1, p.options.MaxReplays)
	case !s.expires.IsZero() && !p.options.Now.Before(s.expires):
		return Expired, "expires_at " + s.expires.UTC().Format(time.RFC3339) + " has passed: it would not be closed"
	}
	return "", ""
}
