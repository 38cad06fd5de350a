package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
)

// listener stands before a gateway and remembers each signature that passes, in
// either direction. To orders ECHO... it answers itself, with the words of a gateway
// that knows no discretion: they repeat what it was sent, and the key.
type listener struct {
	gateway, key string

	mu    sync.Mutex
	signs map[string]bool
}

var (
	signElement  = regexp.MustCompile(`<sign>(?:<!\[CDATA\[)?([0-9A-Fa-f]{32,64})`)
	orderElement = regexp.MustCompile(`<out_trade_no>(?:<!\[CDATA\[)?(\w+)`)
)

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, _ := io.ReadAll(r.Body)
	sign := l.hears(asked)
	if order := orderElement.FindSubmatch(asked); order != nil && bytes.HasPrefix(order[1], []byte("ECHO")) {
		fmt.Fprintf(w, "<xml><return_code>FAIL</return_code><return_msg>system error, try again: received %s of mch_id=1&amp;key=%s</return_msg></xml>", sign, l.key)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, l.gateway+r.URL.Path, bytes.NewReader(asked))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header
	answer, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler) // as the gateway did
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	l.hears(said)
	w.WriteHeader(answer.StatusCode)
	w.Write(said)
}

func (l *listener) hears(document []byte) (last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, found := range signElement.FindAllSubmatch(document, -1) {
		last = string(found[1])
		l.signs[last] = true
	}
	return last
}

// leaks is everything that was written anywhere, by where.
type leaks map[string]string

// check fails for each secret that stands in any of it, in whatever writing.
func (all leaks) check(t *testing.T, what, secret string) {
	t.Helper()
	for _, form := range []string{
		secret, strings.ToLower(secret), hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret),
	} {
		for where, text := range all {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(form)); at >= 0 {
				t.Errorf("%s: %s stands there: %.300q", where, what, text[max(at-150, 0):])
			}
		}
	}
}

// records adds all records of the topics.
func (all leaks) records(t *testing.T, b *broker.Broker) {
	t.Helper()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, topic := range cfg.Topics.All() {
		from, err := c.reader().First(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		to, err := c.reader().End(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := c.reader().Read(t.Context(), topic, from, to, func(r kafka.Record) error {
			fmt.Fprintf(&text, "%s %s", r.Key, r.Value)
			for _, h := range r.Headers {
				fmt.Fprintf(&text, " %s=%s", h.Key, h.Value)
			}
			text.WriteByte('\n')
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		all["topic "+topic] = text.String()
	}
}

// pages adds what the admin address of a worker serves.
func (all leaks) pages(t *testing.T, worker *process) {
	t.Helper()
	at := worker.stderr.find(t, `(http://127\.0\.0\.1:\d+)/statusz`)[1]
	for _, path := range []string{"/statusz", "/statusz?format=json", "/metrics", "/livez?verbose", "/readyz?verbose", "/"} {
		res, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		all[path] += string(text)
	}
}

// TestNothingSecretIsWrittenAnywhere: a worker with one key that is right and one
// that is wrong, a gateway that lies, forges and repeats what it was sent, brokers
// that do not take the password, and every command that looks at what came of it.
// Then all that was written is searched for keys, passwords and signatures.
func TestNothingSecretIsWrittenAnywhere(t *testing.T) {
	const wrongKey, password = "wrongKEYwrongKEYwrongKEYwrongKEY", "pa55word-of-SASL"
	b, _ := shop(t)
	ears := &listener{gateway: gateway(t, gatewaysim.Config{}), key: gatewaysim.DirectKey, signs: map[string]bool{}}
	server := httptest.NewServer(ears)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	if err := os.WriteFile(file, []byte("merchants:\n"+
		"  - {mch_id: \"1900000109\", appid: wx8888888888888888, key: "+gatewaysim.DirectKey+"}\n"+
		"  - {mch_id: \"1900000110\", appid: wx8888888888888888, key: "+wrongKey+", sign_type: HMAC-SHA256}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s", "CLOSEORDER_GATEWAY_URLS=" + server.URL,
		"CLOSEORDER_MERCHANTS_FILE=" + file, "CLOSEORDER_GATEWAY_BUDGET=1s", "CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=1s", "CLOSEORDER_GATEWAY_CONFIRM=always", "CLOSEORDER_ADMIN_ADDR=127.0.0.1:0",
	}
	all := leaks{}
	do := func(env []string, args ...string) {
		t.Helper()
		_, stdout, stderr := call(t, env, "", args...)
		if stdout+stderr == "" {
			t.Errorf("%v writes nothing", args)
		}
		all[strings.Join(args, " ")+" (stdout)"], all[strings.Join(args, " ")+" (stderr)"] = stdout, stderr
	}
	for i, format := range []string{"text", "json"} {
		input := "mch_id,out_trade_no\n1900000110,HELD" + format + "\n42,NOBODY" + format + "\n"
		for _, kind := range []string{"T", "PAID", "DEAD", "UNSIGNED", "FORGED", "DOWNGRADE", "OTHERMCH", "SYSERR", "DUPFIELD", "ECHO"} {
			input += "1900000109," + kind + format + "\n"
		}
		if code, _, stderr := call(t, env, input, "request", "--file", "-"); code != exitDone {
			t.Fatal(stderr)
		}
		worker := launch(t, env, "", "run", "--log-level", "debug", "--log-format", format)
		for _, says := range []string{"the gateway refuses this merchant", "UNKNOWN_MERCHANT", "PARAM_ERROR", "BAD_SIGNATURE", "UNSIGNED_REPLY", "UNSIGNED_FAIL", "SYSTEMERROR"} {
			worker.stderr.find(t, says)
		}
		arrive(t, b, config.Default().Topics.DeadLetters, 2*(i+1))
		all.pages(t, worker)
		if code := worker.end(t); code != exitDone {
			t.Errorf("run: exit code %d", code)
		}
		all["log as "+format] = worker.stderr.String()
		all["output as "+format] = worker.stdout.String()
	}
	all.records(t, b)
	for _, line := range []string{
		"audit", "audit --json", "outcomes --from beginning --no-follow", "outcomes --from beginning --no-follow --json",
		"deadletters list", "deadletters list --json", "deadletters export", "deadletters replay --ask-gateway --by a@b --reason r",
		"deadletters replay --yes --ask-gateway --json", "trace FORGEDtext", "trace ECHOjson --json", "trace HELDjson --ask-gateway", "doctor",
		"close --mch-id 1900000109 --out-trade-no ECHO9 --explain", "close --mch-id 1900000109 --out-trade-no FORGED9 --explain --json",
		"close --mch-id 1900000110 --out-trade-no T9 --explain --json", "close --mch-id 1900000109 --out-trade-no T9 --explain",
	} {
		do(env, strings.Fields(line)...)
	}
	secure := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + b.Addr(), "CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=closeorder", "CLOSEORDER_KAFKA_SASL_PASSWORD=" + password,
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + wrongKey, "CLOSEORDER_GATEWAY_URLS=" + server.URL, "CLOSEORDER_ADMIN_ADDR=127.0.0.1:0",
	}
	refused := launch(t, secure, "", "run", "--log-level", "debug")
	refused.stderr.find(t, `SASL`)
	all.pages(t, refused)
	refused.end(t)
	all["log of a worker that is refused"] = refused.stderr.String()
	// What is wrong with a secret is told without it.
	do(append(secure, "CLOSEORDER_API_KEY="+wrongKey+" \x01"), "run")
	do(append(secure, "CLOSEORDER_API_KEYS="+wrongKey), "run", "--kafka-brokers", "here")
	do(append(secure, "CLOSEORDER_KAFKA_SASL_MECHANISM=PLANE"), "outcomes")

	ears.mu.Lock()
	defer ears.mu.Unlock()
	if len(ears.signs) < 30 {
		t.Errorf("only %d signatures were heard", len(ears.signs))
	}
	for _, where := range []string{"log as text", "log as json", "/statusz", "/statusz?format=json", "/metrics", "topic closeorder.outcomes", "topic closeorder.dead-letters", "topic closeorder.retries.10s"} {
		if len(all[where]) < 200 {
			t.Errorf("%s has %d bytes: nothing was looked at", where, len(all[where]))
		}
	}
	all.check(t, "a key", gatewaysim.DirectKey)
	all.check(t, "a key that is wrong", wrongKey)
	all.check(t, "a password", password)
	for sign := range ears.signs {
		all.check(t, "a signature", sign)
	}
}
