package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/remedies"
)

// mostReplays is how many replays, or audits, a page lists.
const mostReplays = 50

// replaysDoc are the last replays, those that go on first.
type replaysDoc struct {
	Replays []desk.Replay `json:"replays"`
}

func (s *Server) replays(ctx context.Context, _ *http.Request) (any, error) {
	found, err := s.cfg.Desk.Replays(ctx, mostReplays)
	if err != nil {
		return nil, err
	}
	return replaysDoc{found}, nil
}

// replayDoc is one replay, its steps, and what became of what it has sent.
type replayDoc struct {
	desk.Replay
	Became became    `json:"became"`
	Steps  []stepDoc `json:"steps"`
	// Codes are what those to be sent have failed of, the most frequent first, as long
	// as none was sent; of the first mostLooked of them.
	Codes []cause `json:"codes,omitempty"`
	paging
}

// became counts what became of what was sent, by the first outcome of each.
type became struct {
	Closed int `json:"closed"`
	Paid   int `json:"paid"`
	Failed int `json:"failed"`
	// Open has no outcome, as far as the index knows.
	Open int `json:"open"`
}

// stepDoc is one dead letter of a replay, as "deadletters replay --json" tells of it.
type stepDoc struct {
	deadletters.Told
	// Outcome is that of what was sent, with its code, empty for none so far.
	Outcome     events.Result `json:"outcome,omitempty"`
	OutcomeCode string        `json:"outcome_code,omitempty"`
	CompletedAt time.Time     `json:"completed_at,omitzero"`
}

func (s *Server) replay(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	var d replayDoc
	var err error
	if d.Replay, err = s.cfg.Desk.Replay(ctx, q.Get("id")); err != nil {
		return nil, err
	}
	if d.paging, err = readPage(q); err != nil {
		return nil, &badError{err.Error()}
	}
	steps, err := s.cfg.Desk.Steps(ctx, d.ID, rowsOfPage, d.skip())
	if err != nil {
		return nil, err
	}
	d.of(d.all())
	d.Steps = make([]stepDoc, 0, len(steps))
	var landed []events.Source
	for _, step := range steps {
		d.Steps = append(d.Steps, stepDoc{Told: step.Told()})
		if step.Sent != nil {
			landed = append(landed, *step.Sent)
		}
	}
	if d.State == desk.Planned {
		if d.Codes, err = s.causes(ctx, d); err != nil {
			return nil, err
		}
	}
	if d.Sent == 0 {
		return d, nil
	}
	answers, err := s.cfg.Index.At(ctx, landed)
	if err != nil {
		return nil, err
	}
	for i := range d.Steps {
		if at := d.Steps[i].Landed; at != nil {
			a := answers[*at]
			d.Steps[i].Outcome, d.Steps[i].OutcomeCode, d.Steps[i].CompletedAt = a.Outcome, a.Code, a.CompletedAt
		}
	}
	d.Became, err = s.follows.of(ctx, s.cfg, d.Replay)
	return d, err
}

// cause is a code of dead letters to be sent, and what to do about it before.
type cause struct {
	Code  string `json:"code,omitempty"`
	Count int    `json:"count"`
	ToDo  string `json:"to_do"`
}

// mostLooked is how many steps are counted by code.
const mostLooked = 1000

// Looked is how many of the chosen were counted by code.
func (d replayDoc) Looked() int { return min(d.Chosen, mostLooked) }

func (s *Server) causes(ctx context.Context, d replayDoc) ([]cause, error) {
	if d.Chosen == 0 {
		return nil, nil
	}
	steps, err := s.cfg.Desk.Steps(ctx, d.ID, d.Looked(), 0) // the chosen come first
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, step := range steps {
		counts[step.Told().Code]++
	}
	all := make([]cause, 0, len(counts))
	for code, n := range counts {
		all = append(all, cause{Code: code, Count: n, ToDo: remedies.For(code)})
	}
	slices.SortFunc(all, func(a, b cause) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code)) })
	return all, nil
}

// all are the steps of the plan.
func (d replayDoc) all() int64 {
	n := int64(d.Chosen)
	for _, skips := range d.Skipped {
		n += int64(skips)
	}
	return n
}

// LeftOut are why letters are left out, in the order of the words.
func (d replayDoc) LeftOut() []deadletters.Skip { return slices.Sorted(maps.Keys(d.Skipped)) }

// All is the number of letters of the plan.
func (d replayDoc) All() int64 { return d.all() }

// Rest is how many of the chosen are not sent.
func (d replayDoc) Rest() int { return d.Chosen - d.Sent }

// Filter is the filter of the wish, as an address has it.
func (d replayDoc) Filter() (string, error) {
	f := d.Wish.Filter
	q := url.Values{}
	if len(f.Codes) > 0 {
		q.Set("code", strings.Join(f.Codes, ","))
	}
	for name, value := range map[string]string{"mch_id": f.MchID, "out_trade_no": f.OutTradeNo} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if len(q) == 0 {
		return "/dead-letters", nil
	}
	return "/dead-letters?" + q.Encode(), nil
}

const (
	// followAgain is how long what became of a replay is shown before it is counted
	// again.
	followAgain = time.Second
	// mostFollowed is how many replays are counted at one time; chunkOfFollow how
	// many steps or places are asked for at once, and mostAsked how many places each
	// time.
	mostFollowed  = 20
	chunkOfFollow = 1000
	mostAsked     = 20_000
)

// follows count what became of what replays have sent. A first outcome stays, so
// that each record is asked about only until it has one.
type follows struct {
	mu  sync.Mutex
	ids map[string]*followed
}

type followed struct {
	mu     sync.Mutex
	at     time.Time
	counts became
	// next is the first step that is not found to be sent; beyond are those behind it
	// that are, and found is how many are in all.
	next   int
	beyond map[int]bool
	found  int
	open   []events.Source
}

func newFollows() *follows { return &follows{ids: map[string]*followed{}} }

func (f *follows) of(ctx context.Context, cfg Config, r desk.Replay) (became, error) {
	f.mu.Lock()
	one := f.ids[r.ID]
	if one == nil {
		if len(f.ids) >= mostFollowed {
			clear(f.ids) // they are counted once more
		}
		one = &followed{beyond: map[int]bool{}}
		f.ids[r.ID] = one
	}
	f.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if now := time.Now(); now.Sub(one.at) >= followAgain {
		if err := one.count(ctx, cfg, r); err != nil {
			return became{}, err
		}
		one.at = now
	}
	counts := one.counts
	counts.Open = max(0, r.Sent-counts.Closed-counts.Paid-counts.Failed)
	return counts, nil
}

func (f *followed) count(ctx context.Context, cfg Config, r desk.Replay) error {
	if err := f.readSteps(ctx, cfg.Desk, r); err != nil {
		return err
	}
	asked := min(len(f.open), mostAsked)
	counts, still := f.counts, []events.Source(nil)
	for places := range slices.Chunk(f.open[:asked], chunkOfFollow) {
		answers, err := cfg.Index.At(ctx, places)
		if err != nil {
			return err
		}
		for _, at := range places {
			switch answers[at].Outcome {
			case events.Closed:
				counts.Closed++
			case events.Paid:
				counts.Paid++
			case events.Failed:
				counts.Failed++
			default:
				still = append(still, at)
			}
		}
	}
	f.counts = counts
	f.open = append(slices.Clone(f.open[asked:]), still...) // the others come first the next time
	return nil
}

// readSteps finds what was sent since the last time, and reads nothing where that is
// nothing: the desk writes how many were sent together with which. Steps are sent in
// their order, nearly: it goes on behind the last chunk in which one was.
func (f *followed) readSteps(ctx context.Context, d Desk, r desk.Replay) error {
	for from := f.next; from < r.Chosen && f.found < r.Sent; from += chunkOfFollow {
		steps, err := d.Steps(ctx, r.ID, min(chunkOfFollow, r.Chosen-from), from)
		if err != nil {
			return err
		}
		any := false
		for i, step := range steps {
			switch at := from + i; {
			case f.beyond[at]:
				any = true
			case step.Sent != nil:
				f.open = append(f.open, *step.Sent)
				f.found++
				f.beyond[at], any = true, true
			}
		}
		if !any && (r.State == desk.Running || len(steps) == 0) {
			break
		}
	}
	for ; f.beyond[f.next]; f.next++ {
		delete(f.beyond, f.next)
	}
	return nil
}

// plan begins to plan a replay: of the letters that are ticked, or of all that a
// filter chooses. Nothing is planned where a value makes no sense: it would be of
// more than was meant.
func (s *Server) plan(_ http.ResponseWriter, r *http.Request) (string, error) {
	q := r.PostForm
	var w desk.Wish
	var wrong []error
	switch what := q.Get("what"); what {
	case "ticked":
		for _, text := range q["at"] {
			at, err := parsePlace(text)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			at.Topic = s.cfg.Topics.DeadLetters
			w.Only = append(w.Only, at)
		}
		if len(q["at"]) == 0 {
			wrong = append(wrong, errors.New("no letter is ticked: tick those that are to be replayed, or plan a replay of all that the filter chooses"))
		}
	case "all":
		f, err := readFilter(q, time.Now())
		wrong = append(wrong, err)
		w.Filter = f.filter()
	default:
		wrong = append(wrong, fmt.Errorf("what: %q is neither ticked nor all", what))
	}
	for _, number := range []struct {
		name string
		to   *int
	}{{"limit", &w.Limit}, {"max_replays", &w.MaxReplays}} {
		if text := strings.TrimSpace(q.Get(number.name)); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				wrong = append(wrong, fmt.Errorf("%s: %q is no number above zero", number.name, text))
			}
			*number.to = n
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return "", &badError{err.Error()}
	}
	replay, err := s.cfg.Desk.Plan(r.Context(), who(r), w)
	if err != nil {
		return "", err
	}
	return link("/replay", "id", replay.ID)
}

// start starts a replay that was planned. A second click of the same is no mistake.
func (s *Server) start(_ http.ResponseWriter, r *http.Request) (string, error) {
	q := r.PostForm
	id, o := q.Get("id"), desk.Order{Reason: strings.TrimSpace(q.Get("reason"))}
	var wrong []error
	var err error
	if o.Rate, err = strconv.ParseFloat(strings.TrimSpace(q.Get("rate")), 64); err != nil {
		wrong = append(wrong, fmt.Errorf("rate: %q is no number", q.Get("rate")))
	}
	if text := strings.TrimSpace(q.Get("pause_after")); text != "" {
		if o.PauseAfter, err = strconv.Atoi(text); err != nil {
			wrong = append(wrong, fmt.Errorf("pause_after: %q is no number", text))
		}
	}
	if o.Reason == "" {
		wrong = append(wrong, errors.New("reason: is empty; why is it replayed?"))
	}
	if err := errors.Join(wrong...); err != nil {
		return "", s.again("/replay", url.Values{"id": {id}}, &badError{err.Error()})
	}
	err = s.cfg.Desk.Start(r.Context(), who(r), id, o)
	return s.showReplay(r, id, err, func(is desk.Replay) bool {
		return is.Reason == o.Reason && !is.Started.IsZero()
	})
}

// showReplay leads to the page of a replay, also where it cannot be done what was
// wanted: there what stands is seen. Where it is done already there is nothing wrong.
func (s *Server) showReplay(r *http.Request, id string, err error, done func(desk.Replay) bool) (string, error) {
	var state *desk.StateError
	var order *desk.OrderError
	var busy *desk.BusyError
	switch {
	case errors.As(err, &state):
		if is, found := s.cfg.Desk.Replay(r.Context(), id); found == nil && done(is) {
			return link("/replay", "id", id)
		}
		return "", s.again("/replay", url.Values{"id": {id}}, err)
	case errors.As(err, &order), errors.As(err, &busy):
		return "", s.again("/replay", url.Values{"id": {id}}, err)
	case err != nil:
		return "", err
	}
	return link("/replay", "id", id)
}

// onReplay is an action that takes the id of a replay alone, and leads to one of some
// states.
func (s *Server) onReplay(do func(context.Context, desk.Who, string) error, to ...desk.State) func(http.ResponseWriter, *http.Request) (string, error) {
	return func(_ http.ResponseWriter, r *http.Request) (string, error) {
		id := r.PostForm.Get("id")
		return s.showReplay(r, id, do(r.Context(), who(r), id), func(is desk.Replay) bool { return slices.Contains(to, is.State) })
	}
}
