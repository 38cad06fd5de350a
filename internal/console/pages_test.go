package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/net/html"
)

// full is a world in which each page has something to show.
func full(f *fakes) {
	f.index.progress = index.Progress{CaughtUp: true, At: noon, Requests: 3, DeadLetters: 2, Bytes: 123456, Oldest: noon.Add(-time.Hour)}
	f.index.requests = []index.Request{
		{Partition: 2, Offset: 16, MchID: "1900000109", OutTradeNo: "T41", RequestID: "r41", Requested: noon, Outcome: events.Closed, SafeToReissue: true, CompletedAt: noon.Add(time.Second)},
		{Partition: 2, Offset: 17, MchID: "1900000109", SubMchID: "1900000110", OutTradeNo: "T42", RequestID: "r42", Requested: noon, Outcome: events.Failed, Code: "UNKNOWN_MERCHANT"},
		{Partition: 3, Offset: 1, MchID: "1900000109", OutTradeNo: "T43", Requested: noon},
	}
	letter := index.Letter{Listed: deadletters.Listed{
		Partition: 2, Offset: 17, FailedAt: noon, Code: "UNKNOWN_MERCHANT", Message: "nobody knows 1900000109", MchID: "1900000109", OutTradeNo: "T42", RequestID: "r42",
	}}
	answered := letter
	answered.Offset, answered.OutTradeNo, answered.Since, answered.SinceReplay = 16, "T40", events.Closed, 2
	f.index.letters = index.Letters{Total: 2, Letters: []index.Letter{letter, answered}}
	f.index.groups = []index.Group{{Code: "UNKNOWN_MERCHANT", MchID: "1900000109", Day: "2026-03-01", Count: 2, Open: 1, First: noon, Latest: noon, Message: "nobody knows 1900000109"}}
	f.index.places = &timeline.Places{At: map[kafka.Place][]int64{{Topic: "closeorder.requests", Partition: 2}: {17}}}
	f.topics.report = &timeline.Report{
		OutTradeNo: "T42", Group: "closeorder", AsOf: noon, All: true, Read: []timeline.Reading{{Topic: "closeorder.requests", Partitions: []int{2}, Of: 1, Offsets: 18}},
		Lives: []timeline.Life{{
			MchID: "1900000109", OutTradeNo: "T42", State: timeline.Waiting, Answer: "#2 waits in closeorder.retry-1m[2]@4", Next: "nothing: it is tried again by itself",
			Requests: []timeline.Request{
				{Number: 1, Topic: "closeorder.requests", Partition: 2, Offset: 17, Time: noon, There: true, State: timeline.Failed, Answer: "failed: UNKNOWN_MERCHANT", RequestID: "r42"},
				{Number: 2, Topic: "closeorder.requests", Partition: 2, Offset: 18, Time: noon.Add(time.Hour), There: true, State: timeline.Waiting, Replay: 1, ReplayOf: 1, Answer: "waits", RequestID: "r42"},
			},
			Entries: []timeline.Entry{
				{Kind: timeline.Requested, Topic: "closeorder.requests", Partition: 2, Offset: 17, Time: noon, Request: 1, RequestID: "r42", Reason: "payment_timeout"},
				{Kind: timeline.DeadLetter, Topic: "closeorder.dead-letters", Partition: 2, Offset: 5, Time: noon.Add(time.Second), Request: 1, Code: "UNKNOWN_MERCHANT", Calls: 1},
				{Kind: timeline.Replayed, Topic: "closeorder.requests", Partition: 2, Offset: 18, Time: noon.Add(time.Hour), Request: 2, Replay: 1, Headers: []timeline.Header{
					{Name: events.HeaderReplayID, Value: "replay-1"}, {Name: events.HeaderReplayReason, Value: "OPS-17"},
				}},
				{Kind: timeline.PutOff, Topic: "closeorder.retry-1m", Partition: 2, Offset: 4, Time: noon.Add(time.Hour), Request: 2, Code: "SYSTEMERROR", Retries: 1, DueAt: noon.Add(time.Hour + time.Minute)},
			},
		}},
	}
	f.topics.letter = deadletters.Letter{
		At: events.Source{Topic: "closeorder.dead-letters", Partition: 2, Offset: 17}, Written: noon,
		DeadLetter: records.DeadLetter{
			Source: events.Source{Topic: "closeorder.requests", Partition: 2, Offset: 17}, SourceTimestamp: noon, FailedAt: noon, ErrorCode: "UNKNOWN_MERCHANT", ErrorMessage: "nobody knows 1900000109",
			Original: events.Message{Key: []byte("T42"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T42"}`), Headers: []events.Header{{Key: "ce_id", Value: []byte("r\xff42")}, {Key: "nothing"}}},
		},
		Request: events.Request{MchID: "1900000109", OutTradeNo: "T42", RequestID: "r42"},
	}
	at := func(offset int64) events.Source {
		return events.Source{Topic: "closeorder.dead-letters", Partition: 2, Offset: offset}
	}
	landed := events.Source{Topic: "closeorder.requests", Partition: 2, Offset: 18}
	f.desk.replays = []desk.Replay{
		{ID: "replay-1", State: desk.Running, Made: noon, MadeBy: "li", By: "li", Reason: "OPS-17: merchant added", Rate: 50, PauseAfter: 5, Started: noon, Chosen: 2, Sent: 1},
		{ID: "replay-2", State: desk.Planned, Made: noon, MadeBy: "wang", Chosen: 1, Skipped: map[deadletters.Skip]int{deadletters.Answered: 1}, Wish: desk.Wish{Filter: deadletters.Filter{Codes: []string{"UNKNOWN_MERCHANT"}, Since: noon}, Limit: 40, MaxReplays: 5}},
	}
	f.desk.steps = []desk.Step{
		{Step: deadletters.Step{At: at(17), Source: events.Source{Topic: "closeorder.requests", Partition: 2, Offset: 17}, FailedAt: noon, Code: "UNKNOWN_MERCHANT", MchID: "1900000109", OutTradeNo: "T42", Replay: 1, To: 2}, Sent: &landed},
		{Step: deadletters.Step{At: at(16), FailedAt: noon, OutTradeNo: "T40", MchID: "1900000109", Replay: 1, Skip: deadletters.Answered, Why: "closed, by replay 2"}},
	}
	f.index.at = map[events.Source]index.Request{landed: {Outcome: events.Closed, Code: "SUCCESS", CompletedAt: noon}}
	f.desk.audits = []desk.Audit{
		{ID: 8, By: "wang", Began: noon, Read: 10, ToRead: 100},
		{ID: 7, By: "wang", Began: noon, Ended: noon.Add(time.Minute), Report: &audit.Report{
			Group: "closeorder", Topic: "closeorder.requests", AsOf: noon, Requests: 12, Closed: 5, Paid: 2, Failed: 2, Waiting: 1, InFlight: 1, Holes: 1,
			DeadLetters: 2, OldestWaiting: noon, Findings: []audit.Finding{{Kind: audit.Hole, MchID: "1900000109", OutTradeNo: "T44", Partition: 2, Offset: 44, Time: noon, Detail: "finished, and neither answered nor waiting"}},
			Notes: []string{"closeorder.outcomes[1] was deleted below offset 100"},
		}},
	}
	f.desk.entries = []desk.Entry{{At: noon, Who: "wang", Remote: "192.0.2.1", Did: "start", Of: "replay-1", Reason: "OPS-17: merchant added", Detail: "at most 50 per second"}}
}

// node is an element of a page.
type node struct{ *html.Node }

// parsed is the main part of an answer.
func parsed(t testing.TB, w *httptest.ResponseRecorder) node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range (node{root}).each("main") {
		return n
	}
	t.Fatalf("%d, no main part:\n%s", w.Code, w.Body)
	return node{}
}

// each yields the elements of some kinds, in their order.
func (n node) each(kinds ...string) func(func(node) bool) {
	return func(yield func(node) bool) {
		for d := range n.Descendants() {
			if d.Type == html.ElementNode && slices.Contains(kinds, d.Data) && !yield(node{d}) {
				return
			}
		}
	}
}

func (n node) attr(name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what can be read in an element, in one line.
func (n node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
			b.WriteString(" ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// links are where an element leads to.
func (n node) links() (all []string) {
	for a := range n.each("a") {
		all = append(all, a.attr("href"))
	}
	return all
}

func TestPagesSayWhatIsThere(t *testing.T) {
	none := func(*fakes) {}
	for _, tt := range []struct {
		what  string
		path  string
		set   func(*fakes)
		says  []string
		not   []string
		links []string
	}{
		{what: "a search shows each request with its state", path: "/search?q=T4", set: full,
			says:  []string{"Requests found: 3", "✓ closed", "✗ failed", "no outcome yet", "1900000109/1900000110", "r42", "2:17", "UNKNOWN_MERCHANT"},
			links: []string{"/order?mch_id=1900000109&out_trade_no=T42&sub_mch_id=1900000110", "/dead-letters?code=UNKNOWN_MERCHANT&mch_id=1900000109"}},
		{what: "nothing found says where it was searched, and what else can be done", path: "/search?q=T'99", set: func(f *fakes) { full(f); f.index.requests = nil },
			says:  []string{"Nothing was found.", "The index holds requests since 2026-03-01 11:00:00Z , and is as of 2026-03-01 12:00:00Z", `closeorder trace 'T'\''99' --all`},
			links: []string{"/order?out_trade_no=T%2799"}},
		{what: "the newest, where nobody searches", path: "/search", set: func(f *fakes) { f.index.requests = make([]index.Request, 300) },
			says: []string{"The newest 100 requests"}, not: []string{"There are more"}},
		{what: "more than are shown", path: "/search?q=T", set: func(f *fakes) { f.index.requests = make([]index.Request, 300) },
			says: []string{"The first 100 requests found", "There are more"}},
		{what: "a closed that is not safe to reissue says so", path: "/search", set: func(f *fakes) {
			f.index.requests = []index.Request{{OutTradeNo: "T1", Outcome: events.Closed}}
		}, says: []string{"closed not safe to reissue"}},
		{what: "an order: answer and next first, what waits and until when, dead letter and replay linked", path: "/order?out_trade_no=T42&mch_id=1900000109", set: full,
			says: []string{"Order T42", "waits in closeorder.retry-1m[2]@4", "Next: nothing: it is tried again by itself", "2026-03-01 13:01:00Z", "replay 1 of #1", "closeorder-replay-reason OPS-17",
				"SYSTEMERROR; retry 1; due 2026-03-01 13:01:00Z; 0 calls so far", "The index says where its records are; they were read from the topics"}, not: []string{"read all partitions"},
			links: []string{"/dead-letter?at=2%3A5", "/replay?id=replay-1"}},
		{what: "the replay of another console is not linked", path: "/order?out_trade_no=T42", set: func(f *fakes) { full(f); f.desk.replays = nil },
			says: []string{"closeorder-replay-id replay-1"}, not: []string{"sent by replay"}},
		{what: "an order that nobody has asked about", path: "/order?out_trade_no=T99", set: func(f *fakes) { f.topics.report.OutTradeNo = "T99" },
			says: []string{"Neither the index nor the partitions that were read have this order.", "never seen in what the topics still hold", "closeorder trace T99 --all"}},
		{what: "an order that is in no partition", path: "/order?out_trade_no=T99", set: func(f *fakes) { f.topics.report.OutTradeNo, f.topics.report.All = "T99", true },
			says: []string{"This order is not there.", "never seen in what the topics still hold"}, not: []string{"closeorder trace"}},
		{what: "the same number of two merchants", path: "/order?out_trade_no=T42", set: func(f *fakes) {
			full(f)
			other := f.topics.report.Lives[0]
			other.MchID = "1900000200"
			f.topics.report.Lives = append(f.topics.report.Lives, other)
		}, says: []string{"Merchant 1900000200"}, links: []string{"/order?mch_id=1900000200&out_trade_no=T42", "/order?mch_id=1900000109&out_trade_no=T42"}},
		{what: "dead letters in groups and one by one, each with what became of it since", path: "/dead-letters?code=UNKNOWN_MERCHANT,PARAM_ERROR&since=24h&by=merchant", set: full,
			says:  []string{"By merchant", "2 dead letters, page 1 of 1", "nobody knows 1900000109", "✓ closed by replay 2", "Plan a replay of all 2"},
			links: []string{"/dead-letters?by=merchant&code=UNKNOWN_MERCHANT%2CPARAM_ERROR&mch_id=1900000109&since=24h", "/dead-letter?at=2%3A17", "/order?mch_id=1900000109&out_trade_no=T42"}},
		{what: "values of a filter that make no sense are named, and nothing can be planned of it", path: "/dead-letters?code=A&since=yesterday&by=colour&page=x&open=2", set: full,
			says: []string{`since: "yesterday" is neither a time`, `by: "colour" is none of`, `page: "x" is no number`, `open: "2" is neither 0 nor 1`}, not: []string{"Plan a replay"}},
		{what: "no dead letter at all", path: "/dead-letters", set: none, says: []string{"There are no dead letters."}, not: []string{"Plan a replay"}},
		{what: "no dead letter of a filter", path: "/dead-letters?code=A", set: none, says: []string{"No dead letter matches."}, links: []string{"/dead-letters"}},
		{what: "a day leads to its letters", path: "/dead-letters?by=day", set: full,
			says: []string{"By day, in UTC", "2026-03-01"}, links: []string{"/dead-letters?by=day&since=2026-03-01T00%3A00%3A00Z&until=2026-03-02T00%3A00%3A00Z"}},
		{what: "pages of letters", path: "/dead-letters?code=A&page=2", set: func(f *fakes) { full(f); f.index.letters.Total = 250 },
			says: []string{"page 2 of 3"}, links: []string{"/dead-letters?code=A&page=1", "/dead-letters?code=A&page=3"}},
		{what: "a dead letter, whole, and what to do", path: "/dead-letter?at=2:17", set: full,
			says: []string{"UNKNOWN_MERCHANT nobody knows 1900000109", "What to do: add the merchant to the merchants file", `{ "mch_id": "1900000109", "out_trade_no": "T42" }`,
				`{"mch_id":"1900000109","out_trade_no":"T42"}`, "44 bytes", `ce_id r\xff42`, "nothing (null)", "closeorder.requests 2:17"},
			links: []string{"/order?mch_id=1900000109&out_trade_no=T42"}},
		{what: "a dead letter that was answered since", path: "/dead-letter?at=2:17", set: func(f *fakes) {
			full(f)
			f.index.letters.Letters[0].Since, f.index.letters.Letters[0].SinceReplay = events.Paid, 1
		}, says: []string{"Since then the same request is: ¥ paid by replay 1"}, not: []string{"Plan a replay"}},
		{what: "a record that is no dead letter", path: "/dead-letter?at=2:17", set: func(f *fakes) {
			f.topics.letter = deadletters.Letter{At: events.Source{Partition: 2, Offset: 17}, Err: fmt.Errorf("closeorder-failed-at: is missing")}
		}, says: []string{"This record is no dead letter; it is never replayed: closeorder-failed-at: is missing"}, not: []string{"Plan a replay", "What to do"}},
		{what: "replays, those that run first", path: "/replays", set: full, says: []string{"replay-1 … running 1 2 0 li OPS-17: merchant added"}, links: []string{"/replay?id=replay-1", "/replay?id=replay-2"}},
		{what: "a plan says what would be sent, what is left out and why", path: "/replay?id=replay-2", set: full,
			says: []string{"1 of 2 requests would be sent again. Nothing was sent yet.", "1 answered their requests are closed or paid by now", "closed, by replay 2", "Send 1 requests again",
				"It will be recorded that it was begun by wang .", "40 at most How often a request may be replayed in its life 5"},
			links: []string{"/dead-letters?code=UNKNOWN_MERCHANT&since=2026-03-01T12%3A00%3A00Z"}},
		{what: "a plan of nothing cannot be started", path: "/replay?id=r", set: func(f *fakes) {
			f.desk.replays = []desk.Replay{{ID: "r", State: desk.Planned, Skipped: map[deadletters.Skip]int{deadletters.Answered: 3}}}
		}, says: []string{"Nothing would be sent: each of the 3 letters is left out.", "Discard this plan"}, not: []string{"requests again"}},
		{what: "a plan that is being made", path: "/replay?id=r", set: func(f *fakes) {
			f.desk.replays = []desk.Replay{{ID: "r", State: desk.Planning, Read: 10, ToRead: 1000}}
		},
			says: []string{"The topics are read: 10 of 1,000 records."}, not: []string{"Discard", "again"}},
		{what: "a replay that runs: sent, and what became of it", path: "/replay?id=replay-1", set: full,
			says: []string{"Sent: 1 of 2", "✓ closed 1", "✗ failed 0", "… no outcome yet 0", "1 are still to be sent.", "OPS-17: merchant added", "Pause", "Stop for good", "2:18 ✓ closed SUCCESS"}},
		{what: "a replay that has paused itself says why", path: "/replay?id=r", set: func(f *fakes) {
			f.desk.replays = []desk.Replay{{ID: "r", State: desk.Paused, Trouble: "5 outcomes failed", Started: noon, Chosen: 40, Sent: 12}}
		}, says: []string{"! paused 5 outcomes failed", "Go on with the other 28", "Stop for good"}},
		{what: "a replay that is done has no buttons", path: "/replay?id=r", set: func(f *fakes) {
			f.desk.replays = []desk.Replay{{ID: "r", State: desk.Done, Started: noon, Ended: noon, Chosen: 40, Sent: 39, Left: 1}}
		}, says: []string{"✓ done", "Sent: 39 of 40", "1 were not sent. 1 of them cannot be."}, not: []string{"Stop for good", "Pause this"}},
		{what: "the last audit: the verdict, numbers that add up, findings, and the one that runs", path: "/audits", set: full,
			says: []string{"Audit 8 runs: 10 of 100 records read.", "✗ The topics do not balance: 1 lost (holes)", "Requests in all 12", "waiting in a retry topic 1 2026-03-01 12:00:00Z", "closeorder audit --republish",
				"hole T44", "closeorder.outcomes[1] was deleted below offset 100", "Run an audit"},
			links: []string{"/order?mch_id=1900000109&out_trade_no=T44", "/audit?id=7"}},
		{what: "no audit yet", path: "/audits", set: none, says: []string{"No audit was run here yet.", "Run an audit"}},
		{what: "one audit", path: "/audit?id=7", set: full, says: []string{"Audit 7", "does not balance", "Requests in all 12", "by wang"}},
		{what: "an audit that balances", path: "/audit?id=3", set: func(f *fakes) {
			f.desk.audits = []desk.Audit{{ID: 3, Ended: noon, Report: &audit.Report{Balanced: true, AsOf: noon}}}
		}, says: []string{"✓ balances", "The topics balance: no request is lost."}},
		{what: "an audit that was cut off", path: "/audit?id=3", set: func(f *fakes) {
			f.desk.audits = []desk.Audit{{ID: 3, Ended: noon, Trouble: "the console ended; run it again"}}
		}, says: []string{"✗ no report the console ended; run it again"}, not: []string{"balance: no"}},
		{what: "who did what and why", path: "/log", set: full, says: []string{"wang 192.0.2.1 started a replay replay-1 OPS-17: merchant added at most 50 per second"}, links: []string{"/replay?id=replay-1"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			f := newFakes(t)
			tt.set(f)
			w := f.get(tt.path)
			if w.Code != http.StatusOK {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			main := parsed(t, w)
			text := main.text()
			for _, says := range tt.says {
				if !strings.Contains(text, says) {
					t.Errorf("it does not say %q:\n%s", says, text)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(text, not) {
					t.Errorf("it says %q:\n%s", not, text)
				}
			}
			for _, to := range tt.links {
				if !slices.Contains(main.links(), to) {
					t.Errorf("nothing leads to %s but to %q", to, main.links())
				}
			}
			usable(t, main)
		})
	}
}

// usable holds a page to what keyboards and screen readers need.
func usable(t *testing.T, main node) {
	t.Helper()
	labels, ids := map[string]string{}, map[string]int{}
	for l := range main.each("label") {
		labels[l.attr("for")] = l.text()
	}
	for n := range main.Descendants() {
		if id := (node{n}).attr("id"); n.Type == html.ElementNode && id != "" {
			if ids[id]++; ids[id] > 1 {
				t.Errorf("two elements have the id %s", id)
			}
		}
	}
	for i := range main.each("input", "select", "textarea", "progress") {
		if i.attr("type") != "hidden" && labels[i.attr("id")] == "" && i.attr("aria-label") == "" {
			t.Errorf("%s %s has no label", i.Data, i.attr("name"))
		}
	}
	for b := range main.each("button") {
		if b.text() == "" {
			t.Error("a button says nothing")
		}
	}
	for table := range main.each("table") {
		caption := ""
		for c := range table.each("caption") {
			caption = c.text()
		}
		if caption == "" {
			t.Errorf("a table has no caption: %s", table.text())
		}
		for th := range table.each("th") {
			if th.attr("scope") == "" {
				t.Errorf("a head has no scope: %s", th.text())
			}
		}
	}
	last := 0
	for h := range main.each("h1", "h2", "h3", "h4") {
		if level := int(h.Data[1] - '0'); level > last+1 {
			t.Errorf("heading %q skips a level", h.text())
		} else {
			last = level
		}
	}
}

// What a link leads to is what it stands beside: what readFilter would read as
// something else has none.
func TestLinksToDeadLettersLeadToThoseThatTheyName(t *testing.T) {
	for _, value := range []string{"A", "a.b-C_1", "A,B", ",", "", " ", " A", "A\t", "字", "A&mch_id=2", "A B", "\xff"} {
		f, err := readFilter(url.Values{"code": {value}, "mch_id": {value}, "out_trade_no": {value}}, noon)
		for name, read := range map[string]string{"code": strings.Join(f.Codes, "|"), "mch_id": f.MchID, "out_trade_no": f.OutTradeNo} {
			if is := read == value && value != ""; err != nil || is != nameable(name, value) {
				t.Errorf("%s %q: %t, and a filter reads %q, %v", name, value, !is, read, err)
			}
		}
	}
	for _, path := range []string{"/", "/search?q=T", "/dead-letters?by=code", "/dead-letters?by=code_and_merchant", "/order?out_trade_no=T"} {
		for _, value := range []string{"A", "A,B", "", " A"} {
			f := newFakes(t)
			full(f)
			f.index.requests = []index.Request{{OutTradeNo: "T1", MchID: "1", Outcome: events.Failed, Code: value}}
			f.index.groups = []index.Group{{Code: value, MchID: "1", Count: 1, Open: 1, First: noon, Latest: noon}}
			f.topics.report.Lives[0].State, f.topics.report.Lives[0].OutTradeNo = timeline.Failed, value
			named, want := "", ""
			for row := range parsed(t, f.get(path)).each("tr", "section") {
				for _, to := range row.links() {
					query, is := strings.CutPrefix(to, "/dead-letters?")
					if !is {
						continue
					}
					q, _ := url.ParseQuery(query)
					if named += q.Get("code") + q.Get("out_trade_no"); !q.Has("code") && !q.Has("out_trade_no") && !q.Has("mch_id") {
						t.Errorf("%s with %q: %s leads to all", path, value, row.text())
					}
				}
			}
			if value == "A" || value == "A,B" && strings.HasPrefix(path, "/order") {
				want = value
			}
			if named != want {
				t.Errorf("%s with %q: it leads to %q", path, value, named)
			}
		}
	}
}

func TestWhatMakesNoSenseIsRefusedWithWords(t *testing.T) {
	for _, tt := range []struct {
		what, path string
		set        func(*fakes)
		status     int
		says       string
	}{
		{"an order without a number", "/order", full, 400, "out_trade_no is missing"},
		{"a sub-merchant without its merchant", "/order?out_trade_no=T&sub_mch_id=1", full, 400, "sub_mch_id needs mch_id"},
		{"a number that no order has", "/order?out_trade_no=" + strings.Repeat("T", 129), full, 400, "more than 128 bytes"},
		{"a place that is none", "/dead-letter?at=2-17", full, 400, `"2-17" is not PARTITION:OFFSET`},
		{"a place where nothing is", "/dead-letter?at=2:99", func(f *fakes) {
			f.topics.err = &deadletters.MissingError{At: events.Source{Topic: "d", Partition: 2, Offset: 99}, End: 18}
		}, 404, "the log ends at offset 18"},
		{"a replay that is not there", "/replay?id=x", full, 404, "there is no replay x"},
		{"an audit that is not there", "/audit?id=99", full, 404, "there is no audit"},
		{"an audit that is no number", "/audit?id=x", full, 400, "no number of an audit"},
		{"a page of steps that is none", "/replay?id=replay-1&page=0", full, 400, "no number from 1"},
	} {
		f := newFakes(t)
		tt.set(f)
		name, query, _ := strings.Cut(tt.path, "?")
		for _, path := range []string{tt.path, name + ".json?" + query} {
			w := f.get(path)
			if w.Code != tt.status || !strings.Contains(html.UnescapeString(strings.ReplaceAll(w.Body.String(), `\"`, `"`)), tt.says) {
				t.Errorf("%s: %s: %d, %s", tt.what, path, w.Code, w.Body)
			}
		}
	}
}

func TestFormsDoWhatTheySay(t *testing.T) {
	ticked := desk.Wish{Only: []events.Source{{Topic: "closeorder.dead-letters", Partition: 2, Offset: 17}, {Topic: "closeorder.dead-letters", Partition: 0, Offset: 3}}}
	for _, tt := range []struct {
		what  string
		path  string
		form  url.Values
		fails error
		state desk.State // of replay-1

		status int
		to     string
		did    []string
		says   string
		wish   *desk.Wish
		order  *desk.Order
	}{
		{what: "those that are ticked are planned, and nothing else", path: "/replays", form: url.Values{"what": {"ticked"}, "at": {"2:17", "0:3"}, "code": {"A"}}, status: 303, to: "/replay?id=replay-1", did: []string{"plan"}, wish: &ticked},
		{what: "all of a filter are planned", path: "/replays", form: url.Values{"what": {"all"}, "code": {"A,B", "C"}, "mch_id": {"1"}, "out_trade_no": {"T"}, "since": {"2026-03-01T12:00:00.5Z"}, "until": {"2026-03-02"}, "limit": {"40"}, "max_replays": {"5"}, "at": {"2:17"}},
			status: 303, to: "/replay?id=replay-1", did: []string{"plan"},
			wish: &desk.Wish{Filter: deadletters.Filter{Codes: []string{"A", "B", "C"}, MchID: "1", OutTradeNo: "T", Since: noon.Add(500 * time.Millisecond), Until: noon.Add(12 * time.Hour)}, Limit: 40, MaxReplays: 5}},
		{what: "nothing ticked plans nothing", path: "/replays", form: url.Values{"what": {"ticked"}, "code": {"A"}}, status: 400, says: "no letter is ticked"},
		{what: "a filter that makes no sense plans nothing", path: "/replays", form: url.Values{"what": {"all"}, "since": {"yesterday"}}, status: 400, says: `since: "yesterday"`},
		{what: "a plan that the desk refuses is told", path: "/replays", form: url.Values{"what": {"ticked"}, "at": {"2:17"}}, fails: &desk.OrderError{Field: "only", What: "2 letters are named, at most 1 may be"}, status: 400, says: "only: 2 letters are named, at most 1 may be", did: []string{"plan"}},
		{what: "neither of both plans nothing", path: "/replays", form: url.Values{"code": {"A"}}, status: 400, says: "neither ticked nor all"},
		{what: "a limit that is none", path: "/replays", form: url.Values{"what": {"all"}, "limit": {"0"}}, status: 400, says: "limit"},
		{what: "a start needs a reason, and the form is there again as it was", path: "/replay/start", form: url.Values{"id": {"replay-2"}, "reason": {" "}, "rate": {"17"}}, status: 400, says: "reason: is empty"},
		{what: "a rate that is no number", path: "/replay/start", form: url.Values{"id": {"replay-2"}, "reason": {"OPS"}, "rate": {"fast"}}, status: 400, says: `rate: "fast" is no number`},
		{what: "a start", path: "/replay/start", form: url.Values{"id": {"replay-2"}, "reason": {" OPS-17 "}, "rate": {"0.5"}, "pause_after": {"5"}}, status: 303, to: "/replay?id=replay-2", did: []string{"start replay-2"}, order: &desk.Order{Reason: "OPS-17", Rate: 0.5, PauseAfter: 5}},
		{what: "a start that the desk refuses is told on the page", path: "/replay/start", form: url.Values{"id": {"replay-2"}, "reason": {"OPS"}, "rate": {"1"}}, fails: &desk.OrderError{Field: "rate", What: "must be less"}, status: 400, says: "rate: must be less", did: []string{"start replay-2"}},
		{what: "the second click of a start shows the replay", path: "/replay/start", form: url.Values{"id": {"replay-1"}, "reason": {"OPS-17: merchant added"}, "rate": {"1"}}, fails: &desk.StateError{ID: "replay-1", Is: desk.Running, Want: "planned"}, status: 303, to: "/replay?id=replay-1", did: []string{"start replay-1"}},
		{what: "another start of it says that it runs", path: "/replay/start", form: url.Values{"id": {"replay-1"}, "reason": {"mine"}, "rate": {"1"}}, fails: &desk.StateError{ID: "replay-1", Is: desk.Running, Want: "planned"}, status: 409, says: "replay replay-1 is running", did: []string{"start replay-1"}},
		{what: "a start while another one sends", path: "/replay/start", form: url.Values{"id": {"replay-2"}, "reason": {"mine"}, "rate": {"1"}}, fails: &desk.BusyError{ID: "replay-1"}, status: 409, says: "replay replay-1 is sending", did: []string{"start replay-2"}},
		{what: "a pause", path: "/replay/pause", form: url.Values{"id": {"replay-1"}}, status: 303, to: "/replay?id=replay-1", did: []string{"pause replay-1"}},
		{what: "a pause of one that is paused is no mistake", path: "/replay/pause", form: url.Values{"id": {"replay-1"}}, state: desk.Paused, fails: &desk.StateError{ID: "replay-1", Is: desk.Paused, Want: "running"}, status: 303, to: "/replay?id=replay-1", did: []string{"pause replay-1"}},
		{what: "going on", path: "/replay/resume", form: url.Values{"id": {"replay-1"}}, status: 303, to: "/replay?id=replay-1", did: []string{"resume replay-1"}},
		{what: "going on with one that was stopped is told", path: "/replay/resume", form: url.Values{"id": {"replay-1"}}, state: desk.Stopped, fails: &desk.StateError{ID: "replay-1", Is: desk.Stopped, Want: "paused"}, status: 409, says: "is stopped", did: []string{"resume replay-1"}},
		{what: "stopping", path: "/replay/stop", form: url.Values{"id": {"replay-1"}}, status: 303, to: "/replay?id=replay-1", did: []string{"stop replay-1"}},
		{what: "stopping one that is not there", path: "/replay/stop", form: url.Values{"id": {"x"}}, fails: &desk.MissingError{What: "replay x"}, status: 404, says: "there is no replay x", did: []string{"stop x"}},
		{what: "an audit", path: "/audits", form: url.Values{"since": {"24h"}}, status: 303, to: "/audit?id=7", did: []string{"audit"}},
		{what: "an audit since no time", path: "/audits", form: url.Values{"since": {"noon"}}, status: 400, says: `since: "noon"`},
		{what: "the index again", path: "/index/rebuild", form: url.Values{}, status: 303, to: "/search", did: []string{"rebuild"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			f := newFakes(t)
			full(f)
			f.desk.fails = tt.fails
			if tt.state != "" {
				f.desk.replays[0].State = tt.state
			}
			w := f.post(tt.path, tt.form)
			if w.Code != tt.status || w.Header().Get("Location") != tt.to || !slices.Equal(f.desk.did, tt.did) {
				t.Errorf("%d to %q, did %q: %s", w.Code, w.Header().Get("Location"), f.desk.did, w.Body)
			}
			if tt.says != "" {
				if text := parsed(t, w).text(); !strings.Contains(text, tt.says) {
					t.Errorf("it says %s", text)
				}
				usable(t, parsed(t, w))
			}
			if tt.wish != nil && fmt.Sprint(f.desk.wish) != fmt.Sprint(*tt.wish) {
				t.Errorf("%+v, want %+v", f.desk.wish, *tt.wish)
			}
			if tt.order != nil && f.desk.order != *tt.order {
				t.Errorf("%+v, want %+v", f.desk.order, *tt.order)
			}
			if len(tt.did) > 0 && f.desk.who.Name != "wang" {
				t.Errorf("it was %+v", f.desk.who)
			}
		})
	}
}

func TestAPlanIsAskedForWithTheDefaultsOfTheCommand(t *testing.T) {
	f := newFakes(t)
	full(f)
	for path, want := range map[string]string{"/dead-letters": "limit= max_replays=3", "/dead-letter?at=2:17": "max_replays=3"} {
		form, said := url.Values{"what": {"ticked"}, "at": {"2:17"}}, []string{}
		for shown := range parsed(t, f.get(path)).each("form") {
			if shown.attr("action") != "/replays" {
				continue
			}
			for i := range shown.each("input") {
				if i.attr("type") == "number" {
					form.Set(i.attr("name"), i.attr("value"))
					said = append(said, i.attr("name")+"="+i.attr("value"))
				}
			}
		}
		if got := strings.Join(said, " "); got != want {
			t.Errorf("%s asks for %q, want %q", path, got, want)
		}
		f.desk.wish = desk.Wish{}
		if w := f.post("/replays", form); w.Code != http.StatusSeeOther || f.desk.wish.Limit != 0 || f.desk.wish.MaxReplays != 3 {
			t.Errorf("%s: %d, %+v", path, w.Code, f.desk.wish)
		}
	}
}

func TestAFormThatIsShownAgainHoldsWhatWasFilledIn(t *testing.T) {
	f := newFakes(t)
	full(f)
	w := f.post("/replay/start", url.Values{"id": {"replay-2"}, "reason": {"OPS-17"}, "rate": {"fast"}, "pause_after": {"9"}})
	held := map[string]string{}
	main := parsed(t, w)
	for i := range main.each("input", "textarea") {
		held[i.attr("name")] = i.attr("value") + i.text()
	}
	if held["reason"] != "OPS-17" || held["rate"] != "fast" || held["pause_after"] != "9" {
		t.Errorf("%q", held)
	}
	if _, live := attrOf(main, "data-live"); live {
		t.Error("it follows the address of the form")
	}
}

func attrOf(n node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func TestAViewerReadsAndHasNoFormsThatDo(t *testing.T) {
	f := newFakes(t)
	full(f)
	asked := map[string]bool{}
	for _, path := range []string{"/", "/search", "/order?out_trade_no=T42", "/dead-letters", "/dead-letter?at=2:17", "/replays", "/replay?id=replay-1", "/replay?id=replay-2", "/audits", "/audit?id=7"} {
		w := f.get(path, "X-Role", "viewer")
		main := parsed(t, w)
		root := main
		for root.Parent != nil { // the navigation, too
			root = node{root.Parent}
		}
		for _, to := range root.links() {
			if strings.HasPrefix(to, "/") && !asked[to] && f.get(to, "X-Role", "viewer").Code == http.StatusForbidden {
				t.Errorf("%s leads to %s, which a viewer must not see", path, to)
			}
			asked[to] = true
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		for form := range main.each("form") {
			if form.attr("method") == "post" {
				t.Errorf("%s: a form of %s", path, form.attr("action"))
			}
		}
		for box := range main.each("input") {
			if box.attr("name") == "at" {
				t.Errorf("%s: a letter can be ticked", path)
			}
		}
	}
	if w := f.get("/log", "X-Role", "viewer"); w.Code != http.StatusForbidden {
		t.Errorf("the log: %d", w.Code)
	}
	if w := f.get("/search"); !asked["/search"] || !strings.Contains(w.Body.String(), `href="/log"`) {
		t.Error("nothing leads an operator to the log")
	}
	for path := range f.actions() {
		if path == "/login" || path == "/logout" {
			continue
		}
		w := f.post(path, url.Values{"id": {"replay-1"}, "what": {"all"}, "reason": {"x"}, "rate": {"1"}}, "X-Role", "viewer")
		if w.Code != http.StatusForbidden || len(f.desk.did) > 0 {
			t.Errorf("%s: %d, did %q", path, w.Code, f.desk.did)
		}
	}
}

// ages are what differs from run to run.
var ages = regexp.MustCompile(`>[0-9][^<]* ago<`)

func TestPagesAsReviewersSeeThem(t *testing.T) {
	f := newFakes(t)
	full(f)
	for name, path := range map[string]string{
		"search": "/search?q=T4", "order": "/order?out_trade_no=T42", "dead-letters": "/dead-letters?code=UNKNOWN_MERCHANT", "dead-letter": "/dead-letter?at=2:17",
		"replays": "/replays", "replay": "/replay?id=replay-2", "audits": "/audits", "audit": "/audit?id=7", "log": "/log",
	} {
		t.Run(name, func(t *testing.T) {
			_, main, _ := strings.Cut(f.get(path).Body.String(), "<main")
			main, _, _ = strings.Cut(main, "</main>")
			golden.Check(t, "testdata/pages/"+name+".html", "<main"+ages.ReplaceAllString(main, ">AGO<")+"</main>\n")
		})
	}
}

func TestDocumentsAreWhatPagesShow(t *testing.T) {
	f := newFakes(t)
	full(f)
	for path, want := range map[string][]string{
		"/order.json?out_trade_no=T42":    {"out_trade_no", "orders", "read", "notes", "found_by", "replays_here"},
		"/dead-letters.json":              {"filter", "groups", "total", "dead_letters", "page", "pages"},
		"/dead-letter.json?at=2:17":       {"topic", "partition", "offset", "key", "value", "headers", "remedy"},
		"/replay.json?id=replay-1":        {"replay_id", "state", "chosen", "sent", "skipped", "became", "steps", "pages"},
		"/audits.json":                    {"last", "running", "audits"},
		"/audit.json?id=7":                {"id", "report"},
		"/search.json?q=T42":              {"q", "requests", "more", "index"},
		"/replays.json":                   {"replays"},
		"/log.json":                       {"entries"},
		"/dead-letters.json?since=sunday": {"problems"},
	} {
		var got map[string]json.RawMessage
		if err := json.Unmarshal(f.get(path).Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, name := range want {
			if _, ok := got[name]; !ok {
				t.Errorf("%s has no %s: %v", path, name, got)
			}
		}
	}
}

func TestALogInThatIsRefusedSaysWhyAndKeepsTheNameAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse battery staple"), bcrypt.DefaultCost) // quick enough for a test
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "wang:%s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	db, err := database.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	guard, err := access.Open(t.Context(), access.Config{File: file, DB: db, Log: log, OnLogIn: func(context.Context, access.User, string, string) {}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakes{}
	f.index.progress = index.Progress{Trouble: "broker-7:9092 is away", Total: 99}
	f.Server = New(Config{Index: &f.index, Desk: &f.desk, Guard: guard, Reader: &kafka.Reader{}, Topics: config.Default().Topics, Log: log})
	f.Server.topics = &f.topics
	w := f.get("/login?to=/order%3Fout_trade_no=T42")
	if page := w.Body.String(); w.Code != http.StatusOK || strings.Contains(page, "broker-7") || strings.Contains(page, "/dead-letters") || !strings.Contains(page, "It leads on to") {
		t.Errorf("%d %s", w.Code, page)
	}
	w = f.post("/login", url.Values{"name": {"wang"}, "password": {"wrong horse"}, "to": {"/order?out_trade_no=T42"}})
	page := w.Body.String()
	if w.Code != http.StatusUnauthorized || strings.Contains(page, "wrong horse") || !strings.Contains(page, `value="wang"`) || !strings.Contains(page, `value="/order?out_trade_no=T42"`) ||
		!strings.Contains(parsed(t, w).text(), "Name or password is wrong.") {
		t.Errorf("%d %s", w.Code, page)
	}
	usable(t, parsed(t, w))
	w = f.post("/login", url.Values{"name": {"wang"}, "password": {"correct horse battery staple"}, "to": {"/order?out_trade_no=T42"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/order?out_trade_no=T42" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	w = httptest.NewRecorder()
	f.fail(w, httptest.NewRequest(http.MethodPost, "/login", nil), &access.RefusedError{Wait: 90 * time.Second})
	if text := parsed(t, w).text(); w.Code != http.StatusTooManyRequests || !strings.Contains(text, "Too many attempts. The next one is looked at in 1 min 30 s;") {
		t.Errorf("%d %s", w.Code, text)
	}
}
