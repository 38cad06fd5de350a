//go:build apachekafka

package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// TestTheCommandsOnApacheKafka goes the way of a new user with a real cluster:
// topics, worker, requests, outcomes.
func TestTheCommandsOnApacheKafka(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap(), "CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}
	create := func(state string, args ...string) {
		t.Helper()
		code, stdout, stderr := call(t, env, "", append([]string{"topics", "create"}, args...)...)
		if n := strings.Count(stdout, " "+state+" "); code != exitDone || n != 8 {
			t.Fatalf("topics create %v: exit code %d\n%s\n%s", args, code, stdout, stderr)
		}
	}
	create("would be created", "--dry-run")
	create("created")
	create("exists")
	if code, stdout, _ := call(t, append(env, "CLOSEORDER_TOPICS_REQUESTS=more"), "", "topics", "create", "--replication", "3"); code != exitBad || !strings.Contains(stdout, "failed") {
		t.Errorf("more replicas than brokers: exit code %d\n%s", code, stdout)
	}

	worker := launch(t, env, "", "run")
	requests := "out_trade_no,order_created_at\nT1,2026-01-31T08:00:00Z\nPAID1,2026-01-31T08:00:00Z\nDEAD1,2026-01-31T08:00:00Z\n"
	code, stdout, stderr := call(t, env, requests, "request", "--mch-id", "1900000109", "--wait", "--timeout", "1m30s")
	for _, want := range []string{"closed   T1 ", "paid     PAID1 ", "failed   DEAD1 "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s\n%s\n%s", code, want, stdout, stderr, worker.stderr)
		}
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("run ended with %d\n%s", code, worker.stderr)
	}
	code, stdout, stderr = call(t, env, "", "outcomes", "--from", "1h", "--no-follow", "--json")
	if n := strings.Count(stdout, "\n"); code != exitDone || n != 3 {
		t.Errorf("outcomes: exit code %d, %d lines\n%s", code, n, stderr)
	}

	// The same with transactions. What the brokers keep of them is theirs to make.
	env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
	lacks := func(row string) {
		t.Helper()
		code, stdout, stderr := call(t, env, "", "topics", "create")
		if code != exitDone || stderr != "" || !regexp.MustCompile(`\n__transaction_state +`+row).MatchString(stdout) {
			t.Errorf("exit code %d, no %s in\n%s\n%s", code, row, stdout, stderr)
		}
	}
	lacks(`left to the brokers +1 +1 +made at the first transaction\n`)
	worker = launch(t, env, "", "run")
	if code, stdout, stderr := call(t, env, strings.ReplaceAll(requests, "1,", "2,"), "request", "--mch-id", "1900000109", "--wait", "--timeout", "1m30s"); code != exitBad || strings.Count(stdout, "2 ") < 3 {
		t.Errorf("exit code %d\n%s\n%s\n%s", code, stdout, stderr, worker.stderr)
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("run ended with %d\n%s", code, worker.stderr)
	}
	lacks(`exists +1 +1 *\n`)
	code, stdout, stderr = call(t, env, "", "audit")
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "  duplicates             0  ") || !strings.HasSuffix(stdout, "\n6 = 2 closed + 2 paid + 2 failed + 0 waiting + 0 in flight\n") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
}
