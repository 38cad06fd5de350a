package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// TestTheLifeOfADeadLetter is the whole story: requests of a merchant that
// nobody knows die, the merchant is added, they are replayed, and closed.
func TestTheLifeOfADeadLetter(t *testing.T) {
	b, env := shop(t)
	topics := config.Default().Topics
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	env = append(env[:3], "CLOSEORDER_MERCHANTS_FILE="+file)
	known := "merchants:\n  - {mch_id: \"1900000109\", appid: wx8888888888888888, key: " + gatewaysim.DirectKey + "}\n"
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	step := func(want int, golden_, input string, args ...string) string {
		t.Helper()
		code, stdout, stderr := call(t, env, input, args...)
		if code != want || stderr != "" {
			t.Fatalf("%v: exit code %d, %s\n%s", args, code, stderr, stdout)
		}
		if golden_ != "" {
			golden.Check(t, goldens+"deadletters-"+golden_, normal(stdout))
		}
		return stdout
	}
	write(known)
	worker := launch(t, env, "", "run")
	// One first, whose dead letter then has a known place.
	for i, input := range []string{"1900000110,U1,u1\n", "1900000109,T1,t1\n1900000110,U2,u2\n1900000110,U3,u3\n1900000109,DEAD1,d1\n"} {
		if code, _, stderr := call(t, env, "mch_id,out_trade_no,request_id\n"+input, "request", "--wait", "--file", "-"); code != exitBad {
			t.Fatalf("exit code %d, %s", code, stderr)
		}
		arrive(t, b, topics.DeadLetters, 1+3*i)
	}

	list := step(exitDone, "", "", "deadletters", "list")
	for _, want := range []string{"U1 ", "U2 ", "U3 ", "DEAD1 ", "4 dead letters: UNKNOWN_MERCHANT 3, PARAM_ERROR 1\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in\n%s", want, list)
		}
	}
	step(exitDone, "list.txt", "", "deadletters", "list", "--out-trade-no", "U1")
	line := step(exitDone, "list-json.txt", "", "deadletters", "list", "--out-trade-no", "U1", "--json")
	step(exitDone, "list-none.txt", "", "deadletters", "list", "--code", "BANKERROR")
	var at deadletters.Listed
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("%d:%d", at.Partition, at.Offset)
	step(exitDone, "show.txt", "", "deadletters", "show", where)
	step(exitDone, "show-json.txt", "", "deadletters", "show", where, "--json")
	if raw := step(exitDone, "", "", "deadletters", "show", where, "--raw"); raw != `{"out_trade_no":"U1","mch_id":"1900000110","request_id":"u1"}` {
		t.Errorf("the raw value is %s", raw)
	}

	before := step(exitDone, "", "", "audit")
	if !strings.HasSuffix(before, "\n5 = 1 closed + 0 paid + 4 failed + 0 waiting + 0 in flight\n") {
		t.Errorf("%s", before)
	}
	step(exitDone, "replay-dry-run.txt", "", "deadletters", "replay", "--out-trade-no", "U1")
	step(exitDone, "replay-dry-run-json.txt", "", "deadletters", "replay", "--out-trade-no", "U1", "--json")
	if after := step(exitDone, "", "", "audit"); !strings.Contains(after, "\n5 = ") {
		t.Errorf("a dry run sent something:\n%s", after)
	}

	write(known + "  - {mch_id: \"1900000110\", appid: wx8888888888888888, sign_type: HMAC-SHA256, key: " + gatewaysim.HMACKey + "}\n")
	worker.stderr.find(t, "merchants file read again")
	follow := launch(t, env, "", "outcomes", "--from", "beginning")
	follow.stdout.find(t, `(?s)(UNKNOWN_MERCHANT.*){3}`)
	out := step(exitDone, "", "", "deadletters", "replay", "--code", "UNKNOWN_MERCHANT", "--yes")
	if !strings.HasSuffix(out, "\n3 replayed to closeorder.requests; follow the outcomes with: closeorder outcomes\n") || strings.Count(out, "now at ") != 3 {
		t.Errorf("%s", out)
	}
	for _, no := range []string{"U1", "U2", "U3"} {
		follow.stdout.find(t, `closed +`+no+` .*replay 1`)
	}
	again := step(exitDone, "", "", "deadletters", "replay", "--code", "UNKNOWN_MERCHANT", "--yes")
	if !strings.HasSuffix(again, "\nnothing to do; 3 skipped (3 answered)\n") {
		t.Errorf("%s", again)
	}
	// The dead letters stay; those that are still open are told apart.
	if open := step(exitDone, "", "", "deadletters", "list", "--open"); strings.Contains(open, "U1") || !strings.HasSuffix(open, "\n1 dead letter: PARAM_ERROR 1\n") {
		t.Errorf("%s", open)
	}
	if open := step(exitDone, "", "", "deadletters", "list", "--open", "--out-trade-no", "U1"); open != "no dead letters without a closed or paid outcome\n" {
		t.Errorf("%s", open)
	}
	step(exitDone, "replay-nothing.txt", "", "deadletters", "replay", "--out-trade-no", "U1", "--yes")
	step(exitDone, "replay-nothing-json.txt", "", "deadletters", "replay", "--out-trade-no", "U1", "--yes", "--json")
	step(exitDone, "replay-no-match.txt", "", "deadletters", "replay", "--code", "BANKERROR", "--yes")

	// What is refused for good stays so, and is replayed only so often.
	for n := range 4 {
		want := "1 replayed"
		if n == 3 {
			want = "nothing to do; 4 skipped (1 max replays, 3 replayed)"
		}
		if out := step(exitDone, "", "", "deadletters", "replay", "--code", "PARAM_ERROR", "--yes"); !strings.Contains(out, want) {
			t.Errorf("replay %d: %s", n+1, out)
		}
		if n < 3 {
			follow.stdout.find(t, fmt.Sprintf(`failed +DEAD1 .*replay %d`, n+1))
			arrive(t, b, topics.DeadLetters, 5+n)
		}
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
	step(exitDone, "audit.txt", "", "audit")
}

func TestAReplayThatIsInterruptedSaysSoAndGoesOn(t *testing.T) {
	b, env := shop(t)
	const n = 12
	if code, _, stderr := call(t, env, "mch_id,out_trade_no\n"+lines("DEAD", n), "request", "--file", "-"); code != exitDone {
		t.Fatal(stderr)
	}
	worker := launch(t, env, "", "run")
	arrive(t, b, config.Default().Topics.DeadLetters, n)
	worker.end(t)

	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	from, err := c.reader().End(t.Context(), cfg.Topics.Requests)
	if err != nil {
		t.Fatal(err)
	}
	replay := launch(t, env, "", "deadletters", "replay", "--yes", "--rate", "2")
	seen := errors.New("seen")
	err = c.reader().Read(t.Context(), cfg.Topics.Requests, from, nil, func(kafka.Record) error { return seen })
	if err != seen {
		t.Fatal(err)
	}
	replay.stop()
	code := replay.wait(t)
	done := replay.stdout.find(t, `\n(\d+) of 12 replayed to closeorder.requests, (\d+) left\n`)
	if code != exitBad || !strings.Contains(replay.stderr.String(), "stopped; the same command goes on with the rest") {
		t.Errorf("exit code %d, %s", code, replay.stderr)
	}
	code, stdout, stderr := call(t, env, "", "deadletters", "replay", "--yes", "--rate", "0")
	if code != exitDone || !strings.Contains(stdout, fmt.Sprintf("\n%s replayed to closeorder.requests; %s skipped (%[2]s replayed)", done[2], done[1])) {
		t.Errorf("after %s: exit code %d, %s\n%s", done[1], code, stderr, stdout)
	}
	orders := map[string]int{}
	to, err := c.reader().End(t.Context(), cfg.Topics.Requests)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.reader().Read(t.Context(), cfg.Topics.Requests, from, to, func(r kafka.Record) error {
		orders[string(r.Key)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for order, times := range orders {
		if times != 1 {
			t.Errorf("%s was replayed %d times", order, times)
		}
	}
	if len(orders) != n {
		t.Errorf("%d orders were replayed", len(orders))
	}
}

func TestAPlanShowsFirstWhatIsSent(t *testing.T) {
	plan := func(skips, sends int) *deadletters.Plan {
		p := &deadletters.Plan{Replays: sends}
		for i := range skips + sends {
			s := deadletters.Step{OutTradeNo: fmt.Sprint("SEND", i), Replay: 1}
			if i < skips {
				s.OutTradeNo, s.Skip, s.Why = fmt.Sprint("SKIP", i), deadletters.Answered, "closed"
			}
			p.Steps = append(p.Steps, s)
		}
		return p
	}
	for _, tt := range []struct {
		what         string
		skips, sends int
		first        string
		rows         int
		says         string
	}{
		{"however many are skipped before it", 300, 2, "SEND300", 22, "\nand 280 more to skip; --json lists all\n"},
		{"of both kinds there are more", 21, 101, "SEND21", 120, "\nand 1 more to replay, 1 more to skip; --json lists all\n"},
		{"all is shown", 1, 1, "SEND1", 2, "\n\n1 would be replayed; 1 skipped (1 answered). Nothing was sent; to send them add --yes\n"},
		{"nothing is sent", 2, 0, "SKIP0", 2, "\nnothing to do; 2 skipped (2 answered)\n"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			out := newStream()
			if err := (&app{stdout: out}).replayPrinter(replayOptions{}, "requests", plan(tt.skips, tt.sends)).print(nil); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			rows := strings.Split(text, "\n")
			if n := strings.Count(text, "SKIP") + strings.Count(text, "SEND"); n != tt.rows || !strings.Contains(rows[1], tt.first+" ") || !strings.Contains(text, tt.says) {
				t.Errorf("%d rows\n%s", n, text)
			}
		})
	}
}

func TestShowEscapesWhatATerminalWouldObey(t *testing.T) {
	for in, want := range map[string]string{
		"plain 订单 号\n\t.":      "plain 订单 号\n\t.",
		"\x1b[2J\rgone\x07":    `\x1b[2J\rgone\a`,
		"bytes \xff\xfe":       `bytes \xff\xfe`,
		"right to left \u202e": `right to left \u202e`,
		"c1 \u009b2J, \u2028.": `c1 \u009b2J, \u2028.`,
		"\ufffd is itself":     "\ufffd is itself",
		`a "quoted" \ text`:    `a "quoted" \ text`,
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}

func TestShowTellsWhatIsNotThere(t *testing.T) {
	b, env := shop(t)
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	omitted := records.EncodeDeadLetter(records.DeadLetter{
		Original: events.Message{Key: []byte("K\x1b"), Headers: []events.Header{{Key: "h", Value: []byte{0xff}}, {Key: "null"}}}, ErrorCode: "X", ErrorMessage: "why\x1b[2J",
		ValueOmitted: events.CodeRecordTooLarge, Source: events.Source{Topic: cfg.Topics.Requests, Partition: 3, Offset: 9},
	})
	at, err := c.writer().Write(context.Background(), cfg.Topics.DeadLetters, []events.Message{omitted, {Key: []byte("K\x1b"), Value: []byte("no letter")}})
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, env, "", "deadletters", "show", place(at[0].At))
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	golden.Check(t, goldens+"deadletters-show-omitted.txt", normal(stdout))
	code, _, stderr = call(t, env, "", "deadletters", "show", place(at[0].At), "--raw")
	if want := "closeorder: the value is not in the dead letter (RECORD_TOO_LARGE); the request stands at closeorder.requests, partition 3, offset 9\n"; code != exitBad || stderr != want {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	_, stdout, _ = call(t, env, "", "deadletters", "show", place(at[0].At), "--json")
	golden.Check(t, goldens+"deadletters-show-omitted-json.txt", normal(stdout))
	_, stdout, _ = call(t, env, "", "deadletters", "show", place(at[1].At))
	golden.Check(t, goldens+"deadletters-show-no-letter.txt", normal(stdout))
	code, stdout, _ = call(t, env, "", "deadletters", "list")
	if code != exitDone || strings.ContainsAny(stdout, "\x1b") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	golden.Check(t, goldens+"deadletters-list-odd.txt", normal(stdout))
	code, _, stderr = call(t, env, "", "deadletters", "show", "0:99")
	if code != exitBad || !strings.Contains(stderr, "offset 99: there is no such record yet") && !strings.Contains(stderr, "there is no such partition, or it is empty") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestListShowsTheNewest(t *testing.T) {
	b, env := shop(t)
	worker := launch(t, env, "", "run")
	call(t, env, "mch_id,out_trade_no\n"+lines("DEAD", 7), "request", "--file", "-")
	arrive(t, b, config.Default().Topics.DeadLetters, 7)
	worker.end(t)
	all := strings.Split(strings.TrimSpace(callOK(t, env, "deadletters", "list", "--json")), "\n")
	code, stdout, stderr := call(t, env, "", "deadletters", "list", "--json", "--limit", "3")
	if code != exitDone || stdout != strings.Join(all[4:], "\n")+"\n" || stderr != "closeorder: the newest 3 of 7; --limit 0 lists all\n" {
		t.Errorf("exit code %d, %s, %s of\n%s", code, stderr, stdout, strings.Join(all, "\n"))
	}
	if table := callOK(t, env, "deadletters", "list", "--limit", "3"); !strings.HasSuffix(table, "\n7 dead letters: PARAM_ERROR 7\nThe newest 3 are listed; --limit 0 lists all.\n") {
		t.Errorf("%s", table)
	}
}

// arrive waits until a topic has n records.
func arrive(t *testing.T, b *broker.Broker, topic string, n int) {
	t.Helper()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	from, err := c.reader().First(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	all := errors.New("all there")
	if err := c.reader().Read(ctx, topic, from, nil, func(kafka.Record) error {
		if n--; n == 0 {
			return all
		}
		return nil
	}); err != all {
		t.Fatalf("%d records are missing in %s: %v", n, topic, err)
	}
}

func callOK(t *testing.T, env []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := call(t, env, "", args...)
	if code != exitDone || stderr != "" {
		t.Errorf("%v: exit code %d, %s", args, code, stderr)
	}
	return stdout
}

// small is a broker whose requests topic takes no record above 1000 bytes.
func small(t *testing.T) (b *broker.Broker, env []string) {
	t.Helper()
	topics := broker.DefaultTopics()
	for i := range topics {
		if topics[i].Name == config.Default().Topics.Requests {
			topics[i].Configs = map[string]string{"max.message.bytes": "1000"}
		}
	}
	b, err := broker.Start(broker.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
}

// noise is n characters which no compression makes much smaller.
func noise(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return hex.EncodeToString(b)
}

func TestARecordThatTheTopicNeverTakesIsNamedAndTheOthersAreSent(t *testing.T) {
	b, env := small(t)
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var letters []events.Message
	for i, text := range []string{noise(3000), "x", "x", "x"} {
		letters = append(letters, records.EncodeDeadLetter(records.DeadLetter{
			Original:  events.Message{Value: fmt.Appendf(nil, `{"mch_id":"1","out_trade_no":"T%d","x":%q}`, i, text)},
			ErrorCode: "X", FailedAt: time.Now(), Source: events.Source{Topic: cfg.Topics.Requests, Offset: int64(i)},
		}))
	}
	if _, err := c.writer().Write(t.Context(), cfg.Topics.DeadLetters, letters); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, env, "", "deadletters", "replay", "--yes", "--json")
	if code != exitBad || stderr != "" || strings.Count(stdout, `"action":"replayed"`) != 3 ||
		!strings.Contains(stdout, `{"action":"left","reason":"too_large","detail":"topic closeorder.requests takes no record of `) ||
		!strings.Contains(stdout, `"replayed":3,"left":1`) {
		t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
	}
	code, stdout, _ = call(t, env, "", "deadletters", "replay", "--yes")
	if code != exitBad || !strings.Contains(stdout, "raise max.message.bytes") || !strings.HasSuffix(stdout, "\n0 of 1 replayed to closeorder.requests, 1 left; 3 skipped (3 replayed)\n") {
		t.Errorf("a second time: exit code %d, %s", code, stdout)
	}

	input := "mch_id,out_trade_no,reason,metadata\n1,A,r,\n1,B,r,\"{\"\"a\"\":\"\"" + noise(3000) + "\"\"}\"\n1,C,r,\n"
	code, stdout, stderr = call(t, env, input, "request", "--file", "-")
	if code != exitBad || stdout != "published 2 requests to closeorder.requests; follow the outcomes with: closeorder outcomes\n" ||
		!strings.HasPrefix(stderr, "closeorder: 1 request not published, and never can be as it is:\n  B of merchant 1: topic closeorder.requests takes no record of ") {
		t.Errorf("request: exit code %d, %s, %s", code, stdout, stderr)
	}
}
