//go:build apachekafka

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAuditAndReplayOnApacheKafka: an audit beside a worker under load, dead
// letters that are replayed once their merchant is known, and what an audit
// can say when retention has taken outcomes.
func TestAuditAndReplayOnApacheKafka(t *testing.T) {
	cluster := apachekafka.ForTest(t, apachekafka.Config{})
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap(), "CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
		"CLOSEORDER_MERCHANTS_FILE=" + file, "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s",
	}
	merchants := "merchants:\n  - {mch_id: \"1900000109\", appid: wx8888888888888888, key: " + gatewaysim.DirectKey + "}\n"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(merchants)
	callOK(t, env, "topics", "create", "--partitions", "4")
	audit := func(want int, ends string) {
		t.Helper()
		code, stdout, stderr := call(t, env, "", "audit")
		// On standard error it may say that a topic just made has no leader yet.
		if code != want || !strings.HasSuffix(stdout, ends) {
			t.Errorf("audit: exit code %d, %s\n%s", code, stderr, stdout)
		}
	}
	audit(exitDone, "\n0 = 0 closed + 0 paid + 0 failed + 0 waiting + 0 in flight\n")
	worker := launch(t, env, "", "run")
	requests := launch(t, env, "mch_id,out_trade_no\n"+lines("T", 400)+strings.ReplaceAll(lines("U", 20), "1900000109", "1900000110"), "request", "--wait", "--file", "-")
	for {
		audit(exitDone, " in flight\n") // whatever the numbers
		if strings.Contains(requests.stdout.String(), "U") {
			break
		}
	}
	if code := requests.wait(t); code != exitBad {
		t.Errorf("request: exit code %d, %s", code, requests.stderr)
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
	audit(exitDone, "\n420 = 400 closed + 0 paid + 20 failed + 0 waiting + 0 in flight\n")
	if list := callOK(t, env, "deadletters", "list"); !strings.HasSuffix(list, "\n20 dead letters: UNKNOWN_MERCHANT 20\n") {
		t.Errorf("%s", list)
	}

	write(merchants + "  - {mch_id: \"1900000110\", appid: wx8888888888888888, sign_type: HMAC-SHA256, key: " + gatewaysim.HMACKey + "}\n")
	if out := callOK(t, env, "deadletters", "replay", "--yes"); !strings.Contains(out, "\n20 replayed to ") {
		t.Errorf("%s", out)
	}
	audit(exitDone, "\n440 = 400 closed + 0 paid + 20 failed + 0 waiting + 20 in flight\n")
	if out := callOK(t, env, "audit"); !strings.Contains(out, "note: group closeorder has no member: nobody serves") {
		t.Errorf("%s", out)
	}
	if out := callOK(t, env, "deadletters", "replay", "--yes"); !strings.Contains(out, "\nnothing to do; 20 skipped (20 replayed)\n") {
		t.Errorf("%s", out)
	}
	worker = launch(t, env, "", "run")
	follow := launch(t, env, "", "outcomes", "--from", "beginning")
	follow.stdout.find(t, `(?s)(closed +U\d+ .*?replay 1.*?){20}`)
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
	audit(exitDone, "\n440 = 420 closed + 0 paid + 20 failed + 0 waiting + 0 in flight\n")
	if out := callOK(t, env, "deadletters", "replay", "--yes"); !strings.Contains(out, "\nnothing to do; 20 skipped (20 answered)\n") {
		t.Errorf("%s", out)
	}

	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), config.Default().Topics.Outcomes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	audit(exitDone, "\n440 = 0 closed + 0 paid + 0 failed + 0 waiting + 0 in flight + 440 unproven\n")
}
