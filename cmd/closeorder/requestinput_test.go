package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/topicreader"
)

// TestRequestInput runs every input of testdata/cmd/request through
// request --dry-run; what it says stands beside it in a .txt file.
func TestRequestInput(t *testing.T) {
	var inputs []string
	for _, kind := range []string{"*.csv", "*.ndjson"} {
		found, err := filepath.Glob(filepath.Join(goldens, "request", kind))
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, found...)
	}
	if len(inputs) == 0 {
		t.Fatal("there is no input")
	}
	for _, name := range inputs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := call(t, nil, string(text), "request", "--dry-run", "--reason", "payment_failed")
			says := strings.ReplaceAll(stdout+stderr, name, "FILE")
			golden(t, "request/"+filepath.Base(name)+".txt", "exit code "+string(rune('0'+code))+"\n"+says)
			again, stdout, stderr := call(t, nil, "", "request", "--dry-run", "--keep-going", "--file", name)
			if again != code || stdout != "" || stderr == "" {
				t.Errorf("from a file, with --keep-going: exit code %d, %q", again, stderr)
			}
		})
	}
}

func TestARequestIDIsKeptAlsoWhereItIsTheOneThatWouldBeDerived(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	for _, input := range []string{
		`{"mch_id":"1","out_trade_no":"T1","request_id":"order/1/T1"}` + "\n" + `{"mch_id":"1","out_trade_no":"N1","request_id":null}` + "\n" + `{"mch_id":"1","out_trade_no":"N2"}`,
		"mch_id,out_trade_no,request_id\n1,T2,order/1/T2\n1,N3,\n",
	} {
		if code, _, stderr := call(t, env, input, "request", "--file", "-"); code != exitDone {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	}
	if code, _, stderr := call(t, env, "", "request", "--mch-id", "1", "--out-trade-no", "T3", "--request-id", "order/1/T3"); code != exitDone {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r := c.reader()
	from, _ := r.First(t.Context(), cfg.Topics.Requests)
	to, err := r.End(t.Context(), cfg.Topics.Requests)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.Read(t.Context(), cfg.Topics.Requests, from, to, func(rec topicreader.Record) error {
		n++
		q, err := events.DecodeRequest(rec.Message)
		if derived := q.RequestID == "order/1/"+q.OutTradeNo; err != nil || derived != strings.HasPrefix(q.OutTradeNo, "T") {
			t.Errorf("%s has the id %s, %v", q.OutTradeNo, q.RequestID, err)
		}
		return nil
	}); err != nil || n != 6 {
		t.Errorf("%d requests, %v", n, err)
	}
}

func TestADryRunAsJSONPrintsWhatWouldBePublished(t *testing.T) {
	input := `{"mch_id":"1","out_trade_no":"T1","metadata":{"a":[1,"<>"]}}` + "\n{}\n" + `{"mch_id":"1","out_trade_no":"T2","request_id":"r"}`
	code, stdout, stderr := call(t, nil, input, "request", "--file", "-", "--dry-run", "--json", "--keep-going")
	want := `{"out_trade_no":"T1","mch_id":"1","request_id":"<id>","metadata":{"a":[1,"<>"]}}` + "\n" + `{"out_trade_no":"T2","mch_id":"1","request_id":"r"}` + "\n"
	if got := normal(stdout); code != exitBad || got != want {
		t.Errorf("exit code %d\n%swant\n%s", code, got, want)
	}
	if !strings.Contains(stderr, "1 of 3 requests is not valid; the others would be published\n") || !strings.Contains(stderr, "2 requests valid; nothing was published\n") {
		t.Errorf("%s", stderr)
	}
}

// A flag that is put beside the layer and not into it would be ignored: the
// order would be closed after its expiry.
func TestFlagsFillInNothingOfALineThatIsWrapped(t *testing.T) {
	const plain = `{"mch_id":"1","out_trade_no":"T1"}`
	for inside, line := range map[string]string{
		"data":        `{"specversion":"1.0","id":"e","type":"closeorder.requested","data":` + plain + `}`,
		"data_base64": `{"specversion":"1.0","id":"e","data_base64":"eyJtY2hfaWQiOiIxIiwib3V0X3RyYWRlX25vIjoiVDEifQ=="}`,
		"payload":     `{"schema":null,"payload":` + plain + `}`,
	} {
		code, _, stderr := call(t, nil, line, "request", "--dry-run", "--file", "-", "--expires-at", "2099-01-01T00:00:00Z")
		if want := "line 1: is a request inside " + inside + ", where flags fill in nothing; "; code != exitBad || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %s", inside, code, stderr)
		}
		if code, _, stderr := call(t, nil, line, "request", "--dry-run", "--file", "-"); code != exitDone {
			t.Errorf("%s, without a flag: exit code %d, %s", inside, code, stderr)
		}
	}
	own := `{"mch_id":"1","out_trade_no":"T1","data":{},"specversion":1,"schema":1,"payload":2}`
	if code, stdout, stderr := call(t, nil, own, "request", "--dry-run", "--json", "--file", "-", "--reason", "r"); code != exitDone || !strings.Contains(stdout, `"reason":"r"`) {
		t.Errorf("a request with such fields: exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestAnInputThatCannotBeReadIsWrongUsage(t *testing.T) {
	code, stdout, stderr := call(t, nil, "", "request", "--file", t.TempDir())
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, "is a directory") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

func FuzzParseRequests(f *testing.F) {
	for _, seed := range []string{"", "{}", "mch_id,out_trade_no\n1,2\n", `{"mch_id":"1","out_trade_no":"2"}`, "\ufeff\n\"", "mch_id\n\"a\"b\n"} {
		f.Add(seed, "")
		f.Add(seed, "payment_failed")
	}
	f.Fuzz(func(t *testing.T, text, reason string) {
		defaults := map[string]string{}
		if reason != "" {
			defaults["reason"] = reason
		}
		parsed, err := parseRequests(strings.NewReader(text), defaults)
		if err != nil {
			return
		}
		for i, r := range parsed.requests {
			if _, err := events.EncodeRequest(r, "/shop", time.Time{}); err != nil {
				t.Fatalf("line %d was accepted: %v", parsed.lines[i], err)
			}
		}
		last := 0
		for _, b := range parsed.bad {
			if b.line <= last || b.err == nil {
				t.Fatalf("bad lines are %+v", parsed.bad)
			}
			last = b.line
		}
	})
}
