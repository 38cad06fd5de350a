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
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/records"
)

// bury puts dead letters of orders of merchant 1900000109 into the topic.
func bury(t *testing.T, b *broker.Broker, orders ...string) {
	t.Helper()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var letters []events.Message
	for i, order := range orders {
		letters = append(letters, records.EncodeDeadLetter(records.DeadLetter{
			Original: events.Message{
				Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"request_id":%q}`, order, order),
				Headers: []events.Header{{Key: "twice", Value: []byte("1")}, {Key: "twice"}, {Key: "odd", Value: []byte{0xff, 0x00}}},
			},
			ErrorCode: "UNKNOWN_MERCHANT", ErrorMessage: "no merchant", FailedAt: time.Now().Add(time.Duration(i) * time.Millisecond),
			Source: events.Source{Topic: cfg.Topics.Requests, Partition: 3, Offset: int64(1000 + i)},
		}))
	}
	if _, err := c.writer().Write(t.Context(), cfg.Topics.DeadLetters, letters); err != nil {
		t.Fatal(err)
	}
}

func TestAReplaySaysInHeadersOutputAndLogWhichWhoAndWhy(t *testing.T) {
	b, env := shop(t)
	worker := launch(t, env, "", "run")
	bury(t, b, "T1", "DEAD1")
	args := []string{"deadletters", "replay", "--yes", "--rate", "0", "--replay-id", "ops-17", "--by", "lilei@ops", "--reason", "merchant added"}
	code, stdout, stderr := call(t, env, "", append(args, "--log-format", "json")...)
	if code != exitDone || !strings.HasPrefix(stdout, "replay  ops-17\nby      lilei@ops\nreason  merchant added\n\n") || !strings.Contains(stdout, "\n2 replayed to ") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	var says []string
	for line := range strings.Lines(stderr) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		says = append(says, fmt.Sprint(entry["msg"], " ", entry["count"], " ", entry["left"], " ", entry["replay_id"], " ", entry["by"], " ", entry["reason"]))
	}
	if got, want := strings.Join(says, "\n"), "a replay begins 2 <nil> ops-17 lilei@ops merchant added\na replay ends 2 0 ops-17 lilei@ops merchant added"; got != want {
		t.Errorf("the log says\n%s", got)
	}
	// What dies again has the headers; the same replay leaves it alone, another
	// one takes their place.
	arrive(t, b, config.Default().Topics.DeadLetters, 3)
	find := regexp.MustCompile(`\["closeorder-replay","1"\],\["closeorder-replay-id","ops-17"\],\["closeorder-replay-by","lilei@ops"\],\["closeorder-replay-reason","merchant added"\]`)
	if out := callOK(t, env, "deadletters", "export", "--code", "PARAM_ERROR"); !find.MatchString(out) {
		t.Errorf("%s", out)
	}
	if code, stdout, _ := call(t, env, "", args...); code != exitDone || !strings.HasSuffix(stdout, "\nnothing to do; 3 skipped (1 answered, 1 failed again, 1 replayed)\n") {
		t.Errorf("once more: exit code %d\n%s", code, stdout)
	}
	if out := callOK(t, env, "deadletters", "replay", "--yes", "--json"); !regexp.MustCompile(`"replayed":1,"left":0,.*"replay_id":"\d{8}T\d{6}Z-\w{8}"`).MatchString(out) {
		t.Errorf("another: %s", out)
	}
	arrive(t, b, config.Default().Topics.DeadLetters, 4)
	if out := callOK(t, env, "deadletters", "export", "--code", "PARAM_ERROR"); strings.Count(out, "ops-17") != 1 || strings.Count(out, `"closeorder-replay-id"`) != 2 {
		t.Errorf("%s", out)
	}
	worker.end(t)
}

func TestThePlanShowsWhatTheGatewaySaysOfEachOrder(t *testing.T) {
	b, env := shop(t)
	bury(t, b, "T1", "PAID1", "UNKNOWN1")
	golden.Check(t, goldens+"deadletters-replay-ask.txt", normal(callOK(t, env, "deadletters", "replay", "--ask-gateway")))
	golden.Check(t, goldens+"deadletters-replay-ask-limit.txt", normal(callOK(t, env, "deadletters", "replay", "--ask-gateway", "--limit", "1")))
	if out := callOK(t, env, "deadletters", "replay", "--ask-gateway", "--json"); !strings.Contains(out, `"gateway":{"state":"SUCCESS","means":"paid","at":"`) {
		t.Errorf("%s", out)
	}
	// The settings of the gateway are asked for with the flag alone.
	code, stdout, stderr := call(t, env[:1], "", "deadletters", "replay", "--ask-gateway")
	if code != exitUsage || !strings.Contains(stderr, "api_key") {
		t.Errorf("without a key: exit code %d, %s%s", code, stdout, stderr)
	}
	if code, _, stderr = call(t, env[:1], "", "deadletters", "replay"); code != exitDone {
		t.Errorf("without a key, and not asking: exit code %d, %s", code, stderr)
	}
}

func TestAReplayPausesWhenTooMuchOfItFails(t *testing.T) {
	b, env := shop(t)
	var orders []string
	for i := range 100 {
		orders = append(orders, fmt.Sprint("DEAD", i))
	}
	bury(t, b, orders...)
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "partitions assigned")
	args := []string{"deadletters", "replay", "--yes", "--rate", "20", "--pause-on-failures", "3", "--replay-id", "careful"}
	code, stdout, stderr := call(t, env, "", args...)
	left := regexp.MustCompile(`\n(\d+) of 100 replayed to \S+, (\d+) left\n`).FindStringSubmatch(stdout)
	if code != exitBad || left == nil ||
		!strings.HasSuffix(stderr, "closeorder: paused: 3 outcomes failed (PARAM_ERROR 3); look at closeorder outcomes and mend the cause, then the same command with --replay-id careful goes on with the rest\n") {
		t.Fatalf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	// It goes on with those that were not sent; what failed again stays.
	var total int
	if _, err := fmt.Sscan(left[2], &total); err != nil || total < 1 {
		t.Fatalf("%s are left: %v", left[2], err)
	}
	code, stdout, _ = call(t, env, "", "deadletters", "replay", "--yes", "--rate", "0", "--replay-id", "careful", "--json")
	if code != exitDone || !strings.Contains(stdout, fmt.Sprintf(`"replayed":%d,"left":0`, total)) {
		t.Errorf("with %d left: exit code %d\n%s", total, code, stdout)
	}
	worker.end(t)
}

func TestDeadLettersMoveToAnotherClusterByteForByte(t *testing.T) {
	here, env := shop(t)
	bury(t, here, "T1", "T2", "T3")
	_, other := shop(t)
	exported := callOK(t, env, "deadletters", "export")
	file := filepath.Join(t.TempDir(), "letters.ndjson")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	says := func(want string, args ...string) {
		t.Helper()
		if got := callOK(t, other, append([]string{"deadletters", "import"}, args...)...); got != want {
			t.Errorf("%v: %s", args, got)
		}
	}
	says("3 dead letters would be written to closeorder.dead-letters; 0 there already, 0 left. Nothing was written; to write them add --yes\n", file)
	says("3 dead letters written to closeorder.dead-letters; 0 there already, 0 left\n", file, "--yes")
	says("nothing to do in closeorder.dead-letters; 3 there already, 0 left\n", file, "--yes")
	bytesOf := func(lines string) string { // partitions are read side by side
		all := strings.Split(regexp.MustCompile(`"offset":\d+,"timestamp":"[^"]+",`).ReplaceAllString(lines, ""), "\n")
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	if got := callOK(t, other, "deadletters", "export"); bytesOf(got) != bytesOf(exported) || strings.Count(got, "\n") != 3 {
		t.Errorf("was\n%s\nis\n%s", exported, got)
	}
	if out := callOK(t, other, "deadletters", "replay", "--yes", "--rate", "0"); !strings.Contains(out, "\n3 replayed to ") {
		t.Errorf("%s", out)
	}

	// What is wrong with a file is named; what stands before it is written once.
	first, _, _ := strings.Cut(exported, "\n")
	fourth := regexp.MustCompile(`"key":"T\d"`).ReplaceAllString(first, `"key":"T4"`)
	no := regexp.MustCompile(`,\["closeorder-error-code",[^]]*\]`).ReplaceAllString(first, "")
	code, stdout, stderr := call(t, other, fourth+"\n"+no+"\n\n"+first[:len(first)-1]+"\n", "deadletters", "import", "-", "--yes")
	if code != exitBad || stdout != "1 dead letter written to closeorder.dead-letters; 0 there already, 1 left\n" ||
		!strings.HasPrefix(stderr, "closeorder: standard input: line 2 is left: is no dead letter: closeorder-error-code: is required;") ||
		!strings.HasSuffix(stderr, "\ncloseorder: standard input: line 3 is no JSON object: unexpected end of JSON input\n") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = call(t, other, "no line\n", "deadletters", "import", "-", "--yes")
	if code != exitBad || stdout != "" || !strings.Contains(stderr, "line 1 is no JSON object") {
		t.Errorf("a file of something else: exit code %d, printed %q, %s", code, stdout, stderr)
	}
}

func TestExportAndImportSayWhatTheyTake(t *testing.T) {
	for _, command := range []string{"deadletters export", "deadletters import"} {
		code, stdout, stderr := call(t, nil, "", append(strings.Fields(command), "--help")...)
		if code != exitDone || stderr != "" {
			t.Errorf("%s: exit code %d, %s", command, code, stderr)
		}
		golden.Check(t, goldens+"help/closeorder-"+strings.ReplaceAll(command, " ", "-")+".txt", stdout)
	}
	var all strings.Builder
	for _, line := range []string{
		"deadletters import",
		"deadletters import a b",
		"deadletters import missing.ndjson --kafka-brokers here",
		"deadletters export --since yesterday",
		"deadletters replay --pause-on-failures -1",
		"deadletters replay --pause-on-failures 3 --rate 0",
		"deadletters replay --replay-id= --by \x1b[2J",
		"deadletters replay --log-level loud",
	} {
		code, stdout, stderr := call(t, nil, "", strings.Fields(line)...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%s: exit code %d, printed %q", line, code, stdout)
		}
		fmt.Fprintf(&all, "$ closeorder %s\n%s\n", printable([]byte(line)), stderr)
	}
	golden.Check(t, goldens+"deadletters-usage.txt", normal(all.String()))
}

func TestWhoReplaysIsWhoTheEnvironmentSays(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]string{"USER=lilei": "lilei@" + host, "LOGNAME=hanmeimei": "hanmeimei@" + host, "PATH=/": ""} {
		if got := (&app{env: []string{env}}).user(); got != want {
			t.Errorf("%s: %s", env, got)
		}
	}
}
