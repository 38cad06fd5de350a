package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/leftout"
)

// hostile is an outcome whose texts would play tricks on a terminal.
func hostile(t *testing.T) events.Message {
	t.Helper()
	m, err := events.EncodeOutcome(events.Outcome{
		ID: "x", Result: events.Failed, OutTradeNo: "T1", MchID: "1", RequestID: "r\u009b", Code: "PARAM\tERROR",
		Message:     "bad\n2026-01-01 00:00:00  closed   T1 \u009b31m \x1b]0;owned\x07 \u202e支付",
		CompletedAt: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC), Source: events.Source{Topic: "closeorder.requests"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatARecordSaysCannotPlayTricksOnATerminal(t *testing.T) {
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
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	if code, _, stderr := call(t, env, "", "request", "--mch-id", "1", "--out-trade-no", "OTHER"); code != exitDone {
		t.Fatal(stderr)
	}
	at, err := c.reader().End(t.Context(), cfg.Topics.Requests)
	if err != nil {
		t.Fatal(err)
	}
	m := hostile(t)
	for partition, end := range at {
		if end > 0 { // it names another order than that of the request
			m.Value = bytes.Replace(m.Value, []byte(`"partition":0`), fmt.Appendf(nil, `"partition":%d`, partition), 1)
		}
	}
	if _, err := c.writer().Write(t.Context(), cfg.Topics.Outcomes, []events.Message{m, {Value: []byte("no outcome \x1b[2J")}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"outcomes --from beginning --no-follow", `PARAM\tERROR        no       0      bad\n2026-01-01 00:00:00  closed   T1 \u009b31m \x1b]0;owned\a \u202e支付` + "\n"},
		{"outcomes --from beginning --no-follow --json", `\u009b31m \u001b]0;owned\u0007 \u202e支付`},
		{"audit", `misnamed  T1`},
		{"audit --json", `"request_id": "r\u009b"`},
	} {
		_, stdout, stderr := call(t, env, "", strings.Fields(tt.args)...)
		if !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: %s is not in\n%s", tt.args, tt.want, stdout)
		}
		if strings.ContainsAny(stdout+stderr, "\x1b\x07\u009b\u202e") {
			t.Errorf("%s: %q %q", tt.args, stdout, stderr)
		}
	}
}

// full is a device that takes nothing any more.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnOutputThatTakesNothingIsAFailure(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
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
	for _, args := range []string{
		"version", "--help", "audit", "audit --json", "deadletters list", "deadletters replay", "topics create", "topics create --json",
		"outcomes --from beginning --no-follow", "outcomes --from beginning", "outcomes --from beginning --json", "request --mch-id 1 --out-trade-no T1", "sign --key k a=b",
	} {
		stderr := newStream()
		if code := run(t.Context(), strings.Fields(args), strings.NewReader(""), full{}, stderr, env); code != exitBad || !strings.HasPrefix(stderr.String(), "closeorder: ") || strings.Count(stderr.String(), "no space left on device") != 1 {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestEveryCommandSaysWhatIsDoubtfulAboutItsSettings(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_KAFKA_GROUPS=mine"}
	for _, args := range []string{"audit", "deadletters list", "topics create", "outcomes --no-follow", "request --mch-id 1 --out-trade-no T1"} {
		code, _, stderr := call(t, env, "", strings.Fields(args)...)
		if code != exitDone || !strings.HasPrefix(stderr, "closeorder: warning: environment variable CLOSEORDER_KAFKA_GROUPS is not known; did you mean CLOSEORDER_KAFKA_GROUP?\n") {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
}

// A list of outcomes that was cut short must not look like a whole one.
func TestOutcomesThatWereNotAllPrintedAreAFailure(t *testing.T) {
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
	if _, err := c.writer().Write(t.Context(), cfg.Topics.Outcomes, []events.Message{hostile(t), hostile(t), hostile(t)}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := stoppable(t.Context())
	stderr := newStream()
	code := run(ctx, []string{"outcomes", "--from", "beginning", "--no-follow", "--json"}, strings.NewReader(""), onWrite(stop), stderr, []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()})
	if code != exitBad || stderr.String() != "closeorder: stopped before all outcomes were printed\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// onWrite is called by each write.
type onWrite func()

func (f onWrite) Write(b []byte) (int, error) { f(); return len(b), nil }

func TestATerminalIsKnownBehindTheOutput(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		leftout.Test(t, "no terminal can be had here: "+err.Error())
	}
	defer terminal.Close()
	if !isTerminal(terminal) {
		leftout.Test(t, "this system does not take /dev/ptmx for a terminal")
	}
	a := &app{stdout: &output{Writer: terminal}}
	if !a.paint(a.stdout) {
		t.Error("a terminal gets no colours")
	}
}

func TestRowsOfOutcomesLineUpHoweverLongTheNumberIs(t *testing.T) {
	out := newStream()
	p := (&app{stdout: out}).outcomePrinter(false, time.TimeOnly)
	for _, no := range []string{"T1", strings.Repeat("9", 32)} {
		if err := p.print(events.Outcome{Result: events.Closed, OutTradeNo: no, MchID: "1900000109", Code: "SUCCESS", Attempts: 1}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, head := range []string{"MCH_ID", "1900000109", "1900000109"} {
		if at, want := strings.Index(lines[i], head), strings.Index(lines[0], "MCH_ID"); at != want {
			t.Errorf("line %d has its merchant at %d, not %d:\n%s", i+1, at, want, out)
		}
	}
}
