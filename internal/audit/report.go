package audit

import (
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/backlog"
)

// Report is what an audit counted and found, all times in UTC. As JSON its
// names are stable: names may be added, none is changed or taken away.
type Report struct {
	Group string    `json:"group"`
	Topic string    `json:"topic"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	AsOf  time.Time `json:"as_of"`
	// ExactlyOnce: what came again counts, as it was asked for.
	ExactlyOnce bool `json:"exactly_once,omitempty"`
	// Balanced: no hole, none that was sent again and waits for its answer, no contradiction, no misnamed outcome, and nothing
	// that was deleted unread; with ExactlyOnce nothing that came again either.
	Balanced bool `json:"balanced"`

	// Requests = Closed + Paid + Failed + Waiting + InFlight + Holes + Republished +
	// Unproven.
	Requests int64 `json:"requests"`
	Closed   int64 `json:"closed"`
	Paid     int64 `json:"paid"`
	Failed   int64 `json:"failed"`
	// Waiting requests stand in a retry topic.
	Waiting int64 `json:"waiting"`
	// InFlight requests are not finished by what is committed.
	InFlight int64 `json:"in_flight"`
	// Holes are finished and neither answered nor waiting: lost.
	Holes int64 `json:"holes"`
	// Republished were holes and are mended: the same request was sent again behind them, with
	// a higher replay number. RepublishedOpen of them wait for the answer to that,
	// and until it is there nothing balances.
	Republished     int64 `json:"republished"`
	RepublishedOpen int64 `json:"republished_open"`
	// Unproven requests are finished and may have been answered: they are older
	// than what the outcomes topic still holds, or their outcome may stand behind
	// a transaction that is open, where nobody can read it yet.
	Unproven int64 `json:"unproven"`

	// DeletedUnread counts offsets of requests and retries that retention took
	// before the group had finished them: requests that are lost and can no
	// longer be named. They are in none of the numbers above. It is seen only
	// until the group commits behind them.
	DeletedUnread int64 `json:"deleted_unread"`

	// UnreadableOffsets counts offsets whose batch is damaged or unpacks to more
	// than may be, in any of the topics. Nobody knows what stands there: requests
	// without an answer, or answers. They are in none of the numbers above; what
	// they answer may be among the holes.
	UnreadableOffsets int64 `json:"unreadable_offsets,omitempty"`

	// Contradictions counts the orders of which one outcome says paid and
	// another closed, so that both cannot be acted on: for the same record,
	// or for different ones with the closed one safe_to_reissue.
	Contradictions int64 `json:"contradictions"`
	// Misnamed outcomes name another order, request or replay number than the
	// record that they are said to answer. They do not count as answers.
	Misnamed int64 `json:"misnamed"`
	// ClosedThenPaid counts the closed requests that were not
	// safe_to_reissue, of orders that were paid all the same. That is no
	// contradiction: the outcome said so.
	ClosedThenPaid int64 `json:"closed_then_paid"`

	// Duplicates are outcomes that repeat one: the same request, event id and
	// answer. Crashes make them, where workers answer at least once.
	Duplicates int64 `json:"duplicates"`
	// DuplicatesThatDiffer repeat one with another answer or another event
	// id. The first in its topic counts, as events.Supersedes has it.
	DuplicatesThatDiffer int64 `json:"duplicates_that_differ"`

	// Replays are requests with a replay number. They are requests of their
	// own and counted above.
	Replays int64 `json:"replays"`
	// FailedSuperseded counts the failed requests of which another record was
	// closed or paid, or a replay with a higher number has failed.
	FailedSuperseded int64 `json:"failed_superseded"`

	DeadLetters int64 `json:"dead_letters"`
	// DeadLettersRepeated are those of a request that had one before.
	DeadLettersRepeated int64 `json:"dead_letters_repeated,omitempty"`
	// DeadLettersWithoutOutcome are holes that have a dead letter.
	DeadLettersWithoutOutcome int64 `json:"dead_letters_without_outcome"`
	// DeadLettersAnswered are dead letters of requests that are closed or
	// paid: a worker died between the dead letter and the failed outcome, and
	// the next one found an answer.
	DeadLettersAnswered int64 `json:"dead_letters_answered"`

	// OutcomesWithoutRequest are outcomes of no record that was audited.
	OutcomesWithoutRequest WithoutRequest `json:"outcomes_without_request"`
	// Unreadable records in the topics of closeorder's own: they count for
	// nothing.
	Unreadable int64 `json:"unreadable"`

	// OldestWaiting and OldestInFlight are timestamps of requests.
	OldestWaiting  time.Time `json:"oldest_waiting,omitzero"`
	OldestInFlight time.Time `json:"oldest_in_flight,omitzero"`
	// WaitingBy and InFlightBy tell them apart by code and merchant; what is in
	// flight has no code.
	WaitingBy  Piles `json:"waiting_by"`
	InFlightBy Piles `json:"in_flight_by"`

	// Findings lists holes, contradictions, misnamed outcomes and repeats
	// that differ, with ExactlyOnce all repeats, as many of each kind as were
	// asked for.
	Findings []Finding `json:"findings"`
	// FindingsLeftOut counts those that are not listed.
	FindingsLeftOut int64 `json:"findings_left_out"`
	// Notes say in words what limits the proof: logs that were cut off,
	// records that are gone, commits that cannot be read.
	Notes []string `json:"notes"`
}

// Piles are requests by code and merchant.
type Piles struct {
	// Largest come first, as many as were asked for.
	Largest []backlog.Pile `json:"largest"`
	// Rest is all others.
	Rest *backlog.Pile `json:"rest,omitempty"`
}

func piles(s *backlog.Summary, most int) Piles {
	largest, rest := s.Piles(most)
	p := Piles{Largest: largest}
	if rest.Count > 0 {
		p.Rest = &rest
	}
	return p
}

// Oldest is the timestamp of the oldest request without an answer that is not
// lost, zero where there is none.
func (r *Report) Oldest() time.Time {
	oldest := r.OldestWaiting
	if !r.OldestInFlight.IsZero() {
		older(&oldest, r.OldestInFlight)
	}
	return oldest
}

// WithoutRequest counts outcomes by why their request was not audited.
type WithoutRequest struct {
	// OutsideRange: a time range was asked for, and the request is not in it.
	OutsideRange int64 `json:"outside_range"`
	// BeyondRetention: the request is no longer in the log, or cannot be read.
	BeyondRetention int64 `json:"beyond_retention"`
	// Foreign: another topic, or a place where no record is.
	Foreign int64 `json:"foreign"`
}

// Sum is all of them.
func (w WithoutRequest) Sum() int64 { return w.OutsideRange + w.BeyondRetention + w.Foreign }

// Kind is what a finding is.
type Kind string

// The kinds of findings. Duplicate and DuplicateDeadLetter are there with
// [Options.ExactlyOnce] alone. All are bad but Differs, and so is that one then.
const (
	Hole                Kind = "hole"
	Damaged             Kind = "unreadable_batch"
	Contradiction       Kind = "contradiction"
	Misnamed            Kind = "misnamed"
	Duplicate           Kind = "duplicate"
	DuplicateDeadLetter Kind = "duplicate_dead_letter"
	Differs             Kind = "duplicate_that_differs"
)

var kinds = []Kind{Hole, Damaged, Contradiction, Misnamed, Duplicate, DuplicateDeadLetter, Differs}

// Finding is one request, or one order, with something to look at.
type Finding struct {
	Kind Kind `json:"kind"`
	// The order, as far as it could be read.
	MchID      string `json:"mch_id,omitempty"`
	SubMchID   string `json:"sub_mch_id,omitempty"`
	OutTradeNo string `json:"out_trade_no,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	// Partition and Offset are the request in the requests topic, Time its
	// timestamp (of a hole) or the completion of the outcome. Of an unreadable
	// batch they are its own, Detail names its topic, and Time is
	// that of the audit.
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	// Detail is for people.
	Detail string `json:"detail"`
	// Answers are the outcomes that contradict each other.
	Answers []Answer `json:"answers,omitempty"`
}

// Lost is a hole, and what is to be known to send its request again.
type Lost struct {
	Finding
	// Request is what could be read of it.
	Request events.Request
	// Gone: the record was deleted during the audit, or cannot be read any more.
	Gone bool
	// Replay is the number that makes what is sent again a replay: higher than that
	// of the hole, and of every replay of the same request that was read.
	Replay int
}

// Answer is one of several outcomes of an order.
type Answer struct {
	Outcome       events.Result `json:"outcome"`
	Code          string        `json:"code,omitempty"`
	SafeToReissue bool          `json:"safe_to_reissue"`
	Replay        int           `json:"replay"`
	CompletedAt   time.Time     `json:"completed_at"`
	// Partition and Offset are the request that is answered.
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
	// OutcomePartition and OutcomeOffset are the outcome's own place.
	OutcomePartition int   `json:"outcome_partition"`
	OutcomeOffset    int64 `json:"outcome_offset"`
}

// findingOf is what is found in an outcome.
func findingOf(kind Kind, o events.Outcome) Finding {
	f := Finding{Kind: kind, Partition: o.Source.Partition, Offset: o.Source.Offset, Time: o.CompletedAt.UTC()}
	f.name(o.RequestID, o.Order())
	return f
}

func (f *Finding) name(requestID string, o events.Order) {
	f.RequestID, f.MchID, f.SubMchID, f.OutTradeNo = requestID, o.MchID, o.SubMchID, o.OutTradeNo
}

// Balances reports whether the numbers say that nothing is wrong. Balanced says less
// often so: where the group proves nothing.
func (r *Report) Balances() bool {
	return r.Holes == 0 && r.RepublishedOpen == 0 && r.Contradictions == 0 && r.Misnamed == 0 && r.DeletedUnread == 0 && r.UnreadableOffsets == 0 &&
		(!r.ExactlyOnce || r.Repeated() == 0)
}

// Wrong says in words why it is not balanced, each with its number; nothing where it is.
func (r *Report) Wrong() (wrong []string) {
	for _, w := range []struct {
		n    int64
		what string
	}{
		{r.Holes, "lost (holes)"}, {r.Contradictions, "contradictory"}, {r.Misnamed, "misnamed"}, {r.DeletedUnread, "deleted unread"},
		{r.UnreadableOffsets, "in unreadable batches"}, {r.RepublishedOpen, "sent again and not answered yet"},
	} {
		if w.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", w.n, w.what))
		}
	}
	if r.ExactlyOnce && r.Repeated() > 0 {
		wrong = append(wrong, fmt.Sprintf("%d answered again", r.Repeated()))
	}
	if !r.Balanced && len(wrong) == 0 {
		wrong = append(wrong, "this proves nothing, see the notes")
	}
	return wrong
}

// Repeated counts what came again: outcomes, whatever they say, and dead letters.
func (r *Report) Repeated() int64 {
	return r.Duplicates + r.DuplicatesThatDiffer + r.DeadLettersRepeated
}

// adds reports whether the requests are the sum of what became of them. It is
// always so, or the audit itself is wrong.
func (r *Report) adds() bool {
	return r.Requests == r.Closed+r.Paid+r.Failed+r.Waiting+r.InFlight+r.Holes+r.Republished+r.Unproven
}
