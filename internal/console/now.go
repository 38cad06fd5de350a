package console

import (
	"cmp"
	"context"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/plots"
	"github.com/closeorder/closeorder/internal/remedies"
	"github.com/closeorder/closeorder/internal/status"
)

const (
	// shownFor is the time that page Now is about.
	shownFor = time.Hour
	// leastShown is the least time that a plot shows of topics that were just made.
	leastShown = 15 * time.Minute
	// mostFailures is how many codes of failures are listed, and mostLatest how many
	// requests.
	mostFailures, mostLatest = 100, 10
)

// nowPage is the document of page Now. As JSON its names are stable.
type nowPage struct {
	At time.Time `json:"at"`
	// Status is the last look, as closeorder status --json prints it, nil before the
	// first; what was answered since Since is from the index. Took is how long the
	// look took, Trouble why there is no newer one.
	Status  *status.Report `json:"status,omitempty"`
	Looked  time.Time      `json:"looked_at,omitzero"`
	TookMS  int64          `json:"took_ms"`
	Trouble string         `json:"trouble,omitempty"`

	Since   time.Time      `json:"since"`
	Closed  int64          `json:"closed"`
	Paid    int64          `json:"paid"`
	Failed  int64          `json:"failed"`
	Minutes []index.Minute `json:"minutes"`
	// Failures are the dead letters since Since by code, the largest group first.
	Failures []failed `json:"failures"`
	Samples  []Sample `json:"samples"`
	// Latest are the requests that were asked for last, the newest first.
	Latest []index.Request `json:"latest_requests"`

	topics config.Topics
}

// failed are the dead letters of one code.
type failed struct {
	Code      string    `json:"code,omitempty"`
	Count     int64     `json:"count"`
	Open      int64     `json:"open"` // without a final outcome by now
	Merchants int       `json:"merchants"`
	Latest    time.Time `json:"latest"`
	MchID     string    `json:"mch_id,omitempty"` // of the latest one
	Message   string    `json:"message,omitempty"`
	ToDo      string    `json:"to_do"`
}

func (s *Server) now(ctx context.Context, _ *http.Request) (any, error) {
	is, samples := s.looks.latest(ctx)
	at := time.Now().UTC()
	until := at.Truncate(time.Minute).Add(time.Minute)
	d := &nowPage{
		At: at, Looked: is.Ended.UTC(), TookMS: is.Took.Milliseconds(), Trouble: is.Trouble, Since: until.Add(-shownFor),
		Minutes: []index.Minute{}, Failures: []failed{}, Samples: []Sample{}, Latest: []index.Request{}, topics: s.cfg.Topics,
	}
	d.Samples = append(d.Samples, samples...)
	recent, err := s.recent.of(ctx, s.cfg.Index, d.Since, until)
	if err != nil {
		return nil, err
	}
	d.Minutes, d.Failures, d.Latest = append(d.Minutes, recent.minutes...), append(d.Failures, recent.failures...), append(d.Latest, recent.latest...)
	for _, m := range d.Minutes {
		d.Closed, d.Paid, d.Failed = d.Closed+m.Closed, d.Paid+m.Paid, d.Failed+m.Failed
	}
	if is.Report != nil {
		report := *is.Report
		report.Since, report.Closed, report.Paid, report.Failed, report.Failures = d.Since, d.Closed, d.Paid, d.Failed, []status.Failure{}
		for _, g := range d.Failures {
			report.Failures = append(report.Failures, status.Failure{Code: g.Code, Count: g.Count, Merchants: g.Merchants, Latest: g.Latest, MchID: g.MchID, Message: g.Message})
		}
		d.Status = &report
	}
	return d, nil
}

// recent is what the index says of the last hour, asked once a second at most for
// all viewers, and for no more than a tenth of the time: a bad hour has many dead
// letters. It is safe for concurrent use.
type recent struct {
	turn  chan struct{} // holds one: who asks, or looks at what stands below
	until time.Time     // of what is known
	next  time.Time     // the earliest time to ask again
	is    recently
}

type recently struct {
	minutes  []index.Minute
	failures []failed
	latest   []index.Request
}

// of returns what the index says of a time, or has just said of it.
func (r *recent) of(ctx context.Context, x Index, since, until time.Time) (recently, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return recently{}, context.Cause(ctx)
	}
	began := time.Now()
	if r.until.Equal(until) && began.Before(r.next) {
		return r.is, nil
	}
	minutes, err := x.Minutes(ctx, since, until)
	if err != nil {
		return recently{}, err
	}
	f := index.LetterFilter{}
	f.Since = since
	groups, err := x.Groups(ctx, f, index.ByBoth, mostPairs)
	if err != nil {
		return recently{}, err
	}
	latest, err := x.Search(ctx, "", mostLatest)
	if err != nil {
		return recently{}, err
	}
	r.is, r.until = recently{minutes, byCode(groups), latest}, until
	r.next = began.Add(max(sendEvery, (lookShare+1)*time.Since(began)))
	return r.is, nil
}

// mostPairs is how many pairs of code and merchant are looked at to count the
// merchants of a code.
const mostPairs = 5000

// byCode takes groups of codes and merchants together by code.
func byCode(groups []index.Group) []failed {
	codes := make(map[string]*failed)
	var all []*failed
	for _, g := range groups {
		f := codes[g.Code]
		if f == nil {
			f = &failed{Code: g.Code, ToDo: remedies.For(g.Code)}
			codes[g.Code] = f
			all = append(all, f)
		}
		f.Count, f.Open, f.Merchants = f.Count+g.Count, f.Open+g.Open, f.Merchants+1
		if !g.Latest.Before(f.Latest) {
			f.Latest, f.MchID, f.Message = g.Latest, g.MchID, g.Message
		}
	}
	slices.SortFunc(all, func(a, b *failed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code))
	})
	out := make([]failed, 0, min(len(all), mostFailures))
	for _, f := range all[:min(len(all), mostFailures)] {
		out = append(out, *f)
	}
	return out
}

// headline is what somebody who was woken reads first: how bad it is, and what is
// wrong or waits, the worst first. Text is in the words of the page where Said is
// false, else of another room.
type headline struct {
	Class string // bad, warn or good
	Text  string
	Said  bool
	// More is what is wrong or waits beside it.
	More []string
}

// Headline judges by what others say; it has no rule of its own but which of it
// comes first.
func (d *nowPage) Headline() headline {
	said := func(class string, lines []string) headline {
		return headline{Class: class, Text: lines[0], Said: true, More: lines[1:]}
	}
	switch waits := d.waits(); {
	case d.Trouble != "":
		h := headline{Class: "bad", Text: "Kafka cannot be read", More: []string{d.Trouble}}
		if d.Status != nil {
			h.More = append(h.More, d.Status.Wrong...)
		}
		return h
	case d.Status == nil:
		return headline{Class: "warn", Text: "Nobody has looked yet"}
	case len(d.Status.Wrong) > 0:
		return said("bad", append(slices.Clone(d.Status.Wrong), waits...))
	case len(waits) > 0:
		return headline{Class: "warn", Text: "Requests wait", More: waits}
	case len(d.Status.Unseen) > 0 || d.Silent() > 0:
		if d.OpenFailures() > 0 {
			return headline{Class: "warn", Text: "The workers serve, as far as can be seen"}
		}
		return headline{Class: "warn", Text: "All is well, as far as can be seen"}
	case d.OpenFailures() > 0:
		return headline{Class: "good", Text: "The workers serve"}
	}
	return headline{Class: "good", Text: "All is well"}
}

// OpenFailures are the dead letters since Since without a closed or paid outcome: their
// orders may be payable, so that not all is well.
func (d *nowPage) OpenFailures() (n int64) {
	for _, f := range d.Failures {
		n += f.Open
	}
	return n
}

// waits are what workers say that requests wait for, each once.
func (d *nowPage) waits() (all []string) {
	if d.Status == nil {
		return nil
	}
	for _, m := range d.Status.Members {
		if m.Says == nil {
			continue
		}
		for _, why := range m.Says.State.Health.Waits {
			if !slices.Contains(all, why) {
				all = append(all, why)
			}
		}
	}
	return all
}

// Silent counts the workers that say nothing.
func (d *nowPage) Silent() (n int) {
	for _, m := range d.Status.Members {
		if m.Says == nil {
			n++
		}
	}
	return n
}

// Workers are the members of the group, or those that were asked.
func (d *nowPage) Workers() []worker {
	all := make([]worker, 0, len(d.Status.Members))
	for _, m := range d.Status.Members {
		w := worker{Member: m, State: "silent", Class: "warn", Parts: m.Partitions()}
		if m.Silent != "" {
			w.Why = []string{m.Silent}
		}
		switch is := m.Says; {
		case m.Foreign:
			w.State = "foreign"
		case is == nil:
			if strings.HasPrefix(m.Silent, "no answer") {
				w.Class = "bad"
			}
		case is.Stuck != "":
			w.State, w.Class, w.Why = "stuck", "bad", []string{is.Stuck}
		default:
			s := is.State
			w.Speaks, w.Parts = true, cmp.Or(w.Parts, len(s.Partitions))
			w.InFlight, w.Slots, w.DueNow, w.Breaker = s.Lanes.InFlight, s.Lanes.Slots, s.DueNow, s.Breaker
			switch h := s.Health; {
			case is.Stopping:
				w.State, w.Why = "stopping", h.Waits
			case !h.Live:
				w.State, w.Class, w.Why = "stuck", "bad", h.Stuck
			case !h.Ready:
				w.State, w.Class, w.Why = "not ready", "bad", h.NotReady
			case len(h.Waits) > 0:
				w.State, w.Why = "waiting", h.Waits
			default:
				w.State, w.Class = "serving", "good"
			}
		}
		all = append(all, w)
	}
	return all
}

// worker is a row of the table of workers.
type worker struct {
	status.Member
	State, Class string
	Why          []string
	Parts        int
	// Speaks: what stands below is known.
	Speaks          bool
	InFlight, Slots int
	DueNow          int64
	Breaker         consumer.BreakerState
}

// Hosts are the gateway's, as each worker finds them.
func (d *nowPage) Hosts() (all []host) {
	for _, m := range d.Status.Members {
		if m.Says == nil {
			continue
		}
		for _, h := range m.Says.Hosts {
			is := host{Host: h, Worker: m.Name(), State: "in use", Class: "good"}
			switch {
			case !h.InUse:
				is.State, is.Class = "left", "bad"
			case h.Failing:
				is.State, is.Class = "failing", "warn"
			}
			all = append(all, is)
		}
	}
	return all
}

// host is a row of the table of hosts.
type host struct {
	admin.Host
	Worker, State, Class string
}

// Holds are the merchants that are held, each once: each worker finds out for itself.
func (d *nowPage) Holds() (all []consumer.HoldState) {
	seen := make(map[consumer.Scope]bool)
	for _, m := range d.Status.Members {
		if m.Says == nil {
			continue
		}
		for _, h := range m.Says.State.Holds {
			if scope := (consumer.Scope{MchID: h.MchID, AppID: h.AppID, SubMchID: h.SubMchID}); !seen[scope] {
				seen[scope] = true
				all = append(all, h)
			}
		}
	}
	return all
}

// Open is all that is not finished.
func (d *nowPage) Open() backlog.Pile {
	all := backlog.Pile{}
	for _, p := range []backlog.Pile{d.Status.Waiting, d.Status.InFlight} {
		all.Add(p.Count, p.Oldest, time.Time{})
	}
	return all
}

// Lag is that of the requests topic.
func (d *nowPage) Lag() int64 { return *sampleOf(d.At, d.topics, d.Status).Lag }

// DueNow is what all workers say, nil where none does.
func (d *nowPage) DueNow() *int64 {
	due, _ := said(d.Status)
	return due
}

// plot draws one of the plots, in a language.
func (d *nowPage) plot(lang, name string) template.HTML {
	words := func(none string) plots.Words {
		return plots.Words{None: none, Table: say(lang, "Numbers"), Time: say(lang, "Time"), Gap: "-"}
	}
	times := make([]time.Time, 0, len(d.Minutes))
	var closed, paid, failed, half, most []float64
	for _, m := range d.shown() {
		times = append(times, m.At)
		closed, paid, failed = append(closed, float64(m.Closed)), append(paid, float64(m.Paid)), append(failed, float64(m.Failed))
		if m.Closed+m.Paid+m.Failed == 0 {
			half, most = append(half, math.NaN()), append(most, math.NaN())
			continue
		}
		half, most = append(half, float64(m.Half)), append(most, float64(m.Most))
	}
	switch name {
	case "outcomes":
		return plots.Chart{
			ID: "outcomes", Title: say(lang, "Outcomes per minute"), Times: times, Words: words(say(lang, "Nothing was answered in the last hour.")),
			Desc: say(lang, "In the last hour %s were closed, %s paid and %s failed.", num(d.Closed), num(d.Paid), num(d.Failed)),
			Series: []plots.Series{
				{Name: say(lang, string(events.Closed)), Class: "s-closed", Values: closed},
				{Name: say(lang, string(events.Paid)), Class: "s-paid", Values: paid},
				{Name: say(lang, string(events.Failed)), Class: "s-failed", Values: failed},
			},
		}.Bars()
	case "latency":
		return plots.Chart{
			ID: "latency", Title: say(lang, "How long requests took, from their timestamp to the outcome"), Times: times,
			Desc:  say(lang, "In the last minute with an outcome half of the requests took at most %s, 99 of 100 at most %s.", lastOf(half), lastOf(most)),
			Words: words(say(lang, "Nothing was answered in the last hour.")), Marks: plots.Durations(), Format: plots.Milliseconds,
			Series: []plots.Series{{Name: "p50", Class: "s-first", Values: half}, {Name: "p99", Class: "s-second", Values: most}},
		}.Lines()
	}
	times = nil
	var lag, due []float64
	for _, s := range d.Samples {
		times = append(times, s.At)
		lag, due = append(lag, known(s.Lag)), append(due, known(s.DueNow))
	}
	return plots.Chart{
		ID: "backlog", Title: say(lang, "Backlog"), Times: times, Words: words(say(lang, "The backlog was not measured yet.")), Every: int(time.Minute / sampleEvery),
		Desc: say(lang, "Measured every %s since the console was started, for an hour at most.", plots.Milliseconds(float64(sampleEvery.Milliseconds()))),
		Series: []plots.Series{
			{Name: say(lang, "lag of the requests topic, in offsets"), Class: "s-first", Values: lag},
			{Name: say(lang, "due now, in requests"), Class: "s-second", Values: due},
		},
	}.Lines()
}

// shown are the minutes from the first one with an outcome on, and so many at least:
// who has just begun sees more than one bar at the edge.
func (d *nowPage) shown() []index.Minute {
	first := slices.IndexFunc(d.Minutes, func(m index.Minute) bool { return m.Closed+m.Paid+m.Failed > 0 })
	return d.Minutes[max(0, min(first, len(d.Minutes)-int(leastShown/time.Minute))):]
}

// tiers draws what stands in the retry topics.
func (d *nowPage) tiers(lang string) template.HTML {
	r := plots.Rows{
		ID: "tiers", Title: say(lang, "Waiting, by retry topic"), Head: say(lang, "Topic"), Unit: say(lang, "Offsets"),
		Desc:  say(lang, "How many offsets of each retry topic are not finished."),
		Words: plots.Words{None: say(lang, "There is no retry topic."), Table: say(lang, "Numbers")},
	}
	for _, t := range d.Status.Topics {
		if t.Topic != d.topics.Requests {
			r.Names, r.Values = append(r.Names, t.Topic), append(r.Values, float64(t.Lag))
		}
	}
	return r.Draw()
}

func known(n *int64) float64 {
	if n == nil {
		return math.NaN()
	}
	return float64(*n)
}

// lastOf is the last number of milliseconds that is known.
func lastOf(values []float64) string {
	for _, v := range slices.Backward(values) {
		if !math.IsNaN(v) {
			return plots.Milliseconds(v)
		}
	}
	return "-"
}
