package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// shop is a broker and a gateway, and what a worker of one merchant needs.
func shop(t *testing.T) (b *broker.Broker, env []string) {
	t.Helper()
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, []string{
		"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s",
		"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}
}

// lines are requests of merchant 1900000109, as CSV.
func lines(prefix string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "1900000109,%s%d\n", prefix, i)
	}
	return b.String()
}

// TestAnOutcomeThatIsDeletedIsExactlyOneHole takes one outcome of a real run
// away.
func TestAnOutcomeThatIsDeletedIsExactlyOneHole(t *testing.T) {
	b, env := shop(t)
	worker := launch(t, env, "", "run")
	input := "mch_id,out_trade_no\n" + lines("T", 40) + lines("PAID", 10) + lines("DEAD", 5)
	code, _, stderr := call(t, env, input, "request", "--wait", "--file", "-")
	if code != exitBad { // some failed
		t.Fatalf("request: exit code %d, %s", code, stderr)
	}
	if code := worker.end(t); code != exitDone {
		t.Fatalf("run: exit code %d", code)
	}
	code, stdout, stderr := call(t, env, "", "audit")
	if code != exitDone || stderr != "" {
		t.Errorf("before: exit code %d, %s", code, stderr)
	}
	golden.Check(t, goldens+"audit-balanced.txt", normal(stdout))

	gone := withoutOne(t, b, func(o events.Outcome) bool { return o.OutTradeNo == "T17" })
	code, stdout, stderr = call(t, env, "", "audit", "--json", "--since", "1h")
	if code != exitBad || stderr != "" {
		t.Errorf("after: exit code %d, %s", code, stderr)
	}
	var r audit.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Balanced || r.Requests != 55 || r.Closed != 39 || r.Paid != 10 || r.Failed != 5 || r.Holes != 1 || r.Contradictions != 0 || len(r.Findings) != 1 {
		t.Fatalf("%+v", r)
	}
	if f := r.Findings[0]; f.Kind != audit.Hole || f.OutTradeNo != "T17" || f.MchID != "1900000109" || f.Partition != gone.Partition || f.Offset != gone.Offset || time.Since(f.Time) > time.Hour {
		t.Errorf("%+v is not the hole at %+v", f, gone)
	}
	code, stdout, _ = call(t, env, "", "audit")
	if code != exitBad {
		t.Errorf("as a table: exit code %d", code)
	}
	golden.Check(t, goldens+"audit-hole.txt", normal(stdout))
}

// withoutOne makes the outcomes topic anew without one outcome, and returns
// the request that it answered.
func withoutOne(t *testing.T, b *broker.Broker, which func(events.Outcome) bool) events.Source {
	t.Helper()
	ctx := t.Context()
	topic := config.Default().Topics.Outcomes
	a := &app{stdout: newStream(), stderr: newStream()}
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := a.cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r := c.reader()
	from, err := r.First(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	to, err := r.End(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var kept []events.Message
	var gone []events.Source
	if err := r.Read(ctx, topic, from, to, func(rec kafka.Record) error {
		if o, err := events.DecodeOutcome(rec.Message); err == nil && which(o) {
			gone = append(gone, o.Source)
		} else {
			kept = append(kept, rec.Message)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(ctx, int32(len(to)), 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if _, err := c.writer().Write(ctx, topic, kept); err != nil {
		t.Fatal(err)
	}
	if len(gone) != 1 {
		t.Fatalf("%d outcomes were to go", len(gone))
	}
	return gone[0]
}

func TestAuditAndDeadLettersSayWhatTheyTake(t *testing.T) {
	for _, command := range lookCommands {
		code, stdout, stderr := call(t, nil, "", append(strings.Fields(command), "--help")...)
		if code != exitDone || stderr != "" {
			t.Errorf("%s: exit code %d, %s", command, code, stderr)
		}
		golden.Check(t, goldens+"help/closeorder-"+strings.ReplaceAll(command, " ", "-")+".txt", stdout)
	}
	var all strings.Builder
	for _, line := range wrongLooks {
		code, stdout, stderr := call(t, nil, "", strings.Fields(line)...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%s: exit code %d, printed %q", line, code, stdout)
		}
		fmt.Fprintf(&all, "$ closeorder %s\n%s\n", line, stderr)
	}
	golden.Check(t, goldens+"audit-usage.txt", normal(all.String()))
}

var lookCommands = []string{"audit", "deadletters", "deadletters list", "deadletters show", "deadletters replay"}

var wrongLooks = []string{
	"audit extra",
	"audit --since yesterday",
	"audit --until -5s",
	"audit --since 5s --until 1h",
	"audit --limit -1",
	"audit --max-age 0s",
	"audit --max-age -5m",
	"audit --max-age soon",
	"audit --yes --rate 1",
	"audit --republish --rate -1",
	"audit --kafka-group=",
	"audit --processing-guarantee once",
	"audit --processing-guarantee exactly_once --kafka-isolation read_uncommitted",
	"audit --kafka-brokers here --since 2026-01-31T08:00:00Z",
	"audit --since x --until y --limit -1 --kafka-group= --kafka-brokers here",
	"deadletters purge",
	"deadletters list extra",
	"deadletters list --since yesterday",
	"deadletters list --limit -1",
	"deadletters list --since x --until y --limit -1 --kafka-brokers here",
	"deadletters show",
	"deadletters show 1:2 3:4",
	"deadletters show 17",
	"deadletters show 1:-2",
	"deadletters show 1:2 --raw --json",
	"deadletters show 17 --raw --json --kafka-brokers here",
	"deadletters replay 1:2",
	"deadletters replay --limit -1 --rate -1 --max-replays 0",
	"deadletters replay --until 5s --since 1s",
	"deadletters replay --rate NaN",
	"deadletters replay --rate Inf --since x --max-replays 0 --kafka-brokers here",
	"deadletters replay --yes --kafka-brokers here",
}

func TestAnAuditOfAnotherGroupProvesNothing(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	if code, _, stderr := call(t, env, "", "request", "--mch-id", "1", "--out-trade-no", "T1"); code != exitDone {
		t.Fatal(stderr)
	}
	code, stdout, stderr := call(t, env, "", "audit")
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "note: group closeorder has committed nothing") {
		t.Errorf("where no worker was yet: exit code %d, %s\n%s", code, stderr, stdout)
	}
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.writer().Write(t.Context(), cfg.Topics.Outcomes, []events.Message{hostile(t)}); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"audit --kafka-group typo --json", "audit --kafka-group typo"} {
		code, stdout, stderr = call(t, env, "", strings.Fields(args)...)
		if code != exitBad || stderr != "" || strings.Contains(stdout, `"balanced": true`) ||
			!strings.Contains(stdout, "requests were answered or put off, and not by group typo: this proves nothing; name the workers' group with --kafka-group") {
			t.Errorf("%s: exit code %d, %s\n%s", args, code, stderr, stdout)
		}
	}
}

// What came again is a finding where the workers are set to exactly_once, and no
// trouble elsewhere: one setting says so to workers and audit alike.
func TestWithExactlyOnceARepeatIsAFinding(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	write := func(topic string, m events.Message) {
		t.Helper()
		if _, err := c.writer().Write(t.Context(), topic, []events.Message{m}, 0); err != nil {
			t.Fatal(err)
		}
	}
	outcome := func(offset int64) events.Message {
		o := events.NewOutcome(events.Request{MchID: "1", OutTradeNo: "T1", RequestID: "r"}, nil, events.Source{Topic: cfg.Topics.Requests, Offset: offset})
		o.Result, o.Code, o.SafeToReissue, o.CompletedAt = events.Closed, "SUCCESS", true, time.Now()
		m, err := events.EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for range 2 {
		write(cfg.Topics.Requests, events.Message{Value: []byte(`{"mch_id":"1","out_trade_no":"T1","request_id":"r"}`)})
	}
	write(cfg.Topics.Outcomes, outcome(0))
	write(cfg.Topics.Outcomes, outcome(1))
	commit(t, b, cfg, false)
	file := filepath.Join(t.TempDir(), "closeorder.yaml")
	if err := os.WriteFile(file, []byte("processing_guarantee: exactly_once\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	for _, tt := range []struct {
		sentence, args string
		before         func()
		code           int
		want           string // a regular expression
	}{
		{"each request has its own outcome", "audit --config " + file, func() {}, exitDone,
			`^balanced; nothing waits\ncloseorder\.requests, group closeorder, exactly_once, all that is retained, (?s:.*)\n  duplicates +0  outcomes that came again`},
		{"one came again, and may, as nothing else was asked for", "audit", func() { write(cfg.Topics.Outcomes, outcome(0)) }, exitDone,
			`^balanced; nothing waits\ncloseorder\.requests, group closeorder, all that is retained, (?s:.*)\n  duplicates +1  outcomes that came again`},
		{"the workers' file says that none may", "audit --config " + file, func() {}, exitBad,
			`\nduplicate +T1 +1 +0:0 .* the same outcome came again \(partition 0, offset 2\): closed \(SUCCESS\), safe to reissue\n(?s:.*)\n  duplicates +1  (?s:.*)\n2 = 2 closed `},
		{"so does the flag", "audit --processing-guarantee exactly_once --json", func() {}, exitBad,
			`"exactly_once": true,\n  "balanced": false,(?s:.*)"kind": "duplicate",`},
	} {
		tt.before()
		code, stdout, stderr := call(t, env, "", strings.Fields(tt.args)...)
		if code != tt.code || stderr != "" || !regexp.MustCompile(tt.want).MatchString(stdout) {
			t.Errorf("%s: exit code %d, %s\n%s", tt.sentence, code, stderr, stdout)
		}
	}
}

func TestAuditNeedsItsTopics(t *testing.T) {
	b, err := broker.Start(broker.Config{Topics: slices.Delete(broker.DefaultTopics(), 4, 6)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	code, _, stderr := call(t, []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}, "", "audit")
	if code != exitBad || !strings.Contains(stderr, "topics closeorder.retries.1m, closeorder.retries.5m do not exist; create them with: closeorder topics create") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestOperationsNamesCommandsAndFlagsThatThereAre reads every call of the
// program in docs/operations.md.
func TestOperationsNamesCommandsAndFlagsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile("(?:`|\\$ )closeorder ([a-z][^`\n]*)").FindAllStringSubmatch(string(text), -1)
	if len(calls) < 10 {
		t.Fatalf("only %d calls were found", len(calls))
	}
	root := (&app{}).root()
	for _, c := range calls {
		cmd, rest, err := root.Find(strings.Fields(c[1]))
		if err != nil || cmd == root {
			t.Errorf("closeorder %s: no such command", c[1])
			continue
		}
		for _, arg := range rest {
			name, isFlag := strings.CutPrefix(arg, "--")
			name, _, _ = strings.Cut(name, "=")
			if isFlag && cmd.Flags().Lookup(name) == nil {
				t.Errorf("closeorder %s: no flag --%s", c[1], name)
			}
		}
	}
}

func TestOtherOutcomesAreNotCountedTwice(t *testing.T) {
	for _, tt := range []struct {
		what string
		of   audit.WithoutRequest
		want string
	}{
		{"one kind is the number of the row", audit.WithoutRequest{OutsideRange: 301}, "of requests outside of the range"},
		{"several kinds have numbers of their own", audit.WithoutRequest{OutsideRange: 300, Foreign: 1}, "300 of requests outside of the range, 1 of records that are none of these requests"},
	} {
		if got := otherNote(tt.of); got != tt.want {
			t.Errorf("%s: %s", tt.what, got)
		}
	}
}

// TestABacklogIsSaidInWords: what waits for a dead gateway balances, and does not
// read like nothing.
func TestABacklogIsSaidInWords(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pile := func(code, merchant string, n int64, ago time.Duration) backlog.Pile {
		return backlog.Pile{Code: code, MchID: merchant, Count: n, Oldest: now.Add(-ago), DueFirst: now, DueLast: now.Add(time.Minute)}
	}
	for _, tt := range []struct {
		sentence string
		report   audit.Report
		want     string
	}{
		{"a dead gateway", audit.Report{
			Balanced: true, AsOf: now, Waiting: 20_000, OldestWaiting: now.Add(-3*time.Hour - 2*time.Second), InFlight: 3, OldestInFlight: now.Add(-time.Second),
			WaitingBy: audit.Piles{
				Largest: []backlog.Pile{pile("NO_ANSWER", "1900000109", 19_000, time.Hour), pile("MERCHANT_HELD", "1900000111", 990, time.Hour), pile("SYSTEMERROR", "", 7, time.Hour)},
				Rest:    &backlog.Pile{Count: 3},
			},
		}, "; 20000 wait, oldest 3h: 19000 NO_ANSWER of 1900000109, 990 MERCHANT_HELD of 1900000111, 10 others; 3 in flight, oldest 1s"},
		{"all that can be wrong", audit.Report{
			Holes: 1, Contradictions: 2, Misnamed: 3, DeletedUnread: 4, UnreadableOffsets: 5, RepublishedOpen: 6, ExactlyOnce: true, Duplicates: 7,
		}, ": 1 lost (holes), 2 contradictory, 3 misnamed, 4 deleted unread, 5 in unreadable batches, 6 sent again and not answered yet, 7 answered again; nothing waits"},
		{"another group", audit.Report{}, ": this proves nothing, see the notes; nothing waits"},
		{"nothing", audit.Report{Balanced: true}, "; nothing waits"},
	} {
		if got := sentence(&tt.report); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.sentence, got, tt.want)
		}
	}
	var tally tally
	many := audit.Piles{Rest: &backlog.Pile{Count: 5}}
	for i := range int64(12) {
		many.Largest = append(many.Largest, pile("SYSTEMERROR", "1900000109", 20-i, time.Hour))
	}
	tally.piles(many)
	if rows := tally.rows; len(rows) != 11 || rows[0][1] != "20" || !strings.HasPrefix(rows[0][2], "SYSTEMERROR of 1900000109; the oldest was asked for at ") ||
		!strings.Contains(rows[0][2], ", due from ") || rows[10][1] != "24" || rows[10][2] != "others; --json --limit 0 lists all" {
		t.Errorf("%q", rows)
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 1400 * time.Millisecond: "1s", 90 * time.Second: "1m30s", 3*time.Hour + 5*time.Minute + 7*time.Second: "3h5m", 50 * time.Hour: "2d2h"} {
		if got := age(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
