package console

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/status"
	"golang.org/x/net/html"
)

// says is a member that says something of itself.
func says(id string, s consumer.State, hosts ...admin.Host) status.Member {
	return status.Member{ID: id, InstanceID: id, Host: "10.0.0.7", Admin: "10.0.0.7:9290", Assigned: map[string][]int{"closeorder.requests": {0, 1}}, Says: &admin.Status{State: s, Hosts: hosts}}
}

var (
	serves  = consumer.State{Health: consumer.Health{Live: true, Ready: true}, Breaker: consumer.BreakerState{State: "closed"}, Lanes: consumer.LaneState{InFlight: 2, Slots: 64}, DueNow: 40}
	waitFor = consumer.State{Health: consumer.Health{Live: true, Ready: true, Waits: []string{"the gateway does not answer"}}, Breaker: consumer.BreakerState{State: "open"}, DueNow: 2}
)

func TestTheHeadlineIsWhatIsWorst(t *testing.T) {
	for sentence, c := range map[string]struct {
		is    lookedAt
		class string
		want  string
		more  string
	}{
		"all serve":                   {lookedAt{Report: &status.Report{Members: []status.Member{says("a", serves)}}}, "good", "All is well", ""},
		"one says nothing":            {lookedAt{Report: &status.Report{Members: []status.Member{says("a", serves), {ID: "b", Silent: "it serves no admin address"}}}}, "warn", "All is well, as far as can be seen", ""},
		"something could not be seen": {lookedAt{Report: &status.Report{Unseen: []string{"who is in the group"}}}, "warn", "All is well, as far as can be seen", ""},
		"requests wait":               {lookedAt{Report: &status.Report{Members: []status.Member{says("a", waitFor), says("b", waitFor)}}}, "warn", "Requests wait", "the gateway does not answer"},
		"something is wrong":          {lookedAt{Report: &status.Report{Wrong: []string{"a is stuck", "b is not ready"}, Members: []status.Member{says("a", waitFor)}}}, "bad", "a is stuck", "b is not ready|the gateway does not answer"},
		"nobody has looked":           {lookedAt{}, "warn", "Nobody has looked yet", ""},
		"Kafka is away":               {lookedAt{Trouble: "no broker answers"}, "bad", "Kafka cannot be read", "no broker answers"},
		"Kafka is away, and was wrong": {lookedAt{Trouble: "no broker answers", Report: &status.Report{Wrong: []string{"a is stuck"}}},
			"bad", "Kafka cannot be read", "no broker answers|a is stuck"},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := (&nowPage{Status: c.is.Report, Trouble: c.is.Trouble}).Headline()
			if h.Class != c.class || h.Text != c.want || strings.Join(h.More, "|") != c.more {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestNotAllIsWellWhereRequestsHaveFailedAndAreOpen(t *testing.T) {
	for sentence, c := range map[string]struct {
		report status.Report
		open   int64
		class  string
		want   string
	}{
		"some are open":                      {status.Report{Members: []status.Member{says("a", serves)}}, 3, "good", "The workers serve"},
		"all of them were answered since":    {status.Report{Members: []status.Member{says("a", serves)}}, 0, "good", "All is well"},
		"some are open, and one is not seen": {status.Report{Members: []status.Member{{ID: "b", Silent: "it serves no admin address"}}}, 3, "warn", "The workers serve, as far as can be seen"},
		"something is worse":                 {status.Report{Wrong: []string{"a is stuck"}}, 3, "bad", "a is stuck"},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := &nowPage{Status: &c.report, Failures: []failed{{Count: 5, Open: c.open}}}
			if h := d.Headline(); h.Class != c.class || h.Text != c.want || d.OpenFailures() != c.open {
				t.Errorf("%+v, %d open", h, d.OpenFailures())
			}
		})
	}
}

func TestAWorkerIsSaidToBeWhatItIs(t *testing.T) {
	with := func(h consumer.Health) consumer.State { return consumer.State{Health: h} }
	for sentence, c := range map[string]struct {
		m                 status.Member
		state, class, why string
	}{
		"it serves":               {says("a", serves), "serving", "good", ""},
		"its requests wait":       {says("a", waitFor), "waiting", "warn", "the gateway does not answer"},
		"it is not ready":         {says("a", with(consumer.Health{Live: true, NotReady: []string{"no broker"}})), "not ready", "bad", "no broker"},
		"it makes no progress":    {says("a", with(consumer.Health{Stuck: []string{"a call"}})), "stuck", "bad", "a call"},
		"its state is locked":     {status.Member{Says: &admin.Status{Stuck: "locked"}}, "stuck", "bad", "locked"},
		"it stops":                {status.Member{Says: &admin.Status{Stopping: true}}, "stopping", "warn", ""},
		"it does not answer":      {status.Member{Admin: "a:1", Silent: "no answer of http://a:1"}, "silent", "bad", "no answer of http://a:1"},
		"it has no admin address": {status.Member{Silent: "it serves no admin address"}, "silent", "warn", "it serves no admin address"},
		"it is no closeorder":     {status.Member{Foreign: true, Silent: "it is no closeorder"}, "foreign", "warn", "it is no closeorder"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := (&nowPage{Status: &status.Report{Members: []status.Member{c.m}}}).Workers()[0]
			if w.State != c.state || w.Class != c.class || strings.Join(w.Why, "; ") != c.why {
				t.Errorf("%+v", w)
			}
		})
	}
}

// nowFakes is a server that has much to show.
func nowFakes(t *testing.T) *fakes {
	f := newFakes(t)
	at := time.Now().UTC()
	first := at.Truncate(time.Minute).Add(time.Minute - shownFor)
	for i := range 60 {
		m := index.Minute{At: first.Add(time.Duration(i) * time.Minute)}
		if i > 5 {
			m.Closed, m.Paid, m.Failed, m.Half, m.Most = int64(i%13), int64(i%4/3), int64(i%9/8), int64(40+i), int64(900+i*i*3)
		}
		f.index.minutes = append(f.index.minutes, m)
		f.looks.samples = append(f.looks.samples, Sample{At: m.At, Lag: new(int64), DueNow: new(int64)})
		*f.looks.samples[i].Lag = int64(i * i % 170)
	}
	f.index.progress = index.Progress{CaughtUp: true, At: at}
	f.index.groups = []index.Group{
		{Code: "UNKNOWN_MERCHANT", MchID: "1900000109", Count: 40, Open: 40, Latest: at.Add(-time.Minute), Message: "merchant 1900000109 is not in the merchants file"},
		{Code: "ORDERNOTEXIST", MchID: "1900000001", Count: 2, Open: 1, Latest: at.Add(-30 * time.Minute), Message: "order not exist"},
		{Code: "UNKNOWN_MERCHANT", MchID: "1900000110", Count: 1, Open: 0, Latest: at.Add(-time.Hour), Message: "an older one"},
	}
	f.index.requests = []index.Request{
		{Partition: 1, Offset: 8, MchID: "1900000001", OutTradeNo: "T8", Requested: at.Add(-time.Second)},
		{Partition: 0, Offset: 7, MchID: "1900000001", OutTradeNo: "T7", Requested: at.Add(-3 * time.Second), Outcome: events.Paid, Code: "ORDERPAID"},
	}
	held := waitFor
	held.Breaker.Since, held.Breaker.TrialAt = at.Add(-90*time.Second), at.Add(10*time.Second)
	held.Holds = []consumer.HoldState{{MchID: "1900000001", Since: at.Add(-time.Hour), Why: "SIGNERROR: signature error", NextProbe: at.Add(time.Minute)}}
	f.looks.is = lookedAt{Ended: at, Took: 30 * time.Millisecond, Report: &status.Report{
		At: at, Group: "closeorder", State: "Stable",
		Wrong: []string{"2 partitions of closeorder.requests have no owner: nobody reads them"}, Unseen: []string{},
		Members: []status.Member{
			says("worker-1", serves, admin.Host{URL: "https://api.mch.weixin.qq.com", InUse: true, Answered: 1234567, Failed: 3, LastFailure: "timeout"}),
			says("worker-2", held, admin.Host{URL: "https://api2.mch.weixin.qq.com", LeftUntil: at.Add(20 * time.Second), Failed: 9}),
			{ID: "worker-3", Silent: "it serves no admin address (admin_addr)"},
		},
		Topics: []status.Topic{
			{Topic: "closeorder.requests", Partitions: 6, Lag: 1234, Unowned: []int{4, 5}}, {Topic: "closeorder.retry.30s", Partitions: 3, Lag: 12},
			{Topic: "closeorder.retry.5m", Partitions: 3},
		},
		Waiting:  backlog.Pile{Count: 12, Oldest: at.Add(-20 * time.Minute), DueFirst: at.Add(5 * time.Second)},
		By:       []backlog.Pile{{Code: "SYSTEMERROR", MchID: "1900000001", Count: 12, Oldest: at.Add(-20 * time.Minute), DueFirst: at.Add(5 * time.Second)}},
		InFlight: backlog.Pile{Count: 30, Oldest: at.Add(-2 * time.Second)},
	}}
	return f
}

func TestPageNowShowsWhatItsDocumentSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := nowFakes(t)
		page := f.get("/").Body.String()
		golden.Check(t, "testdata/now.html", page)
		golden.Check(t, "testdata/now.zh.html", f.get("/", "Accept-Language", "zh-CN").Body.String())
		text := textOf(t, page)
		for _, want := range []string{
			"2 partitions of closeorder.requests have no owner", "the gateway does not answer", "1 of 3 workers say nothing",
			"Open requests 42", "Waiting 12", "In flight 30", "Lag 1,234", "Due now 42", "Oldest 20 min ago", "closed 325", "paid 14", "failed 6",
			"T8 … no outcome yet 1900000001 - 1 s ago", "T7 ¥ paid 1900000001 ORDERPAID 3 s ago",
			"UNKNOWN_MERCHANT 41 40 2 1 min ago merchant 1900000109", "add the merchant to the merchants file",
			"worker-1 ✓ serving 2 2/64 40 ✓ closed, calls go through", "open since 1 min 30 s ago, next trial in 10 s", "silent it serves no admin address",
			"1900000001 - - 1 h ago in 1 min ! refused SIGNERROR", "https://api2.mch.weixin.qq.com worker-2 ✗ left tried again in 20 s",
			"SYSTEMERROR 1900000001 12 20 min ago in 5 s", "closeorder.requests 6 1,234 4, 5",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not say %q", want)
			}
		}
		var doc struct {
			Closed   int64          `json:"closed"`
			Failures []failed       `json:"failures"`
			Minutes  []index.Minute `json:"minutes"`
			Samples  []Sample       `json:"samples"`
			Status   status.Report  `json:"status"`
		}
		if err := json.Unmarshal(f.get("/now.json").Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		switch {
		case doc.Closed != 325 || doc.Status.Closed != 325 || len(doc.Minutes) != 60 || len(doc.Samples) != 60:
			t.Errorf("%+v", doc)
		case len(doc.Failures) != 2 || doc.Failures[0].Count != 41 || doc.Failures[0].Open != 40 || doc.Failures[0].Message != "merchant 1900000109 is not in the merchants file":
			t.Errorf("%+v", doc.Failures)
		case len(doc.Status.Failures) != 2 || doc.Status.Failures[0].Merchants != 2:
			t.Errorf("%+v", doc.Status.Failures)
		case f.looks.is.Report.Closed != 0:
			t.Error("the look of all viewers was changed")
		}
	})
}

func TestPageNowIsThereWithoutALook(t *testing.T) {
	f := newFakes(t)
	text := textOf(t, f.get("/").Body.String())
	for _, want := range []string{"Nobody has looked yet", "Nothing was answered in the last hour.", "The backlog was not measured yet.", "No request has failed in the last hour."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %s", want, text)
		}
	}
}

func TestPlotsBeginWithTheFirstOutcome(t *testing.T) {
	for sentence, c := range map[string]struct{ first, want int }{
		"an hour with outcomes":           {0, 60},
		"outcomes since twenty minutes":   {40, 20},
		"outcomes of the last minute":     {59, 15},
		"nothing was answered in an hour": {-1, 60},
	} {
		d := &nowPage{Minutes: make([]index.Minute, 60)}
		if c.first >= 0 {
			d.Minutes[c.first].Paid = 1
		}
		if n := len(d.shown()); n != c.want {
			t.Errorf("%s: %d minutes, want %d", sentence, n, c.want)
		}
	}
	if n := len((&nowPage{Minutes: make([]index.Minute, 3)}).shown()); n != 3 {
		t.Errorf("%d of 3 minutes", n)
	}
}

// textOf is what a page says, without its markup.
func textOf(t *testing.T, page string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && !slices.Contains([]string{"title", "desc", "script"}, n.Parent.Data) {
			b.WriteString(" " + n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// headings must not leave out a level, and there is one of the first: screen readers
// go by them. Ids are there once, and each label and description has what it names.
func TestPagesAreInOrderForThoseWhoDoNotSeeThem(t *testing.T) {
	for _, f := range []*fakes{filled(t, harmless, true, noon), filled(t, harmless, false, noon), newFakes(t), nowFakes(t)} {
		for _, p := range f.pages() {
			w := f.get(p.Path + question(p, harmless))
			if err := inOrder(w); err != "" {
				t.Errorf("%s: %s", p.Path, err)
			}
		}
	}
}

func inOrder(w *httptest.ResponseRecorder) string {
	doc, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		return err.Error()
	}
	attr := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	ids, labelled, named := map[string]bool{}, map[string]bool{}, []string{}
	level, firsts := 0, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id, ok := attr(n, "id"); ok {
			if ids[id] {
				return "two elements have the id " + id
			}
			ids[id] = true
		}
		for _, key := range []string{"aria-labelledby", "aria-describedby", "for"} {
			if of, ok := attr(n, key); ok {
				named = append(named, strings.Fields(of)...)
				if key == "for" {
					labelled[of] = true
				}
			}
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			is := int(n.Data[1] - '0')
			if is > level+1 {
				return "a heading leaves out a level: " + n.Data
			}
			if level = is; is == 1 {
				firsts++
			}
		}
		if n.Data == "th" {
			if _, ok := attr(n, "scope"); !ok {
				return "a head of a table has no scope"
			}
		}
		if n.Data == "table" {
			_, ok := attr(n, "aria-labelledby")
			if !ok && (n.FirstChild == nil || !slices.ContainsFunc(slices.Collect(n.ChildNodes()), func(c *html.Node) bool { return c.Data == "caption" })) {
				return "a table has neither caption nor label"
			}
		}
	}
	for _, id := range named {
		if !ids[id] {
			return "nothing has the id " + id
		}
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" && n.Data != "select" && n.Data != "textarea" {
			continue
		}
		kind, _ := attr(n, "type")
		id, _ := attr(n, "id")
		_, label := attr(n, "aria-label")
		if kind != "hidden" && !labelled[id] && !label && n.Parent.Data != "label" {
			return "a control has no label: " + id
		}
	}
	if firsts != 1 {
		return "there is not one heading of the first level"
	}
	return ""
}

// slowIndex takes its time, and counts how often it is asked.
type slowIndex struct {
	*fakeIndex
	takes time.Duration
	asked int
}

func (x *slowIndex) Groups(ctx context.Context, f index.LetterFilter, by index.By, limit int) ([]index.Group, error) {
	x.asked++
	time.Sleep(x.takes)
	return x.fakeIndex.Groups(ctx, f, by, limit)
}

func TestTheIndexIsAskedOnceForAllWhoLookAtNow(t *testing.T) {
	for sentence, c := range map[string]struct {
		takes time.Duration
		asked int // in 30 seconds
	}{
		"an index that answers at once": {0, 30},
		"one that takes half a second":  {500 * time.Millisecond, 6},
		"one that takes three seconds":  {3 * time.Second, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakes(t)
				x := &slowIndex{fakeIndex: &s.index, takes: c.takes}
				s.cfg.Index = x
				var viewers sync.WaitGroup
				for range 5 {
					viewers.Go(func() {
						for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
							_, _ = s.now(t.Context(), nil)
						}
					})
				}
				viewers.Wait()
				if x.asked != c.asked {
					t.Errorf("it was asked %d times, want %d", x.asked, c.asked)
				}
			})
		})
	}
}
