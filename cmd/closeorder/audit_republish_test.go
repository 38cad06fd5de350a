package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
)

// TestHolesAreMended makes holes as they were once found: offsets were committed
// past requests that nobody had served.
func TestHolesAreMended(t *testing.T) {
	b, env := shop(t)
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var lost []events.Message
	var to []int
	for i := range 6 {
		m := events.Message{
			Key: fmt.Appendf(nil, "T%d", i), Value: fmt.Appendf(nil, "{ \"mch_id\": \"1900000109\",\n\"out_trade_no\":\"T%d\"}", i),
			Headers: []events.Header{{Key: "trace", Value: []byte{0xff}}, {Key: "trace", Value: nil}},
		}
		if i == 5 {
			m = events.Message{Value: []byte("\x00no request")} // it is answered, too
		}
		lost, to = append(lost, m), append(to, i%3)
	}
	if _, err := c.writer().Write(t.Context(), cfg.Topics.Requests, lost, to...); err != nil {
		t.Fatal(err)
	}
	commit(t, b, cfg, false)
	step := func(code int, want string, args ...string) string {
		t.Helper()
		got, stdout, stderr := call(t, env, "", args...)
		if got != code || stderr != "" || !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%q: exit code %d, want %d; %s\n%s\nis not %s", args, got, code, stderr, stdout, want)
		}
		return stdout
	}
	step(exitBad, `^NOT BALANCED: 6 lost \(holes\); nothing waits\nnext: closeorder audit --republish `, "audit")
	plan := step(exitBad, `6 of 6 holes would be sent again\. Nothing was sent`, "audit", "--republish")
	golden.Check(t, goldens+"audit-republish-dry-run.txt", normal(plan))

	// It is stopped after the first of them.
	stopped := launch(t, append(slices.Clone(env), "USER=night"), "", "audit", "--republish", "--yes", "--rate", "0.5")
	poll(t, func() bool { return len(replays(t, c, cfg.Topics.Requests)) > 0 })
	if code := stopped.end(t); code != exitBad || !strings.Contains(stopped.stdout.String(), "the same command goes on with them") {
		t.Errorf("stopped: exit code %d, %s\n%s", code, stopped.stderr, stopped.stdout)
	}
	sent := len(replays(t, c, cfg.Topics.Requests))
	step(exitBad, fmt.Sprintf(`^NOT BALANCED: %d lost \(holes\), %d sent again and not answered yet`, 6-sent, sent), "audit")

	text := step(exitDone, `"dry_run": false`, "audit", "--republish", "--yes", "--rate", "0", "--by", "oncall", "--reason", "OPS-1", "--json")
	var done struct {
		audit.Report
		Republish republishDocument `json:"republish"`
	}
	if err := json.Unmarshal([]byte(text), &done); err != nil {
		t.Fatal(err)
	}
	if r := done.Republish; r.Republished != 6-sent || r.Left != 0 || len(r.Holes) != 6-sent || r.ReplayID == "" || r.Holes[0].Action != didRepublish || r.Holes[0].Replay != 1 {
		t.Errorf("%+v", r)
	}
	step(exitBad, `nothing to send again: there is no hole`, "audit", "--republish", "--yes")
	all := replays(t, c, cfg.Topics.Requests)
	for i, want := range lost {
		is := slices.IndexFunc(all, func(rec kafka.Record) bool { return bytes.Equal(rec.Value, want.Value) })
		if is < 0 {
			t.Fatalf("%q was not sent again", want.Value)
		}
		got := all[is]
		if n := len(want.Headers); !bytes.Equal(got.Key, want.Key) || got.Partition != to[i] || !slices.EqualFunc(got.Headers[:n], want.Headers, func(a, b events.Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value)
		}) || got.Headers[n].Key != events.HeaderReplay || string(got.Headers[n].Value) != "1" {
			t.Errorf("%q was sent as %+v", want.Value, got)
		}
	}
	if len(all) != 6 {
		t.Errorf("%d were sent, and 6 were lost", len(all))
	}
	if !slices.ContainsFunc(all, func(rec kafka.Record) bool {
		by, _ := rec.Header(events.HeaderReplayBy)
		return strings.HasPrefix(string(by), "night")
	}) {
		t.Error("no record says who has sent it where --by did not")
	}
	if by, _ := all[slices.IndexFunc(all, func(rec kafka.Record) bool { _, said := rec.Header(events.HeaderReplayReason); return said })].Header(events.HeaderReplayReason); string(by) != "OPS-1" {
		t.Errorf("the reason is %q", by)
	}

	worker := launch(t, env, "", "run", "--admin-addr", "off")
	poll(t, func() bool {
		code, stdout, _ := call(t, env, "", "audit", "--max-age", "1h")
		return code == exitDone && strings.HasPrefix(stdout, "balanced; nothing waits\n")
	})
	balanced := step(exitDone, `^balanced; nothing waits\n`, "audit", "--max-age", "1h")
	golden.Check(t, goldens+"audit-republished.txt", normal(balanced))
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d\n%s", code, worker.stderr)
	}
	step(exitBad, `^balanced; nothing waits\nlate: group closeorder has no member`, "audit", "--max-age", "1h")
}

// poll waits until something holds, at most a minute.
func poll(t *testing.T, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("waited in vain")
		}
	}
}

// replays are the records of a topic that were sent again.
func replays(t *testing.T, c *cluster, topic string) []kafka.Record {
	t.Helper()
	r := c.reader()
	from, err := r.First(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	to, err := r.End(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []kafka.Record
	if err := r.Read(t.Context(), topic, from, to, func(rec kafka.Record) error {
		if _, is := rec.Header(events.HeaderReplay); is {
			all = append(all, rec)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWhatWaitsTooLong: a backlog that balances is told apart from one that nobody
// looks after.
func TestWhatWaitsTooLong(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	if code, _, stderr := call(t, env, "mch_id,out_trade_no\n"+lines("T", 3)+"1900000111,X\n", "request", "--file", "-"); code != exitDone {
		t.Fatal(stderr)
	}
	for _, tt := range []struct {
		sentence, args string
		code           int
		want           string
	}{
		{"in flight is no trouble by itself", "audit", exitDone, `^balanced; 4 in flight, oldest \d+m?s\n(?s:.*)in flight +4 .*\n +3  1900000109; the oldest was asked for at .* [+-]\d\d:\d\d\n +1  1900000111; `},
		{"too old, and nobody is there", "audit --max-age 1ns", exitBad, `\nlate: the oldest request without an answer was asked for .* ago, --max-age is 1ns\nlate: group closeorder has no member`},
		{"young, and nobody is there", "audit --max-age 1h", exitBad, `^balanced.*\nlate: group closeorder has no member`},
		{"as JSON", "audit --max-age 1h --json", exitBad, `"in_flight_by": {\n    "largest": \[\n      {\n        "mch_id": "1900000109",\n        "count": 3,(?s:.*)"late": \[\n    "group closeorder has no member`},
		{"one pile alone", "audit --limit 1 --json", exitDone, `"rest": {\n      "count": 1,`},
	} {
		code, stdout, stderr := call(t, env, "", strings.Fields(tt.args)...)
		if code != tt.code || stderr != "" || !regexp.MustCompile(tt.want).MatchString(stdout) {
			t.Errorf("%s: exit code %d, %s\n%s", tt.sentence, code, stderr, stdout)
		}
	}
}
