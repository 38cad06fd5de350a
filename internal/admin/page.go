package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/consumer"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string

	pageTemplate = template.Must(template.New("page").Parse(pageText))
	// policy lets the page load nothing, and run nothing: what stands on it came
	// from elsewhere.
	policy = "default-src 'none'; style-src 'sha256-" + hashOf(style) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what the template shows.
type page struct {
	Title, Headline, About string
	Class                  string // bad, warn or good
	Why                    []string
	Style                  template.CSS
	Refresh                bool
	Tables                 []table
}

// table is one of the page; None stands there without rows.
type table struct {
	Title, None string
	Heads       []string
	Rows        [][]cell
}

// cell is one of a table; Class is one of the style's.
type cell struct{ Text, Class string }

func name(s string) cell                   { return cell{cmp.Or(s, "-"), "name"} }
func words(s string) cell                  { return cell{Text: cmp.Or(s, "-")} }
func bad(s string) cell                    { return cell{s, "bad"} }
func warn(s string) cell                   { return cell{s, "warn"} }
func num[N int | int64 | uint64](n N) cell { return cell{fmt.Sprint(n), "num"} }

// offset is one that may not be known yet.
func offset(n int64) cell {
	if n < 0 {
		return cell{"-", "num"}
	}
	return num(n)
}

// render makes the page.
func render(is Status, refresh bool) ([]byte, error) {
	p := page{Style: template.CSS(style), Refresh: refresh, About: is.Build}
	p.Headline, p.Class, p.Why = headline(is)
	p.Title = p.Headline
	if is.Stuck == "" {
		v := view{is.At, is.State}
		p.About = fmt.Sprintf("group %s, at %s; started %s; %s", is.State.Group, stamp(is.At), v.when(is.State.Started), is.Build)
		p.Tables = append(p.Tables, v.facts(), v.oldest(), v.holds(), v.hosts(is.Hosts))
	}
	v := view{at: is.At, s: is.State}
	p.Tables = append(p.Tables, v.recent(is.Recent))
	if is.Stuck == "" {
		p.Tables = append(p.Tables, v.tiers(), v.partitions())
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// headline says in words what the worker does now and what is wrong, the most
// important first.
func headline(is Status) (text, class string, why []string) {
	h := is.State.Health
	switch {
	case is.Stuck != "":
		return "Stuck: kill it, its requests are served by the next one", "bad", []string{is.Stuck}
	case is.Stopping:
		return "Stopping: calls in flight get their time, then it ends", "warn", append(append([]string{}, h.Stuck...), h.Waits...)
	case !h.Live:
		return "Stuck: kill it, its requests are served by the next one", "bad", append(append([]string{}, h.Stuck...), h.Waits...)
	case !h.Ready:
		return "Not ready: " + first(h.NotReady, "nobody knows why"), "bad", append(rest(h.NotReady), h.Waits...)
	case len(h.Waits) > 0:
		return "Requests wait: " + h.Waits[0], "warn", rest(h.Waits)
	}
	s := is.State
	open, waiting := 0, 0
	for _, p := range s.Partitions {
		open, waiting = open+p.Open, waiting+p.Waiting
	}
	switch {
	case len(s.Partitions) == 0:
		return "Ready, as a spare: the group has given it no partition", "good", nil
	case s.Lanes.InFlight+s.Lanes.Resting > 0 || s.DueNow > 0:
		return fmt.Sprintf("Working: %d calls in flight, %d requests could be served now", s.Lanes.InFlight, s.DueNow), "good", nil
	case open == 0:
		return "Idle: nothing is asked for", "good", nil
	case waiting == open:
		return fmt.Sprintf("Idle: %d requests wait for their time", waiting), "good", nil
	}
	return fmt.Sprintf("Working: %d requests are open, %d of them wait for their time", open, waiting), "good", nil
}

func first(all []string, none string) string {
	if len(all) == 0 {
		return none
	}
	return all[0]
}

func rest(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	return append([]string{}, all[1:]...)
}

// view makes the tables of a state.
type view struct {
	at time.Time // ages are taken from here
	s  consumer.State
}

func (v view) facts() table {
	s := v.s
	t := table{Title: "What it does"}
	row := func(name string, value cell) { t.Rows = append(t.Rows, []cell{{name, "name"}, value}) }
	m := s.Member
	switch {
	case m.Joined:
		text := fmt.Sprintf("joined %s, generation %d, %s", v.when(m.Since), m.Generation, m.MemberID)
		if m.InstanceID != "" {
			text += ", static as " + m.InstanceID
		}
		row("group", words(text+", lease until "+v.when(m.LeaseUntil)))
	default:
		text := "not joined, " + v.when(m.Since)
		if m.Trouble != "" {
			text += ": " + m.Trouble
		}
		row("group", bad(text))
	}
	l := s.Lanes
	row("lanes", words(fmt.Sprintf("%d of %d call slots taken, %d rest, %d lanes are ready, %d orders", l.InFlight, l.Slots, l.Resting, l.Ready, l.Orders)))
	if l.LongestTurn > 0 {
		row("longest turn", words(fmt.Sprintf("%s, order %s of merchant %s", Age(l.LongestTurn), l.LongestOf.OutTradeNo, l.LongestOf.MchID)))
	}
	unpublished := fmt.Sprintf("%d, on their way to the topics", l.Unpublished)
	if l.Full {
		row("decisions", warn(unpublished+": so many that no call starts"))
	} else {
		row("decisions", words(unpublished))
	}
	row("breaker", v.breaker())
	row("publishing", v.publishing())
	row("committing", v.committing())
	dueNow := strconv.FormatInt(s.DueNow, 10) + " requests could be served now"
	if s.Breaker.State != "closed" {
		dueNow = strconv.FormatInt(s.DueNow, 10) + " requests could be served when the gateway went silent"
	}
	row("due now", words(dueNow))
	if s.OldestUnanswered > 0 {
		row("oldest", words(Age(s.OldestUnanswered)+" unanswered"))
	}
	row("memory", words(fmt.Sprintf("%s of %s", bytesOf(s.Memory.Held), bytesOf(s.Memory.Most))))
	row("connections", words(fmt.Sprintf("%d to brokers", s.Connections)))
	if s.Throttled > 0 {
		row("quotas", warn("brokers held requests back for "+Age(s.Throttled)+" in the last half minute"))
	}
	return t
}

func (v view) breaker() cell {
	b := v.s.Breaker
	limit := fmt.Sprintf(", at most %d calls at one time", b.Limit)
	switch {
	case b.State == "closed" && b.LastAnswer.IsZero():
		return words("closed: calls go through, none was answered yet" + limit)
	case b.State == "closed":
		return words("closed: calls go through, last answer " + v.when(b.LastAnswer) + limit)
	case b.State == "":
		return words("-")
	}
	text := b.State + ": the gateway does not answer, since " + v.when(b.Since)
	if !b.TrialAt.IsZero() {
		text += "; next trial " + v.when(b.TrialAt)
	}
	if !b.LastAnswer.IsZero() {
		text += "; last answer " + v.when(b.LastAnswer)
	}
	return bad(text)
}

func (v view) publishing() cell {
	p := v.s.Publishing
	text := fmt.Sprintf("%d requests under way, last acknowledged %s", p.UnderWay, v.when(p.Last))
	if p.Refused > 0 {
		text += fmt.Sprintf("; %d records that their topics do not take", p.Refused)
	}
	if p.Blocked {
		text += "; partitions are set aside that cannot be written"
	}
	switch {
	case !p.Failing.IsZero():
		return bad("failing since " + v.when(p.Failing) + ": " + cmp.Or(p.Error, "nothing is acknowledged") + "; " + text)
	case p.Refused > 0 || p.Blocked:
		return warn(text)
	}
	return words(text)
}

func (v view) committing() cell {
	c := v.s.Committing
	text := "last " + v.when(c.Last)
	if !c.Pending.IsZero() {
		text += "; offsets wait since " + v.when(c.Pending)
	}
	if !c.Failing.IsZero() {
		return bad("failing since " + v.when(c.Failing) + ": " + c.Error + "; " + text)
	}
	return words(text)
}

// stages are the words for what a request waits for.
var stages = map[consumer.Stage]string{
	consumer.StageQueued:     "its order's earlier requests, or a call slot",
	consumer.StageCalling:    "the gateway: it is called",
	consumer.StageDue:        "its time",
	consumer.StageMerchant:   "its merchant",
	consumer.StagePublishing: "the acknowledgement of its outcome",
}

func (v view) oldest() table {
	t := table{
		Title: "Oldest requests without an answer", None: "none is in memory",
		Heads: []string{"out_trade_no", "mch_id", "asked for", "waits for", "until", "why", "stands at", "asked at"},
	}
	for _, r := range v.s.Oldest {
		mchID := r.MchID
		if r.SubMchID != "" {
			mchID += "/" + r.SubMchID
		}
		t.Rows = append(t.Rows, []cell{
			name(r.OutTradeNo), name(mchID), name(v.when(r.Requested)), words(cmp.Or(stages[r.Stage], string(r.Stage))), v.until(r.Until), words(r.Why),
			name(fmt.Sprintf("%s[%d]@%d", r.Topic, r.Partition, r.Offset)), name(fmt.Sprintf("%s[%d]@%d", r.Source.Topic, r.Source.Partition, r.Source.Offset)),
		})
	}
	return t
}

func (v view) holds() table {
	t := table{Title: "Held merchants", None: "none", Heads: []string{"mch_id", "appid", "sub_mch_id", "held", "why", "asked again"}}
	for _, h := range v.s.Holds {
		why := warn(h.Why)
		if h.Silent {
			why.Text = "no answer: " + why.Text
		}
		t.Rows = append(t.Rows, []cell{name(h.MchID), name(h.AppID), name(h.SubMchID), name(v.when(h.Since)), why, v.until(h.NextProbe)})
	}
	return t
}

func (v view) hosts(all []Host) table {
	t := table{Title: "Gateway hosts", None: "none was called yet", Heads: []string{"host", "is", "answered", "failed", "last failure", "calls at one time"}}
	for _, h := range all {
		is := words("well")
		switch {
		case !h.InUse:
			is = bad("left, tried again " + v.when(h.LeftUntil))
		case h.Failing:
			is = warn("most calls fail")
		}
		t.Rows = append(t.Rows, []cell{name(h.URL), is, num(h.Answered), num(h.Failed), name(h.LastFailure), num(h.Limit)})
	}
	return t
}

func (v view) recent(all []Line) table {
	t := table{Title: "Last warnings and errors", None: "none since it was started", Heads: []string{"last", "first", "times", "level", "what", "more"}}
	for _, l := range all {
		what := warn(l.Message)
		if l.Level != "warning" {
			what = bad(l.Message)
		}
		began := "-"
		if l.Count > 1 {
			began = v.when(l.First)
		}
		t.Rows = append(t.Rows, []cell{name(v.when(l.Last)), name(began), num(l.Count), name(l.Level), what, words(l.Fields)})
	}
	return t
}

func (v view) tiers() table {
	t := table{Title: "Retry topics", None: "none", Heads: []string{"topic", "delay", "waiting in memory", "unread"}}
	for _, tier := range v.s.Tiers {
		t.Rows = append(t.Rows, []cell{name(tier.Topic), name(Age(tier.Delay)), num(tier.Waiting), num(tier.Unread)})
	}
	return t
}

func (v view) partitions() table {
	t := table{
		Title: "Partitions", None: "it owns none",
		Heads: []string{"topic", "partition", "watermark", "next", "end", "lag", "open", "waiting", "in flight", "unpublished", "heard", "is"},
	}
	for _, p := range v.s.Partitions {
		is := words("read")
		switch {
		case p.Stopped != "":
			is = bad("stopped: " + p.Stopped)
		case p.FetchError != "":
			is = bad("cannot be fetched: " + p.FetchError)
		case p.Draining:
			is = warn("given up: it drains")
		}
		lag := num(p.Lag())
		if p.End < 0 || p.Watermark < 0 {
			lag = offset(-1)
		}
		t.Rows = append(t.Rows, []cell{
			name(p.Topic), num(p.Partition), offset(p.Watermark), offset(p.Next), offset(p.End), lag,
			num(p.Open), num(p.Waiting), num(p.InFlight), num(p.Unpublished), name(v.when(p.Heard)), is,
		})
	}
	return t
}

// stamp is a time with its zone.
func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// when is a time with its zone, and how long ago that is or how long it takes.
func (v view) when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := v.at.Sub(t).Round(time.Second); {
	case d < 0:
		return stamp(t) + " (in " + Age(d.Abs()) + ")"
	default:
		return stamp(t) + " (" + Age(d) + " ago)"
	}
}

// until is a time that may not be known.
func (v view) until(t time.Time) cell {
	if t.IsZero() {
		return name("")
	}
	return name(v.when(t))
}

// Age is a duration for people: its two largest units.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		of   time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.of, u.name)
		if i+1 < len(units) && d%u.of >= units[i+1].of {
			text += fmt.Sprintf("%d%s", d%u.of/units[i+1].of, units[i+1].name)
		}
		return text
	}
	return d.Round(time.Millisecond).String()
}

// bytesOf is a number of bytes for people.
func bytesOf(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
