package consumer

import (
	"cmp"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
)

// stage is a [Stage], for a request that others look at. The zero is that of one
// that is not decoded yet.
type stage int32

const (
	unread stage = iota
	queued
	calling
	waitsForTime
	waitsForMerchant
	publishing
)

var stages = [...]Stage{unread: StageQueued, queued: StageQueued, calling: StageCalling, waitsForTime: StageDue, waitsForMerchant: StageMerchant, publishing: StagePublishing}

// mostOldest is how many of the oldest requests a State names.
const mostOldest = 10

// State is what the worker does at this moment. Before and after Run it says so.
// Safe for concurrent use. It waits for the locks of the pipeline, in turn and
// each for a moment; where the worker is stuck in one it waits as long as that
// lasts.
func (w *Worker) State() State {
	s := State{
		At: time.Now(), Started: w.made, Group: w.cfg.Group,
		Partitions: []PartitionState{}, Holds: []HoldState{}, Oldest: []RequestState{}, Tiers: []TierState{},
	}
	if w.running.Load() {
		w.look(&s)
	}
	s.Health = w.health.of(&s, w.stopping.Load())
	return s
}

// look fills s in.
func (w *Worker) look(s *State) {
	m := w.member.State()
	s.Member = MemberState{
		Joined: m.Joined, Since: m.Since, MemberID: m.MemberID, InstanceID: m.InstanceID,
		Generation: m.Generation, LeaseUntil: m.LeaseUntil, Trouble: m.Trouble,
	}
	s.Breaker = w.lanes.breaker.look()
	s.Holds = w.holds.look()
	s.Publishing = w.publisher.look(s.At)
	s.Publishing.Refused = int(w.refused.Load())
	s.Committing = w.committer.look(s.At)
	s.Throttled = w.throttled.of(s.At)
	s.progress = w.progress.Load()
	s.Memory.Held, s.Memory.Most = w.client.Buffered()
	for _, n := range w.client.Connections() {
		s.Connections += n
	}
	for _, tier := range w.cfg.Topics.Retries {
		s.Tiers = append(s.Tiers, TierState{Topic: tier.Topic, Delay: tier.Delay})
	}
	parts := w.owned.all()
	var oldest oldest
	var due, unread, resting int64
	for _, p := range parts {
		is := p.look(&oldest, s.At)
		s.Partitions = append(s.Partitions, is)
		behind := max(is.End-is.Next, 0)
		i := tiers(w.cfg.Topics.Retries).index(p.topic)
		if i >= 0 {
			s.Tiers[i].Waiting += is.Waiting
			s.Tiers[i].Unread += behind
		}
		due += int64(is.Open - is.Waiting - is.finishing - is.resting)
		resting += int64(is.resting)
		switch {
		case is.Stopped != "" || is.FetchError != "": // nobody else can read it either
		case i >= 0 && !is.lastDue: // behind one that is not due, or is not known yet, nothing is due
		default:
			unread += behind
		}
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionState) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	s.Lanes = w.lanes.look(s.At, parts, s.Partitions)
	w.publishing(s)
	// What waits for its merchant's pace is not due, in its place, in a turn or before
	// it; and what is not read yet is taken to be like what is.
	paced := s.Lanes.paced + resting
	unread -= int64(float64(unread) * float64(paced) / float64(max(s.Lanes.queued+resting, 1)))
	s.DueNow = w.dueNow.of(s.At, due-s.Lanes.paced-int64(s.Lanes.Resting)+unread, s.Breaker.LastAnswer, s.Breaker.State == "closed" && s.Publishing.Failing.IsZero())
	s.Oldest = oldest.states()
	if len(s.Oldest) > 0 {
		s.OldestUnanswered = max(s.At.Sub(s.Oldest[0].Requested), 0)
	}
}

// look is what there is to see of one partition; its open requests are shown to
// the oldest ones.
func (p *partition) look(oldest *oldest, now time.Time) PartitionState {
	is := PartitionState{Topic: p.topic, Partition: p.id, Watermark: -1, Next: -1, End: -1}
	if source := p.source.Load(); source != nil {
		is.End, is.Heard = source.Seen()
	}
	if text := p.fetchError.Load(); text != nil {
		is.FetchError = *text
	}
	if text := p.stopped.Load(); text != nil {
		is.Stopped = *text
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger != nil {
		is.Watermark, is.Next = p.ledger.watermark, p.ledger.next
	}
	is.Open, is.Bytes = p.count, p.bytes
	for r := p.first; r != nil; r = r.behind {
		switch stage(r.stage.Load()) {
		case unread:
			continue // what there is to see of it is not there yet
		case waitsForTime, waitsForMerchant:
			is.Waiting++
		case queued:
			if rests := r.note.Load(); rests != nil && rests.until.After(now) { // in its place: for its merchant's rate, say
				is.resting++
			}
		case publishing:
			is.finishing++
		}
		oldest.show(r)
	}
	if p.last != nil {
		switch stage(p.last.stage.Load()) {
		case queued, calling, publishing:
			is.lastDue = true
		}
	}
	return is
}

// publishing completes what is seen of publishing by what else is.
func (w *Worker) publishing(s *State) {
	if s.Lanes.Unpublished == 0 && s.Publishing.UnderWay == 0 {
		w.publisher.doing.idle()
		s.Publishing.Failing, s.Publishing.Error = time.Time{}, ""
		return
	}
	// In a transaction nothing is acknowledged before that is committed. What is set
	// aside holds up nobody else.
	if c := s.Committing; w.cfg.ExactlyOnce && !s.Publishing.Blocked && s.Publishing.Failing.IsZero() && !c.Failing.IsZero() {
		s.Publishing.Failing, s.Publishing.Error = c.Failing, c.Error
	}
}

func (p *publisher) look(now time.Time) (is PublishingState) {
	is.UnderWay, is.Last, is.Failing, is.Error = p.doing.look(now)
	is.Blocked = p.tx != nil && p.tx.setsAside()
	return is
}

// setsAside reports whether something waits because its partition cannot be
// written, or its offset not be committed.
func (t *transaction) setsAside() bool {
	t.publisher.mu.Lock()
	defer t.publisher.mu.Unlock()
	now := time.Now()
	for at, p := range t.trouble {
		if now.Before(p.until) || t.pending[at] > 0 {
			return true
		}
	}
	for p, until := range t.blocked {
		if now.Before(until.Add(firstTrial)) && p.owned.Err() == nil { // then it is tried, and nobody takes it out

			return true
		}
	}
	return len(t.aside) > 0
}

func (c *committer) look(now time.Time) (is CommittingState) {
	_, is.Last, is.Failing, is.Error = c.doing.look(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	is.Pending = c.pending
	return is
}

// oldest are the requests that were made first of those that are shown to it, the
// first one first.
type oldest []*request

func (o *oldest) show(r *request) {
	all := *o
	if len(all) == mostOldest {
		if !r.time.Before(all[mostOldest-1].time) {
			return
		}
		all = all[:mostOldest-1]
	}
	i, _ := slices.BinarySearchFunc(all, r.time, func(a *request, at time.Time) int {
		if a.time.After(at) {
			return 1
		}
		return -1 // behind those of the same time
	})
	*o = slices.Insert(all, i, r)
}

func (o oldest) states() []RequestState {
	all := make([]RequestState, len(o))
	for i, r := range o {
		all[i] = RequestState{
			MchID: r.req.MchID, SubMchID: r.req.SubMchID, OutTradeNo: r.req.OutTradeNo, Requested: r.time, Source: r.source,
			Topic: r.partition.topic, Partition: r.partition.id, Offset: r.offset, Stage: stages[r.stage.Load()],
		}
		if note := r.note.Load(); note != nil {
			all[i].Until, all[i].Why = note.until, note.why
		}
	}
	return all
}

// look counts what goes on, and completes what is seen of parts.
func (l *lanes) look(now time.Time, parts []*partition, seen []PartitionState) LaneState {
	l.mu.Lock()
	defer l.mu.Unlock()
	is := LaneState{
		Slots: l.slots, InFlight: l.seats.Taken(), Resting: l.resting.Taken(), Orders: len(l.byOrder), Unpublished: l.unpublished,
		Ready: l.noCall.len(), Full: l.unpublished >= l.maxUnpublished,
	}
	for _, p := range parts {
		i, found := slices.BinarySearchFunc(seen, p.topicPartition, func(a PartitionState, b topicPartition) int {
			return cmp.Or(cmp.Compare(a.Topic, b.topic), cmp.Compare(a.Partition, b.id))
		})
		if found {
			seen[i].InFlight, seen[i].Unpublished, seen[i].Draining = p.inFlight, p.unpublished, p.standing != running
		}
	}
	pace := make(map[string]bool)
	for order, ln := range l.byOrder {
		switch {
		case !ln.busy && ln.waits.Waits():
			is.Ready++
			slow, known := pace[order.MchID]
			if !known {
				slow = l.paced(order.MchID)
				pace[order.MchID] = slow
			}
			n := int64(ln.requests.len())
			if is.queued += n; slow {
				is.paced += n
			}
		case ln.seated && now.Sub(ln.seatedAt) > is.LongestTurn:
			is.LongestTurn, is.LongestOf = now.Sub(ln.seatedAt), order
		}
	}
	return is
}

// paced says whether the requests of a merchant wait for its pace and not for slots:
// its rate is used up, or more of its turns pause between calls, as the gateway
// wants it, than make one. l.mu is held.
func (l *lanes) paced(mchID string) bool {
	return l.atRate[mchID] != nil || l.resting.TakenBy(mchID) > l.seats.TakenBy(mchID)
}

func (b *gatewayBreaker) look() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	is := BreakerState{State: [...]string{closed: "closed", open: "open", halfOpen: "half-open"}[b.state], LastAnswer: b.lastAnswer, Limit: b.limit}
	if b.state != closed {
		is.Since, is.TrialAt = b.openedAt, b.trialAt
	}
	return is
}

func (h *merchantHolds) look() []HoldState {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]HoldState, 0, len(h.on))
	for scope, on := range h.on {
		is := HoldState{MchID: scope.MchID, AppID: scope.AppID, SubMchID: scope.SubMchID, Since: on.since, Silent: on.silent, Why: on.why, NextProbe: on.probe}
		all = append(all, is)
	}
	slices.SortFunc(all, func(a, b HoldState) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.MchID, b.MchID), cmp.Compare(a.AppID, b.AppID), cmp.Compare(a.SubMchID, b.SubMchID))
	})
	return all
}

// answerOf is the answer that a decision gives to r, once it is acknowledged.
func answerOf(r *request, d *decision) *Answer {
	a := &Answer{
		Order: r.req.Order(), Result: events.Failed, Code: d.verdict.Code, Message: d.verdict.Message,
		Calls: r.calls, Replay: r.req.Replay, Source: r.source, Requested: r.time, Traceparent: r.traceParent(),
	}
	switch d.verdict.Class {
	case Closed:
		a.Result, a.SafeToReissue = events.Closed, d.verdict.SafeToReissue
	case Paid:
		a.Result = events.Paid
	}
	return a
}
