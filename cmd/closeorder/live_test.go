package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/kafka"
)

func TestDevEndsWithABalanceThatAddsUp(t *testing.T) {
	code, stdout, stderr := call(t, nil, "", "dev", "--requests", "100", "--rate", "1000", "--exit", "--kafka-port", "0", "--gateway-port", "0")
	last := regexp.MustCompile(`\n100 = 80 closed \+ 15 paid \+ 5 failed\n$`)
	if code != exitDone || !last.MatchString(stdout) {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	for _, line := range []string{
		`(?m)^  closed +80  SUCCESS 65, ORDERCLOSED 8, ORDERNOTEXIST 7$`,
		`(?m)^  paid +15  ORDERPAID 15$`,
		`(?m)^  failed +5  INVALID_REQUEST 2, PARAM_ERROR 2, UNKNOWN_MERCHANT 1$`,
		`(?m)^  dead letters +5  `,
	} {
		if !regexp.MustCompile(line).MatchString(stdout) {
			t.Errorf("there is no line %s in\n%s", line, stdout)
		}
	}
}

// What came again would not add up; that nothing did is said.
func TestDevWithExactlyOnceSaysThatNothingCameAgain(t *testing.T) {
	code, stdout, stderr := call(t, nil, "", "dev", "--exactly-once", "--requests", "100", "--rate", "1000", "--exit", "--kafka-port", "0", "--gateway-port", "0")
	if code != exitDone || !strings.HasSuffix(stdout, "  repeated           0  outcomes that came again, with the same id\n\n100 = 80 closed + 15 paid + 5 failed\n") ||
		!strings.Contains(stdout, "outcomes are written in transactions") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestDevPrintsJSONAlone(t *testing.T) {
	code, stdout, _ := call(t, nil, "", "dev", "--requests", "10", "--rate", "1000", "--exit", "--json", "--kafka-port", "0", "--gateway-port", "0")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != exitDone || len(lines) != 11 {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s is not JSON", line)
		}
	}
	if !strings.Contains(lines[10], `"requests":10`) || !strings.Contains(lines[10], `"waiting":0`) {
		t.Errorf("the balance is %s", lines[10])
	}
}

func TestDevKeepsItsTopicsInAFolder(t *testing.T) {
	args := []string{"dev", "--requests", "20", "--rate", "1000", "--exit", "--kafka-port", "0", "--gateway-port", "0", "--data-dir", t.TempDir()}
	for range 2 {
		code, stdout, stderr := call(t, nil, "", args...)
		if code != exitDone || !strings.Contains(stdout, "\n20 = ") {
			t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
		}
	}
	dev := launch(t, nil, "", append(args[:1:1], "--requests", "0", "--kafka-port", "0", "--gateway-port", "0", "--data-dir", args[len(args)-1])...)
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + dev.stdout.find(t, `Kafka +(127\.0\.0\.1:\d+)`)[1]}
	_, stdout, _ := call(t, env, "", "outcomes", "--from", "beginning", "--no-follow", "--json")
	if n := strings.Count(stdout, "\n"); n != 40 {
		t.Errorf("%d outcomes are kept, want 40", n)
	}
}

func TestDevNamesAPortThatIsTaken(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	port := b.Addr()[strings.LastIndexByte(b.Addr(), ':')+1:]
	code, _, stderr := call(t, nil, "", "dev", "--kafka-port", port)
	if code != exitUsage || !strings.Contains(stderr, port) || !strings.Contains(stderr, "--kafka-port") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestDevSaysWhyItGaveUp(t *testing.T) {
	// Among 60 samples are some that are put off for longer than a second.
	code, stdout, stderr := call(t, nil, "", "dev", "--requests", "60", "--rate", "1000", "--exit", "--timeout", "1ns", "--kafka-port", "0", "--gateway-port", "0")
	if code != exitBad || !strings.Contains(stdout, " waiting\n") || !strings.Contains(stderr, "closeorder: gave up, as no outcome came for 1ns (--timeout)\n") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
}

// As compose and Testcontainers use it: a worker of one's own beside it.
func TestDevWithoutAWorkerLeavesTheRequestsToYours(t *testing.T) {
	dev := launch(t, nil, "", "dev", "--no-worker", "--requests", "30", "--rate", "1000", "--exit", "--kafka-port", "0", "--gateway-port", "0")
	yours := dev.stdout.find(t, `Worker +yours: kafka.brokers (\S+), kafka.group (\S+), gateway.urls (\S+)`)
	merchants := filepath.Join(t.TempDir(), "merchants.yaml")
	if err := os.WriteFile(merchants, []byte(`merchants:
  - {mch_id: "1900000109", appid: wx8888888888888888, key: `+gatewaysim.DirectKey+`}
  - {mch_id: "1900000110", appid: wx8888888888888888, key: `+gatewaysim.HMACKey+`, sign_type: HMAC-SHA256}
  - {mch_id: "1900000111", appid: wx8888888888888888, key: `+gatewaysim.InstitutionKey+`, mode: institution}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	worker := launch(t, []string{
		"CLOSEORDER_KAFKA_BROKERS=" + yours[1], "CLOSEORDER_KAFKA_GROUP=" + yours[2], "CLOSEORDER_GATEWAY_URLS=" + yours[3],
		"CLOSEORDER_MERCHANTS_FILE=" + merchants, "CLOSEORDER_ADMIN_ADDR=off", "CLOSEORDER_MIN_ORDER_AGE=5s", "CLOSEORDER_GATEWAY_BUDGET=5s", "CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=4s",
	}, "", "run")
	if code := dev.wait(t); code != exitDone {
		t.Errorf("dev ended with %d", code)
	}
	dev.stdout.find(t, `\n30 = 24 closed \+ 5 paid \+ 1 failed\n$`)
	worker.end(t)
}

func TestDevListensForOthersUnderTheNameThatIsAdvertised(t *testing.T) {
	// Nobody can resolve the name here, dev's own worker and view included.
	dev := launch(t, nil, "", "dev", "--listen", "0.0.0.0", "--advertise", "kafka.invalid:19092", "--requests", "20", "--rate", "1000", "--exit", "--kafka-port", "0", "--gateway-port", "0")
	dev.stdout.find(t, `Kafka +kafka\.invalid:19092 `)
	dev.stdout.find(t, `Gateway +http://kafka\.invalid:\d+ `)
	if code := dev.wait(t); code != exitDone {
		t.Errorf("dev ended with %d", code)
	}
	dev.stdout.find(t, `\n20 = \d+ closed`)
}

func TestDevRefusesAddressesThatNobodyCouldUse(t *testing.T) {
	for name, tt := range map[string]struct{ args, want string }{
		"all addresses and no name":     {"--listen 0.0.0.0", "--listen 0.0.0.0 needs --advertise"},
		"a name to listen on":           {"--listen localhost", "--listen must be an IP address"},
		"a name that cannot be told":    {"--advertise kafka:nine", `"kafka:nine" cannot be advertised`},
		"an age for a worker not there": {"--no-worker --min-order-age 1m", "--min-order-age is of the worker"},
	} {
		code, _, stderr := call(t, nil, "", append([]string{"dev", "--kafka-port", "0", "--gateway-port", "0"}, strings.Fields(tt.args)...)...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s, want %q", name, code, stderr, tt.want)
		}
	}
}

func TestRequestWaitsForItsOutcome(t *testing.T) {
	env, _, dev := world(t)
	for _, tt := range []struct {
		name string
		args string
		code int
	}{
		{"closed", "--mch-id 1900000109 --out-trade-no T1", exitDone},
		{"paid", "--mch-id 1900000109 --out-trade-no PAID1", exitDone},
		{"refused", "--mch-id 1900000109 --out-trade-no DEAD1", exitBad},
		{"unknown-merchant", "--mch-id 7 --out-trade-no T2", exitBad},
		{"json", "--mch-id 1900000111 --sub-mch-id 1900000222 --out-trade-no T3 --request-id r-1 --replacement-out-trade-no T4 --json --metadata {\"a\":[1,\"<>\"]}", exitDone},
	} {
		code, stdout, stderr := call(t, env, "", append([]string{"request", "--wait"}, strings.Fields(tt.args)...)...)
		if code != tt.code || stderr != "" {
			t.Errorf("%s: exit code %d, %s", tt.name, code, stderr)
		}
		golden.Check(t, goldens+"request-"+tt.name+".txt", normal(stdout))
	}
	// The same order again is another request with an outcome of its own.
	if code, stdout, _ := call(t, env, "", "request", "--wait", "--mch-id", "1900000109", "--out-trade-no", "T1"); code != exitDone || !strings.Contains(stdout, "ORDERCLOSED") {
		t.Errorf("the second time: exit code %d, %s", code, stdout)
	}
	if code := dev.end(t); code != exitDone {
		t.Errorf("dev ended with %d", code)
	}
	dev.stderr.find(t, "stopping: calls in flight are finished first; Ctrl-C again ends it at once\n")
	dev.stdout.find(t, `\n6 = 3 closed \+ 1 paid \+ 2 failed\n$`)
}

func TestManyRequestsAreWaitedFor(t *testing.T) {
	env, _, _ := world(t)
	var input strings.Builder
	input.WriteString("mch_id,out_trade_no,order_created_at\n")
	for i := range 500 {
		fmt.Fprintf(&input, "1900000109,M%d,2026-01-31T08:00:00Z\n", i)
	}
	code, stdout, stderr := call(t, env, input.String(), "request", "--wait", "--json", "--file", "-")
	if n := strings.Count(stdout, `"outcome":"closed"`); code != exitDone || n != 500 {
		t.Errorf("exit code %d, %d closed, %s", code, n, stderr)
	}
}

func TestRequestSaysWhatHadNoOutcome(t *testing.T) {
	b, err := broker.Start(broker.Config{}) // and no worker
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	code, _, stderr := call(t, env, "", "request", "--mch-id", "1", "--out-trade-no", "T1", "--wait", "--timeout", "50ms")
	if code != exitBad || !strings.Contains(stderr, "1 of 1 request had no outcome after 50ms") || !strings.Contains(stderr, "T1 of merchant 1") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if code, stdout, _ := call(t, env, "", "request", "--mch-id", "1", "--out-trade-no", "T1"); code != exitDone || stdout != "published 1 request to closeorder.requests; follow the outcomes with: closeorder outcomes\n" {
		t.Errorf("without --wait: exit code %d, %q", code, stdout)
	}
}

func TestOutcomesFollowsUntilItIsStopped(t *testing.T) {
	env, _, _ := world(t)
	follow := launch(t, env, "", "outcomes", "--from", "beginning", "--out-trade-no", "T2")
	for _, no := range []string{"T1", "T2"} {
		call(t, env, "", "request", "--mch-id", "1900000109", "--out-trade-no", no, "--wait")
	}
	follow.stdout.find(t, `closed +T2 `)
	if code := follow.end(t); code != exitDone || strings.Contains(follow.stdout.String(), "T1") {
		t.Errorf("exit code %d, %s", code, follow.stdout)
	}
	for args, want := range map[string]string{
		"--from beginning --out-trade-no NOPE":                                   "closeorder: no outcome of NOPE in closeorder.outcomes; 2 outcomes were looked at, completed from <time> to <time>\n",
		"--from 1h --mch-id 1 --outcome failed,paid --code A_B --not-safe=false": "closeorder: no outcome of merchant 1 that says failed or paid with the code A_B in closeorder.outcomes; 2 outcomes were looked at, completed from <time> to <time>\n",
		"--from 1h --not-safe":                                                   "closeorder: no outcome that is closed and not safe to reissue in closeorder.outcomes; 2 outcomes were looked at, completed from <time> to <time>\n",
		"--out-trade-no T1":                                                      "closeorder: no outcome of T1 in closeorder.outcomes from its end on; look further back with --from 1h or --from beginning\n",
		"--from 1ns":                                                             "closeorder: no outcome in closeorder.outcomes since 1ns\n",
		"--from 1h --out-trade-no T1":                                            "",
		"--from 1h --mch-id 1900000109 --outcome closed --code suc_cess":         "",
	} {
		if code, _, stderr := call(t, env, "", append([]string{"outcomes", "--no-follow"}, strings.Fields(args)...)...); code != exitDone || normal(stderr) != want {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
	for from, want := range map[string]int{"beginning": 2, "1h": 2, "end": 0, time.Now().Add(time.Hour).Format(time.RFC3339): 0} {
		code, stdout, stderr := call(t, env, "", "outcomes", "--no-follow", "--json", "--from", from)
		if n := strings.Count(stdout, "\n"); code != exitDone || n != want {
			t.Errorf("from %s: exit code %d, %d outcomes, want %d; %s", from, code, n, want, stderr)
		}
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "other", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	for args, want := range map[string]string{
		"outcomes":                                    "topic closeorder.outcomes does not exist; create it",
		"request --mch-id 1 --out-trade-no T1":        "nothing was published: topic closeorder.requests does not exist; create it",
		"request --mch-id 1 --out-trade-no T1 --wait": "nothing was published: topics closeorder.requests, closeorder.outcomes do not exist; create them",
		"deadletters list":                            "topic closeorder.dead-letters does not exist; create it",
		"deadletters replay":                          "topics closeorder.dead-letters, closeorder.outcomes, closeorder.requests do not exist; create them",
	} {
		code, _, stderr := call(t, env, "", strings.Fields(args)...)
		if code != exitBad || stderr != "closeorder: "+want+" with: closeorder topics create\n" {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
	// A broker that does not answer is tried again, and said so.
	for _, args := range []string{"outcomes", "request --mch-id 1 --out-trade-no T1", "topics create"} {
		p := launch(t, []string{"CLOSEORDER_KAFKA_BROKERS=127.0.0.1:1"}, "", strings.Fields(args)...)
		p.stderr.find(t, `Kafka at 127\.0\.0\.1:1, .*refused; trying again`)
		// Stopped while it tries, it says so, and nothing of signals or contexts.
		if code := p.end(t); code != exitBad || !strings.Contains(p.stderr.String(), "stopped (last failure: ") || strings.Contains(p.stderr.String(), "context") {
			t.Errorf("%s: exit code %d, %s", args, code, p.stderr)
		}
	}
}

func TestTopicsCreate(t *testing.T) {
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "closeorder.outcomes", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_TOPICS_RETRY_DELAYS=10s,2h"}
	for _, tt := range []struct{ name, args string }{
		{"dry-run", "--dry-run"}, {"first", "--partitions 4"}, {"again", ""}, {"json", "--json"},
	} {
		code, stdout, stderr := call(t, env, "", append([]string{"topics", "create"}, strings.Fields(tt.args)...)...)
		if code != exitDone || stderr != "" {
			t.Errorf("%s: exit code %d, %s", tt.name, code, stderr)
		}
		golden.Check(t, goldens+"topics-create-"+tt.name+".txt", stdout)
	}
	code, stdout, _ := call(t, append(env, "CLOSEORDER_TOPICS_REQUESTS=new"), "", "topics", "create", "--replication", "3")
	if code != exitBad || !strings.Contains(stdout, "failed") || !strings.Contains(stdout, "the brokers refuse 3 replicas: each needs a broker of its own that is up; lower --replication or start brokers\n") {
		t.Errorf("more replicas than brokers: exit code %d\n%s", code, stdout)
	}
}

func TestRetryTopicsHaveThePartitionsOfTheRequests(t *testing.T) {
	for _, tt := range []struct {
		what   string
		topics []broker.Topic
		args   string
		code   int
		want   []string
	}{
		{"as many as a requests topic that exists", []broker.Topic{{Name: "closeorder.requests", Partitions: 5}}, "", exitDone,
			[]string{`closeorder\.retries\.10s +created +5 `, `closeorder\.outcomes +created +12 `}},
		{"a retry topic that has fewer is wrong", []broker.Topic{{Name: "closeorder.requests", Partitions: 5}, {Name: "closeorder.retries.10s", Partitions: 3}}, "", exitBad,
			[]string{`closeorder\.retries\.10s +wrong +3 +1 +closeorder\.requests has 5: add partitions to this one \(kafka-topics\.sh --alter --topic closeorder\.retries\.10s --partitions 5\)`, `closeorder\.retries\.2h +created +5 `}},
		{"a retry topic that has more is wrong", []broker.Topic{{Name: "closeorder.requests", Partitions: 5}, {Name: "closeorder.retries.2h", Partitions: 6}}, "--dry-run", exitBad,
			[]string{`closeorder\.retries\.2h +wrong +6 +1 +closeorder\.requests has 5: let this one run empty`, `closeorder\.retries\.10s +would be created +5 `}},
		{"what there is is compared with the requests topic to be made", []broker.Topic{{Name: "closeorder.retries.2h", Partitions: 6}}, "--partitions 7", exitBad,
			[]string{`closeorder\.retries\.2h +wrong +6 +1 +closeorder\.requests has 7: `, `closeorder\.requests +created +7 `}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b, err := broker.Start(broker.Config{Topics: tt.topics})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_TOPICS_RETRY_DELAYS=10s,2h"}
			code, stdout, stderr := call(t, env, "", append([]string{"topics", "create"}, strings.Fields(tt.args)...)...)
			if code != tt.code || stderr != "" {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			for _, want := range tt.want {
				if !regexp.MustCompile(want).MatchString(stdout) {
					t.Errorf("%s is not in\n%s", want, stdout)
				}
			}
		})
	}
}

// A topic that asks for more in-sync replicas than it has takes no record.
func TestMoreInSyncReplicasThanReplicasAreWrongUsage(t *testing.T) {
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "other", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	for _, args := range []string{"--min-insync-replicas 2", "--min-insync-replicas 2 --dry-run"} {
		code, stdout, stderr := call(t, env, "", append([]string{"topics", "create"}, strings.Fields(args)...)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "closeorder: --min-insync-replicas is 2, and topics would get 1 replica on 1 broker: nothing could be written; lower it, or raise --replication\n") {
			t.Errorf("%s: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
	// Where no topic could be created the brokers are asked about none.
	code, stdout, stderr := call(t, env, "", "topics", "create", "--replication", "3")
	if code != exitBad || stderr != "" || strings.Count(stdout, " failed ") != 8 {
		t.Errorf("more replicas than brokers: exit code %d, %s\n%s", code, stderr, stdout)
	}
}

func TestTheProofOfAReplyIsTold(t *testing.T) {
	reply := func(code string, f closer.Failure) closer.Attempt {
		return closer.Attempt{Reply: map[string]string{"return_code": code}, Failure: f}
	}
	signed := func(f closer.Failure) closer.Attempt {
		one := reply("SUCCESS", f)
		one.Verified = true
		return one
	}
	for _, tt := range []struct {
		what string
		one  closer.Attempt
		keys int
		want string
	}{
		{"signed", signed(""), 1, "verified with key 1"},
		{"signed while a key is changed", signed(""), 2, "verified with one of the merchant's 2 keys"},
		{"signed about another order", signed(closer.FailIdentity), 1, "verified with key 1"},
		{"not signed", reply("SUCCESS", closer.FailUnsigned), 1, "there is none: the reply proves nothing"},
		{"signed by somebody else", reply("SUCCESS", closer.FailSignature), 1, "not right: the reply proves nothing"},
		{"refused", reply("FAIL", ""), 1, "there is none, as with every return_code FAIL: a hint, no proof"},
		{"no return_code that is known", reply("MAYBE", closer.FailIncomplete), 1, "not checked: the reply is none"},
	} {
		if got := proof(tt.one, tt.keys); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

func TestCloseSaysAllOfIt(t *testing.T) {
	env := []string{
		"CLOSEORDER_API_KEY=" + publicKey, "CLOSEORDER_APPID=wx8888888888888888",
		"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
		"CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=1s", "CLOSEORDER_GATEWAY_BUDGET=2s",
	}
	for _, tt := range []struct {
		name string
		args string
		code int
	}{
		{"closed", "--out-trade-no T1", exitDone},
		{"paid", "--out-trade-no PAID1 --json", exitDone},
		{"refused", "--out-trade-no DEAD1 --explain", exitBad},
		{"mismatch", "--out-trade-no MISMATCH1 --explain", exitBad},
		{"input-source", "--out-trade-no INPUTSOURCE1 --explain", exitBad},
		{"forged", "--out-trade-no FORGED1", exitBad},
		{"explain-json", "--out-trade-no T2 --order-created-at 2026-01-01T00:00:00Z --explain --json", exitDone},
	} {
		code, stdout, stderr := call(t, env, "", append([]string{"close", "--mch-id", "1900000109"}, strings.Fields(tt.args)...)...)
		if code != tt.code || stderr != "" {
			t.Errorf("%s: exit code %d, %s", tt.name, code, stderr)
		}
		if tt.name == "forged" { // how many calls fit in depends on the clock
			if !strings.Contains(stdout, "BAD_SIGNATURE") {
				t.Errorf("%s: %s", tt.name, stdout)
			}
			continue
		}
		golden.Check(t, goldens+"close-"+tt.name+".txt", normal(stdout))
	}
	// Of a merchants file the merchant is chosen by the same flag.
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	text := "merchants:\n  - {mch_id: \"1\", appid: x, key: other}\n  - {mch_id: \"1900000110\", appid: wx8888888888888888, sign_type: HMAC-SHA256, key: " + gatewaysim.HMACKey + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, append(env[2:], "CLOSEORDER_MERCHANTS_FILE="+file), "", "close", "--mch-id", "1900000110", "--out-trade-no", "T3")
	if code != exitDone || !strings.Contains(stdout, "verdict") {
		t.Errorf("of a file: exit code %d, %s, %s", code, stdout, stderr)
	}
}

func TestSimulateServesUntilItIsStopped(t *testing.T) {
	sim := launch(t, nil, "", "simulate", "--listen", "127.0.0.1:0")
	url := sim.stderr.find(t, `(http://\S+);`)[1]
	env := []string{"CLOSEORDER_API_KEY=" + publicKey, "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_GATEWAY_URLS=" + url}
	if code, stdout, stderr := call(t, env, "", "close", "--mch-id", "1900000109", "--out-trade-no", "T1"); code != exitDone {
		t.Errorf("close: exit code %d, %s, %s", code, stdout, stderr)
	}
	sim.stdout.find(t, `closeorder +1900000109 +T1 .*SUCCESS`)
	if code := sim.end(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	sim.stdout.find(t, `calls, at most 1 at one time\n`)
}

func TestAFailedPublishingSaysHowFarItCame(t *testing.T) {
	missing := &kafka.MissingTopicsError{Topics: []string{"r"}}
	for _, tt := range []struct {
		what      string
		published int
		failure   error
		want      string
	}{
		{"a missing topic takes nothing", 0, missing, "nothing was published: topic r does not exist; create it with: closeorder topics create"},
		{"a topic that was deleted meanwhile took some", 5000, missing, "5000 of 7000 requests published, the others were not: topic r does not exist; create it with: closeorder topics create"},
		{"a lost answer leaves doubt", 0, errors.New("EOF"), "0 of 7000 requests published for certain, more of them perhaps: EOF"},
	} {
		if got := unpublished(tt.published, 7000, tt.failure).Error(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}
