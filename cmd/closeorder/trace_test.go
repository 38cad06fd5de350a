package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/timeline"
)

// TestTracesReadAsStories prints the reports of testdata/timeline as people see them.
func TestTracesReadAsStories(t *testing.T) {
	files, err := filepath.Glob("../../testdata/timeline/reports/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d reports, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r timeline.Report
			if err := json.Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			out := newStream()
			(&tracePrinter{out: out, zone: time.FixedZone("", 8*3600)}).print(&r, nil)
			golden.Check(t, goldens+"trace/"+name+".txt", out.String())
		})
	}
}

// TestTheLifeOfAnOrder is that of one that waits as its merchant's key is wrong, fails
// as nobody knows the merchant any more, and is replayed and closed with the right key.
func TestTheLifeOfAnOrder(t *testing.T) {
	_, env := shop(t)
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	env = append(env[:3], "CLOSEORDER_MERCHANTS_FILE="+file, "CLOSEORDER_TOPICS_RETRY_DELAYS=1s")
	known := func(mchID, key string) string {
		return fmt.Sprintf("  - {mch_id: %q, appid: wx8888888888888888, sign_type: HMAC-SHA256, key: %s}\n", mchID, key)
	}
	merchants := func(all ...string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte("merchants:\n"+strings.Join(all, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	step := func(want int, input string, args ...string) string {
		t.Helper()
		code, stdout, stderr := call(t, env, input, args...)
		if code != want || stderr != "" {
			t.Fatalf("%v: exit code %d, want %d, %s\n%s", args, code, want, stderr, stdout)
		}
		return stdout
	}
	const number = "U|1" // a shell would make a pipe of it
	become := func(want timeline.State) {
		t.Helper()
		for limit := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			_, stdout, _ := call(t, env, "", "trace", number, "--json")
			var r timeline.Report
			if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.Lives) != 1 {
				t.Fatalf("%v: %s", err, stdout)
			}
			if r.Lives[0].State == want {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("it has not become %s:\n%s", want, stdout)
			}
		}
	}
	other := known("1900000109", gatewaysim.DirectKey)
	merchants(other, known("1900000110", gatewaysim.DirectKey)) // the other one's
	step(exitDone, "", "topics", "create", "--replication", "1", "--min-insync-replicas", "1")
	never := step(exitNeverSeen, "", "trace", number)
	for _, hostile := range []string{"T\x1b[2J", "-T\n$(true)"} {
		if told := step(exitNeverSeen, "", "trace", "--", hostile); strings.Contains(told, hostile) || strings.Count(told, "\n") != 5 {
			t.Errorf("%q", told)
		}
	}
	request := func(number string) {
		t.Helper()
		step(exitDone, fmt.Sprintf(`{"mch_id":"1900000110","out_trade_no":%q,"request_id":"u1"}`, number), "request", "--file", "-")
	}
	request("U0") // finds out that the key is wrong: then others wait in the retry topic
	flight := step(exitDone, "", "trace", "U0")
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "refuses this merchant")
	request(number)
	become(timeline.Waiting)
	waiting := step(exitDone, "", "trace", number)
	merchants(other)
	become(timeline.Failed)
	failed := step(exitBad, "", "trace", number)
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
	merchants(other, known("1900000110", gatewaysim.HMACKey))
	worker = launch(t, env, "", "run") // it holds no merchant
	step(exitDone, "", "deadletters", "replay", "--out-trade-no", number, "--yes")
	become(timeline.Closed)
	closed := step(exitDone, "", "trace", number, "--ask-gateway")

	for what, told := range map[string]string{"never": never, "in-flight": flight, "waiting": waiting, "failed": failed, "closed": closed} {
		golden.Check(t, goldens+"trace-"+what+".txt", likeness(told))
	}
	var r timeline.Report
	if err := json.Unmarshal([]byte(step(exitDone, "", "trace", number, "--json", "--all")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Lives) != 1 || r.Lives[0].State != timeline.Closed || len(r.Lives[0].Requests) != 2 || !r.All {
		t.Errorf("%+v", r)
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
}

// likeness is what stays the same of a timeline from run to run. How often a request is
// put off while its merchant is held, and how often it is called for, goes by the clock.
func likeness(told string) string {
	for _, r := range []struct{ pattern, by string }{
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`, "<time>"},
		{`-?\b\d+( h| min)? (\d+ )?(s|min)\b|-?\b\d+(\.\d)? m?s\b`, "<span>"},
		{` {2,}`, "  "}, // the widths are those of the spans
		{`, and has been due since <time> \(<span> ago\)| until <time> \(<span> from now\)`, " <until>"},
		{`; closeorder-replay-\S+ [^;\n]*`, ""},
		{`id [0-9a-f]{8}-[0-9a-f-]{27}`, "id <id>"},
		{`\b\d+ (calls?|offsets?)\b`, "<n> $1"},
		{`calls?\b`, "calls"},
		{`((?:#1  )?<time>  <span>  )wait(?:s|ed)(  closeorder.retries.1s\[5\]@)\d+  .*\n(?:.*closeorder.retries.1s.*\n)*`, "${1}waits or waited${2}<n>  <why>\n"},
		{`(closeorder.retries.1s\[5\]@)\d+ <until>(: its merchant is held \(mch_id\))? because (SIGNERROR|MERCHANT_HELD): .*`, "${1}<n> <until> because <why>"},
	} {
		told = regexp.MustCompile(r.pattern).ReplaceAllString(told, r.by)
	}
	return told
}

func TestWhatTheGatewaySaysNowIsHeldAgainstTheOutcomes(t *testing.T) {
	cfg, err := config.Load(config.Source{Env: []string{
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
		"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
	}}, config.Calls)
	if err != nil {
		t.Fatal(err)
	}
	safe := []timeline.Entry{{SafeToReissue: true}}
	for what, tt := range map[string]struct {
		report timeline.Report
		mchID  string
		says   string // empty: nobody is asked
		bad    bool
	}{
		"open":                               {timeline.Report{Lives: []timeline.Life{{MchID: "1900000109", OutTradeNo: "T1"}}}, "", "open: it can still be paid; trade_state NOTPAY", false},
		"paid, as was said":                  {timeline.Report{Lives: []timeline.Life{{MchID: "1900000109", OutTradeNo: "PAID1", Entries: []timeline.Entry{{}}}}}, "", "paid; trade_state SUCCESS", false},
		"paid, and was to be closed":         {timeline.Report{Lives: []timeline.Life{{MchID: "1900000109", OutTradeNo: "PAID1", Entries: safe}}}, "", "paid; trade_state SUCCESS", true},
		"never seen, of a merchant":          {timeline.Report{}, "1900000109", "open: it can still be paid; trade_state NOTPAY", false},
		"never seen, and whose nobody knows": {timeline.Report{}, "", "", false},
		"of a merchant that is not known":    {timeline.Report{Lives: []timeline.Life{{MchID: "1", OutTradeNo: "T1"}}}, "", `unknown: no merchant "1" is configured; code UNKNOWN_MERCHANT`, false},
	} {
		t.Run(what, func(t *testing.T) {
			asked, err := askGateway(t.Context(), cfg, traceOptions{number: "T2", mchID: tt.mchID}, &tt.report)
			if err != nil || len(asked) > 1 || (len(asked) == 1) != (tt.says != "") {
				t.Fatalf("%v, %v", asked, err)
			}
			if len(asked) == 1 && (asked[0].sentence() != tt.says || asked[0].Contradicts != tt.bad) {
				t.Errorf("%q, %t", asked[0].sentence(), asked[0].Contradicts)
			}
			out := newStream()
			(&tracePrinter{out: out, zone: time.UTC}).print(&tt.report, asked)
			if strings.Contains(out.String(), "contradiction:") != tt.bad || !strings.Contains(out.String(), tt.says) {
				t.Errorf("%s", out)
			}
		})
	}
}
