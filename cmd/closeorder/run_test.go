package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	secretPassword = "distinctive-SASL-passw0rd"
	secretKey      = "d1st1nct1veAPIkey000000000000000"
)

// guarded is a broker that wants a password, with our topics in it.
func guarded(t *testing.T) (env []string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "worker", secretPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return []string{
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(c.ListenAddrs(), ","), "CLOSEORDER_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
		"CLOSEORDER_KAFKA_SASL_USERNAME=worker", "CLOSEORDER_KAFKA_SASL_PASSWORD=" + secretPassword,
		"CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s",
	}
}

func TestRunServesUntilItIsStoppedAndShowsNoSecret(t *testing.T) {
	key, err := signing.NewKey(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	calls := newStream()
	url := gateway(t, gatewaysim.Config{
		Merchants: []gatewaysim.Merchant{{MchID: "42", AppID: "wx42", Key: key}},
		Observe:   func(c gatewaysim.Call) { fmt.Fprintln(calls, c.OutTradeNo) },
	})
	env := append(guarded(t),
		"CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY="+secretKey, "CLOSEORDER_GATEWAY_URLS="+url,
		"CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=1s", "CLOSEORDER_GATEWAY_BUDGET=1s", "CLOSEORDER_LOG_LEVEL=debug", "CLOSEORDER_SHUTDOWN_GRACE=1s",
	)
	var outputs []string
	if code, stdout, stderr := call(t, env, "", "topics", "create"); code != exitDone {
		t.Fatalf("topics create: exit code %d, %s, %s", code, stdout, stderr)
	}
	for _, format := range []string{"text", "json"} {
		worker := launch(t, append(env, "CLOSEORDER_LOG_FORMAT="+format), "", "run")
		worker.stderr.find(t, "starting")
		// SIGHUP, which would end a process, does no harm without a file to read.
		hangUp(t)
		worker.stderr.find(t, "there is no merchants file to read again")
		for no, want := range map[string]int{"T": exitDone, "PAID": exitDone, "DEAD": exitBad, "DROP": exitDone} {
			code, stdout, stderr := call(t, env, "", "request", "--mch-id", "42", "--out-trade-no", no+format, "--wait", "--json")
			if code != want {
				t.Errorf("%s: exit code %d, want %d; %s", no, code, want, stderr)
			}
			outputs = append(outputs, stdout, stderr)
		}
		// Hostile ones last: a gateway that talks nonsense may be held for a while.
		for _, no := range []string{"FORGED", "UNSIGNED", "OTHERMCH", "HTML"} {
			if no += format; format == "json" {
				break // once is enough
			}
			if code, _, stderr := call(t, env, "", "request", "--mch-id", "42", "--out-trade-no", no); code != exitDone {
				t.Errorf("%s: exit code %d, %s", no, code, stderr)
			}
			calls.find(t, no+`(?s:.*)`+no) // and again
		}
		if code := worker.end(t); code != exitDone {
			t.Errorf("run ended with %d\n%s", code, worker.stderr)
		}
		worker.stderr.find(t, "stopped: what was finished and could be published is committed")
		outputs = append(outputs, worker.stdout.String(), worker.stderr.String())
	}
	_, stdout, stderr := call(t, env, "", "outcomes", "--from", "beginning", "--no-follow", "--json")
	outputs = append(outputs, stdout, stderr)
	_, stdout, stderr = call(t, env, "", "close", "--mch-id", "42", "--out-trade-no", "FORGED2", "--explain")
	outputs = append(outputs, stdout, stderr)
	_, stdout, stderr = call(t, append(env, "CLOSEORDER_KAFKA_TLS_CERT_FILE=x", "CLOSEORDER_MAX_IN_FLIGHT=x"), "", "run")
	outputs = append(outputs, stdout, stderr)
	for _, text := range outputs {
		for _, secret := range []string{secretPassword, secretKey} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("a secret is shown: ...%s", text[max(0, i-200):i+len(secret)])
			}
		}
	}
}

// hangUp sends SIGHUP to this process, in a way that Windows compiles.
func hangUp(t *testing.T) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// A SIGHUP that comes while a worker still starts ends nothing and is not forgotten.
func TestAHangupBeforeTheStartIsOverIsKept(t *testing.T) {
	hangups := onHangup()
	defer signal.Stop(hangups)
	hangUp(t)
	called := make(chan struct{}, 1)
	go serveHangups(t.Context(), hangups, func() { called <- struct{}{} })
	<-called
}

func TestAWrongPasswordIsNotShownEither(t *testing.T) {
	env := guarded(t)
	for i, entry := range env {
		if strings.HasPrefix(entry, "CLOSEORDER_KAFKA_SASL_PASSWORD=") {
			env[i] += "-wrong"
		}
	}
	p := launch(t, env, "", "outcomes")
	p.stderr.find(t, "trying again|Authentication")
	p.end(t)
	if strings.Contains(p.stderr.String(), secretPassword) {
		t.Errorf("the password is shown: %s", p.stderr)
	}
}

func TestRunTakesUpAChangedMerchantsFile(t *testing.T) {
	url := gateway(t, gatewaysim.Config{})
	env := append(guarded(t), "CLOSEORDER_GATEWAY_URLS="+url)
	if code, _, stderr := call(t, env, "", "topics", "create"); code != exitDone {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	write := func(text string) {
		// As editors do: a new file in place of the old one.
		if err := os.WriteFile(file+".new", []byte("merchants:\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	one := `  - {mch_id: "1", appid: x, key: other}` + "\n"
	two := one + `  - {mch_id: "1900000109", appid: wx8888888888888888, key: ` + gatewaysim.DirectKey + "}\n"
	write(one)
	worker := launch(t, append(env, "CLOSEORDER_MERCHANTS_FILE="+file), "", "run")
	ask := func(no string) string {
		_, stdout, _ := call(t, env, "", "request", "--mch-id", "1900000109", "--out-trade-no", no, "--wait", "--timeout", "30s")
		return stdout
	}
	if got := ask("T1"); !strings.Contains(got, "UNKNOWN_MERCHANT") {
		t.Errorf("before: %s", got)
	}
	write("  - nonsense\n")
	worker.stderr.find(t, "merchants file refused")
	write(two)
	worker.stderr.find(t, "merchants file read again(?s:.*)an API key of merchant 1 is not 32 bytes long")
	if got := ask("T2"); !strings.Contains(got, "closed") {
		t.Errorf("after: %s", got)
	}
	if code := worker.end(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestRunNamesMissingTopicsAndGoesOnTrying(t *testing.T) {
	env := append(guarded(t), "CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY="+secretKey)
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "closeorder topics create")
	start := time.Now()
	if code := worker.end(t); code != exitDone {
		t.Errorf("exit code %d after %v\n%s", code, time.Since(start), worker.stderr)
	}
}

func TestTheFirstLineOfRunSaysWhichGatewayIsCalled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	if err := os.WriteFile(file, []byte(`merchants:
- {mch_id: 1, key: `+secretKey+`}
- {mch_id: 2, key: `+secretKey+`, hosts: [https://own.example/sandbox]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=127.0.0.1:1", "CLOSEORDER_KAFKA_BROKER=mistyped", "CLOSEORDER_MERCHANTS_FILE=" + file,
		"CLOSEORDER_GATEWAY_URLS=https://main.example,https://backup.example/prefix/",
		"CLOSEORDER_GATEWAY_PROXY=http://user:" + secretPassword + "@proxy.example:3128", "CLOSEORDER_LOG_FORMAT=json",
	}
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "CLOSEORDER_KAFKA_BROKER is not known")
	worker.end(t)
	first, _, _ := strings.Cut(worker.stderr.String(), "\n")
	for _, want := range []string{
		"starting: calls go to https://main.example, then https://backup.example/prefix; " +
			"those of 1 of 2 merchants to hosts of their own: https://own.example/sandbox; all through the proxy proxy.example:3128",
		`"brokers":["127.0.0.1:1"]`, `"group":"closeorder"`,
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the first line does not say %s:\n%s", want, first)
		}
	}
	if strings.Contains(worker.stderr.String(), secretPassword) || strings.Contains(worker.stderr.String(), secretKey) {
		t.Errorf("a secret is shown:\n%s", worker.stderr)
	}
}

func TestCallsTo(t *testing.T) {
	urls := []string{"https://a.example", "https://b.example"}
	own := func(hosts ...string) closer.Merchant { return closer.Merchant{Hosts: hosts} }
	for sentence, tt := range map[string]struct {
		merchants []closer.Merchant
		want      string
	}{
		"no merchant has hosts of its own": {[]closer.Merchant{own()}, "calls go to https://a.example, then https://b.example"},
		"one of two has": {[]closer.Merchant{own(), own("https://c")},
			"calls go to https://a.example, then https://b.example; those of 1 of 2 merchants to hosts of their own: https://c"},
		"all have, the same": {[]closer.Merchant{own("https://c"), own("https://c")}, "calls go to the merchants' own hosts: https://c"},
		"many": {[]closer.Merchant{own("1", "2", "3"), own("4", "5", "6", "7")},
			"calls go to the merchants' own hosts: 1, 2, 3, 4, 5 and 2 more"},
	} {
		cfg := config.Config{Merchants: tt.merchants}
		cfg.Gateway.URLs = urls
		if got := callsTo(cfg); got != tt.want {
			t.Errorf("%s: %s, want %s", sentence, got, tt.want)
		}
	}
}
