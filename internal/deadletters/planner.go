package deadletters

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Options of a plan.
type Options struct {
	Filter Filter
	// Limit is the most replays, 0 for all.
	Limit int
	// MaxReplays is how often a request may be replayed in its life.
	MaxReplays int
	// ReplayID, if set, is the replay that goes on: what it has sent and what
	// failed again is not sent by it once more.
	ReplayID string
	// Only, if not nil, are the places of the letters that may be sent, of those that
	// the filter chooses. The others are no steps, but say of theirs what was replayed
	// already.
	Only map[events.Source]bool
	// Now is the time, for expires_at.
	Now time.Time
	// OnTotal is told how many records will be read, as it becomes
	// known; OnRead how many more were.
	OnTotal func(n int64)
	OnRead  func(n int)
	// OnHeld is told, once, of a topic in which a transaction that is open hides what
	// was written: its end is waited for, for ten seconds at most.
	OnHeld func(topic string)
}

// Make makes a plan, once all topics are there: it reads the dead letters, all
// outcomes, and what was sent to the requests topic since the first of the
// letters failed, as far as outcomes and requests are written when it comes to
// them. What an open transaction hides for longer than ten seconds, in each of the
// two topics, is not seen, and may be sent once more: which closes an order that is closed.
//
// A request is known by its request_id and its order, as events.SameRequest
// has it; one that names neither by its bytes.
func Make(ctx context.Context, r *kafka.Reader, t config.Topics, o Options) (*Plan, error) {
	p := &planner{
		reader: r, topics: t, options: o, seed: maphash.MakeSeed(),
		replays: map[uint64]int{}, dead: map[uint64]int{}, answers: map[uint64]answer{}, orders: map[string]bool{},
		ours: map[sending]events.Source{}, first: map[events.Source]string{},
	}
	if err := r.Exist(ctx, t.DeadLetters, t.Outcomes, t.Requests); err != nil {
		return nil, err
	}
	if err := p.readLetters(ctx); err != nil {
		return nil, err
	}
	if len(p.steps) > 0 {
		if err := p.place(ctx); err != nil {
			return nil, err
		}
		if err := p.readOutcomes(ctx); err != nil {
			return nil, err
		}
		if err := p.readRequests(ctx); err != nil {
			return nil, err
		}
	}
	return p.plan(), nil
}

type planner struct {
	reader  *kafka.Reader
	topics  config.Topics
	options Options
	seed    maphash.Seed

	steps []Step
	// oldest is when the first of them had failed at the latest: by what they say, or by
	// when that was written.
	oldest time.Time
	// replays is the highest replay number seen anywhere, by request, and
	// dead that of the dead letters.
	replays, dead map[uint64]int
	// answers is the first final outcome, by request; orders are those of steps.
	answers map[uint64]answer
	orders  map[string]bool
	// first is the first outcome of each replay that was sent of those orders, by the
	// place of its request: the code where it failed, empty where it is final.
	first map[events.Source]string
	// ours is where the replay that goes on has landed, the first time.
	ours map[sending]events.Source
}

// sending is a request under the number of a replay.
type sending struct {
	request uint64
	replay  int
}

// answer is a final outcome.
type answer struct {
	result events.Result
	replay int
}

func (p *planner) read(ctx context.Context, s Stretch, each func(kafka.Record) error) error {
	p.options.OnTotal(s.Records())
	return p.reader.Read(ctx, s.Topic, s.From, s.To, func(rec kafka.Record) error {
		p.options.OnRead(1)
		return each(rec)
	})
}

// readLetters reads all dead letters, as also one that is not chosen may say
// that a chosen one was replayed.
func (p *planner) readLetters(ctx context.Context) error {
	s, err := Find(ctx, p.reader, p.topics.DeadLetters, p.options.Filter)
	if err != nil {
		return err
	}
	return p.read(ctx, s, func(rec kafka.Record) error { return p.letter(ctx, read(rec)) })
}

func (p *planner) letter(ctx context.Context, l Letter) error {
	if l.Err != nil {
		// With neither a code nor a request it matches no filter but of time.
		if p.options.Filter.Matches(&l) {
			p.add(l, 0, Unreadable, "it is no dead letter: "+l.Err.Error())
		}
		return nil
	}
	chosen := p.options.Filter.matchesRecord(&l)
	if l.ValueOmitted != "" {
		// Which request it is about is known only when that was read.
		if !chosen {
			return nil
		}
		if err := restore(ctx, p.reader, &l); errors.Is(err, errOriginalGone) {
			if p.options.Filter.matchesRequest(&l) {
				p.add(l, 0, OriginalGone, err.Error())
			}
			return nil
		} else if err != nil {
			return err
		}
	}
	key := p.key(l.Request, l.Original)
	p.replays[key] = max(p.replays[key], l.Replay)
	p.dead[key] = max(p.dead[key], l.Replay)
	if chosen && p.options.Filter.matchesRequest(&l) {
		if id := p.options.ReplayID; id != "" && records.ReplayOf(l.Original).ID == id {
			p.add(l, key, FailedAgain, "this very replay has sent it, and it has failed again; to send it once more give another --replay-id")
			return nil
		}
		p.add(l, key, "", "")
	}
	return nil
}

func (p *planner) add(l Letter, key uint64, skip Skip, why string) {
	if p.options.Only != nil && !p.options.Only[l.At] {
		return
	}
	for _, at := range []time.Time{l.Time(), l.Written} {
		if p.oldest.IsZero() || at.Before(p.oldest) {
			p.oldest = at
		}
	}
	q := l.Request
	p.steps = append(p.steps, Step{
		At: l.At, Source: l.Source, FailedAt: l.Time(), Code: strings.Clone(l.ErrorCode),
		MchID: q.MchID, SubMchID: q.SubMchID, OutTradeNo: q.OutTradeNo, RequestID: q.RequestID,
		AppID: q.AppID, SubAppID: q.SubAppID, OrderCreatedAt: q.OrderCreatedAt,
		Replay: l.Replay + 1, Skip: skip, Why: why, request: key, expires: q.ExpiresAt,
	})
	if skip == "" {
		p.orders[q.OutTradeNo] = true
	}
}

// place decides to which partition each replay goes.
func (p *planner) place(ctx context.Context) error {
	partitions, err := p.reader.Partitions(ctx, p.topics.Requests)
	if err != nil {
		return err
	}
	for i := range p.steps {
		s := &p.steps[i]
		s.To = kafka.ByKey
		if s.Source.Topic == p.topics.Requests && s.Source.Partition < partitions {
			s.To = s.Source.Partition
		}
	}
	return nil
}

// key names a request: by request_id and order, or by its bytes without the
// replay number.
func (p *planner) key(q events.Request, original events.Message) uint64 {
	if q.OutTradeNo != "" || q.RequestID != "" {
		return p.named(q.RequestID, q.Order())
	}
	var h maphash.Hash
	h.SetSeed(p.seed)
	part := func(b []byte) {
		fmt.Fprintf(&h, "%d %t ", len(b), b == nil)
		h.Write(b)
	}
	part(original.Key)
	part(original.Value)
	for _, header := range original.Headers {
		if !events.OfReplay(header.Key) {
			part([]byte(header.Key))
			part(header.Value)
		}
	}
	return h.Sum64()
}

func (p *planner) named(requestID string, o events.Order) uint64 {
	return maphash.Comparable(p.seed, struct {
		id string
		o  events.Order
	}{requestID, o})
}

// readOutcomes finds the requests in question that were closed or paid, by
// whatever record: before this record of it failed, or when it was asked
// again, or by a later repeat of this one. events.Supersedes does not decide
// here, because it goes by the first outcome of each record: nothing that is
// closed or paid is asked for once more.
func (p *planner) readOutcomes(ctx context.Context) error {
	s, err := p.settled(ctx, p.topics.Outcomes, time.Time{})
	if err != nil {
		return err
	}
	return p.read(ctx, s, func(rec kafka.Record) error {
		if no, ok := rec.Header(events.HeaderSubject); ok && !p.orders[string(no)] {
			return nil // not worth its decoding
		}
		if next, err := events.DecodeOutcome(rec.Message); err == nil && (next.OutTradeNo != "" || next.RequestID != "") {
			key := p.named(next.RequestID, next.Order())
			if _, any := p.answers[key]; !any && next.Final() {
				p.answers[key] = answer{next.Result, next.Replay}
			}
			p.replays[key] = max(p.replays[key], next.Replay)
			if _, any := p.first[next.Source]; !any && p.options.ReplayID != "" && next.Replay > 0 {
				p.first[next.Source] = next.Code
				if next.Final() {
					p.first[next.Source] = ""
				}
			}
		}
		return nil
	})
}

// readRequests finds the replays that were sent already. None can be older
// than the failure that it follows.
func (p *planner) readRequests(ctx context.Context) error {
	s, err := p.settled(ctx, p.topics.Requests, p.oldest.Add(-clockSlack))
	if err != nil {
		return err
	}
	return p.read(ctx, s, func(rec kafka.Record) error {
		if _, ok := rec.Header(events.HeaderReplay); !ok {
			return nil
		}
		q, _ := events.DecodeRequest(rec.Message)
		key := p.key(q, rec.Message)
		p.replays[key] = max(p.replays[key], q.Replay)
		if id := p.options.ReplayID; id != "" && records.ReplayOf(rec.Message).ID == id {
			if _, twice := p.ours[sending{key, q.Replay}]; !twice {
				p.ours[sending{key, q.Replay}] = rec.Source()
			}
		}
		return nil
	})
}

const (
	// settle is for how long open transactions are waited for: one of a worker ends
	// within that, or the worker has died.
	settle = 10 * time.Second
	// settlePause is how long to wait between two looks.
	settlePause = 50 * time.Millisecond
)

// settled is a topic from a time on, to where it is written now: who reads committed
// gets there when the transactions have ended that are open below.
func (p *planner) settled(ctx context.Context, topic string, since time.Time) (Stretch, error) {
	written, err := p.reader.Written(ctx, topic)
	if err != nil {
		return Stretch{}, err
	}
	held := false
	for patience := time.Now().Add(settle); ; {
		s, err := stretch(ctx, p.reader, topic, since)
		if err != nil || s.To.Until(written) == 0 || !time.Now().Before(patience) {
			return s, err
		}
		if !held {
			p.options.OnHeld(topic)
		}
		held = true
		if err := kafka.Sleep(ctx, settlePause); err != nil {
			return s, err
		}
	}
}
