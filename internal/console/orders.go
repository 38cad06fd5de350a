package console

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/timeline"
)

// mostFound is how many requests a search shows.
const mostFound = 100

// searchDoc is what a search finds.
type searchDoc struct {
	Query    string          `json:"q"`
	Requests []index.Request `json:"requests"`
	// More: there are more than these.
	More bool `json:"more"`
	// Index is where it was searched.
	Index index.Progress `json:"index"`
}

func (s *Server) search(ctx context.Context, r *http.Request) (any, error) {
	d := searchDoc{Query: strings.TrimSpace(r.URL.Query().Get("q")), Requests: []index.Request{}}
	var err error
	if d.Index, err = s.cfg.Index.Progress(ctx); err != nil {
		return nil, err
	}
	found, err := s.cfg.Index.Search(ctx, d.Query, mostFound+1)
	if err != nil {
		return nil, err
	}
	if d.More = len(found) > mostFound; d.More {
		found = found[:mostFound]
	}
	d.Requests = append(d.Requests, found...)
	return d, nil
}

// How an order was found.
const (
	byIndex  = "index"
	byTopics = "topics"
)

// orderDoc is the report of closeorder trace, and what this console knows beside it.
type orderDoc struct {
	*timeline.Report
	// FoundBy is byIndex or byTopics.
	FoundBy string `json:"found_by"`
	// Replays are the ids of those replays in the report that were begun here.
	Replays []string `json:"replays_here"`
}

// Here reports whether a replay was begun at this console, so that it has a page.
func (d orderDoc) Here(id string) bool { return slices.Contains(d.Replays, id) }

// ReplayID is that of the replay that sent a record, as its headers say.
func (d orderDoc) ReplayID(e timeline.Entry) string {
	for _, h := range e.Headers {
		if h.Name == events.HeaderReplayID {
			return h.Value
		}
	}
	return ""
}

// Note is the rest of an entry in few words.
func (d orderDoc) Note(l timeline.Life, e timeline.Entry) string { return l.Note(&e, time.UTC) }

// Seen says that nobody has asked about the order, SeenNext what to do about that.
func (d orderDoc) Seen() string {
	answer, _ := d.NeverSeen(time.UTC)
	return answer
}

// SeenNext is what to do about an order that was never seen.
func (d orderDoc) SeenNext() string {
	_, next := d.NeverSeen(time.UTC)
	return next
}

// Due is when a request that waits is tried again, zero where none waits.
func (d orderDoc) Due(l timeline.Life, number int) (due time.Time) {
	for _, e := range l.Entries {
		if e.Kind == timeline.PutOff && !e.Finished && e.Request == number {
			due = e.DueAt
		}
	}
	return due
}

const (
	// orderWithin is how long an order may take to be read.
	orderWithin = 10 * time.Second
	// longestNumber is the longest out_trade_no that can be asked for, as with trace.
	longestNumber = 128
)

// order is what became of one order. Its records are where the index says; an order
// that the index does not have is searched for in the topics.
func (s *Server) order(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	o := events.Order{MchID: q.Get("mch_id"), SubMchID: q.Get("sub_mch_id"), OutTradeNo: q.Get("out_trade_no")}
	switch {
	case o.OutTradeNo == "":
		return nil, &badError{"out_trade_no is missing: which order?"}
	case len(o.OutTradeNo) > longestNumber:
		return nil, &badError{"out_trade_no has more than 128 bytes, and no order has more than 32"}
	case o.SubMchID != "" && o.MchID == "":
		return nil, &badError{"sub_mch_id needs mch_id beside it"}
	}
	scope := timeline.Scope{OutTradeNo: o.OutTradeNo, MchID: o.MchID, SubMchID: o.SubMchID}
	d := orderDoc{FoundBy: byIndex, Replays: []string{}}
	var err error
	// Those of all merchants, so that the report says of others what trace says.
	if scope.Places, err = s.cfg.Index.Places(ctx, events.Order{OutTradeNo: o.OutTradeNo}); err != nil {
		return nil, err
	}
	read := func(ctx context.Context) (*timeline.Report, error) { return s.readOrder(ctx, scope) }
	switch {
	case scope.Places == nil || len(scope.Places.At) == 0:
		d.FoundBy, scope.Places = byTopics, nil
		d.Report, err = s.searches.do(ctx, wanted{Order: o}, read)
	case isFollowing(r):
		// What changes while somebody follows it changes its records, or goes by the clock.
		d.Report, err = s.followed.do(ctx, wanted{o, maphash.String(s.seed, fmt.Sprint(scope.Places.At))}, read)
	default:
		d.Report, err = read(ctx)
	}
	if err != nil {
		return nil, err
	}
	return d, s.nameReplays(ctx, &d)
}

// nameReplays finds out which replays of a report have a page here.
func (s *Server) nameReplays(ctx context.Context, d *orderDoc) error {
	asked := map[string]bool{}
	for _, l := range d.Lives {
		for _, e := range l.Entries {
			id := d.ReplayID(e)
			if id == "" || asked[id] || len(asked) == mostFound {
				continue
			}
			asked[id] = true
			switch _, err := s.cfg.Desk.Replay(ctx, id); {
			case err == nil:
				d.Replays = append(d.Replays, id)
			case statusOf(err) != http.StatusNotFound:
				return err
			}
		}
	}
	return nil
}

// awayError is Kafka that does not answer in time.
type awayError struct {
	doing string
	err   error
}

func (e *awayError) Error() string {
	return e.doing + " took more than " + timeline.Span(orderWithin) + ": " + e.err.Error() + "; what the index knows is still found by a search, and closeorder trace reads for as long as it takes"
}

func (e *awayError) Unwrap() error { return e.err }

// readOrder reads the topics, for orderWithin at most.
func (s *Server) readOrder(ctx context.Context, scope timeline.Scope) (*timeline.Report, error) {
	within, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	report, err := s.topics.order(within, scope)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return nil, &awayError{"to read order " + timeline.Quoted(scope.OutTradeNo), err}
	}
	return report, err
}

const (
	// searchAgain is how long the result of a search in the topics is shown: a page
	// that is followed would read them again and again.
	searchAgain = 30 * time.Second
	// mostSearches is how many results are kept, searchesAbreast how many searches
	// run at one time.
	mostSearches    = 64
	searchesAbreast = 2
	// readsAbreast is the same of orders that somebody follows.
	readsAbreast = 8
)

// errBusy says that too many orders are read in the topics, or wait for that.
var errBusy = fmt.Errorf("%d other orders are being read in the topics, or wait for that; try again in a moment", mostSearches)

// searches are those in the topics: few at one time, each for all who want it.
type searches struct {
	again   time.Duration // for how long a result is shown
	abreast chan struct{}
	mu      sync.Mutex
	known   map[wanted]*searched
}

// wanted is an order, and which of its records are known.
type wanted struct {
	events.Order
	places uint64
}

type searched struct {
	done   chan struct{} // closed when the rest is there
	at     time.Time
	report *timeline.Report
	err    error
}

func newSearches(again time.Duration, abreast int) *searches {
	return &searches{again: again, abreast: make(chan struct{}, abreast), known: map[wanted]*searched{}}
}

// do searches, or returns what was found a moment ago.
func (c *searches) do(ctx context.Context, o wanted, search func(context.Context) (*timeline.Report, error)) (*timeline.Report, error) {
	c.mu.Lock()
	now := time.Now()
	one := c.known[o]
	if one == nil || !one.at.IsZero() && now.Sub(one.at) > c.again {
		c.forget(now)
		if len(c.known) >= mostSearches {
			c.mu.Unlock()
			return nil, errBusy
		}
		one = &searched{done: make(chan struct{})}
		c.known[o] = one
		// It goes on for others when the first one leaves.
		go c.run(context.WithoutCancel(ctx), o, one, search)
	}
	c.mu.Unlock()
	select {
	case <-one.done:
		return one.report, one.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *searches) run(ctx context.Context, o wanted, one *searched, search func(context.Context) (*timeline.Report, error)) {
	c.abreast <- struct{}{}
	one.report, one.err = search(ctx)
	<-c.abreast
	c.mu.Lock()
	defer c.mu.Unlock()
	one.at = time.Now()
	if one.err != nil && !errors.As(one.err, new(*awayError)) { // else it would take as long again
		delete(c.known, o)
	}
	close(one.done)
}

// forget makes room for another one.
func (c *searches) forget(now time.Time) {
	for o, one := range c.known {
		if !one.at.IsZero() && (now.Sub(one.at) > c.again || len(c.known) >= mostSearches) {
			delete(c.known, o)
		}
	}
}
