package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tally joins requests and outcomes by out_trade_no, which is the key of both. It
// may be called again while more comes.
type tally struct {
	requests *follower
	outcomes *follower

	asked    map[string]time.Time // what has no outcome yet
	answered map[string]time.Time // what has one: when it was asked
	waits    [][]time.Duration    // by flow
	repeated int
	byName   map[string]int // closed, paid, failed
}

func newTally(s *stage, flows int) (*tally, error) {
	requests, err := follow(s, requestsTopic)
	if err != nil {
		return nil, err
	}
	outcomes, err := follow(s, outcomesTopic)
	if err != nil {
		return nil, err
	}
	t := emptyTally(flows)
	t.requests, t.outcomes = requests, outcomes
	return t, nil
}

func emptyTally(flows int) *tally {
	return &tally{asked: make(map[string]time.Time), answered: make(map[string]time.Time), waits: make([][]time.Duration, flows), byName: make(map[string]int)}
}

func (t *tally) close() {
	t.requests.client.Close()
	t.outcomes.client.Close()
}

// read takes in what has come since. The outcomes first: each has its request
// then.
func (t *tally) read(ctx context.Context) error {
	var came []*kgo.Record
	if err := t.outcomes.read(ctx, func(r *kgo.Record) { came = append(came, r) }); err != nil {
		return err
	}
	err := t.requests.read(ctx, t.ask)
	for _, r := range came {
		t.answer(r)
	}
	return err
}

// ask takes in a request.
func (t *tally) ask(r *kgo.Record) {
	if flowOf(string(r.Key)) >= 0 {
		t.asked[string(r.Key)] = r.Timestamp
	}
}

// answer takes in an outcome, behind its request.
func (t *tally) answer(r *kgo.Record) {
	no := string(r.Key)
	flow := flowOf(no)
	if flow < 0 {
		return
	}
	if _, twice := t.answered[no]; twice {
		t.repeated++
		return
	}
	since, asked := t.asked[no]
	if !asked {
		t.byName["of no request"]++
		return
	}
	var outcome struct {
		Outcome string `json:"outcome"`
	}
	if json.Unmarshal(r.Value, &outcome) != nil || outcome.Outcome == "" {
		outcome.Outcome = "unreadable"
	}
	t.byName[outcome.Outcome]++
	t.answered[no] = since
	t.waits[flow] = append(t.waits[flow], r.Timestamp.Sub(since))
	delete(t.asked, no)
}

// open is the number of requests of the healthy flows that have no outcome.
func (t *tally) open(flows []flow) int {
	n := 0
	for no := range t.asked {
		if flows[flowOf(no)].healthy {
			n++
		}
	}
	return n
}

// waited are the waiting times of the healthy flows, sorted. What has no outcome
// at all has waited until now.
func (t *tally) waited(flows []flow, now time.Time) []time.Duration {
	var all []time.Duration
	for i, f := range flows {
		if f.healthy {
			all = append(all, t.waits[i]...)
		}
	}
	for no, since := range t.asked {
		if flows[flowOf(no)].healthy {
			all = append(all, now.Sub(since))
		}
	}
	slices.Sort(all)
	return all
}

// seen are the times, sorted, from a request of the healthy flows until a reader
// had its outcome. What none has had has waited until now.
func (t *tally) seen(flows []flow, had map[string]time.Time, now time.Time) []time.Duration {
	var all []time.Duration
	for _, asked := range []map[string]time.Time{t.asked, t.answered} {
		for no, since := range asked {
			if !flows[flowOf(no)].healthy {
				continue
			}
			at, has := had[no]
			if !has {
				at = now
			}
			all = append(all, at.Sub(since))
		}
	}
	slices.Sort(all)
	return all
}

// quantile of what is sorted, 0 of nothing.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// follower reads a topic to its end, again and again: what is committed, up to the
// last stable offset.
type follower struct {
	s      *stage
	topic  string
	client *kgo.Client
	next   map[int32]int64 // offset, by partition
}

func follow(s *stage, topic string) (*follower, error) {
	// Markers show how far it has come: behind the last transaction stands one.
	client, err := kgo.NewClient(kgo.SeedBrokers(s.address), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	return &follower{s: s, topic: topic, client: client, next: make(map[int32]int64)}, err
}

func (f *follower) read(ctx context.Context, each func(*kgo.Record)) error {
	ends, err := f.s.admin.ListCommittedOffsets(ctx, f.topic)
	if err != nil {
		return err
	}
	more := func() (more bool) {
		ends.Each(func(end kadm.ListedOffset) { more = more || f.next[end.Partition] < end.Offset })
		return more
	}
	for more() {
		fetches := f.client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			f.next[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				each(r)
			}
		})
	}
	return nil
}
