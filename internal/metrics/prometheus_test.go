package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// server is a real Prometheus that scrapes each second, with the rules of deploy in
// which each minute is half a second.
type server struct{ url string }

// lasting are the durations of the rules.
var lasting = regexp.MustCompile(`(for: |\[)(\d+)([mh])\b`)

// quick makes each minute half a second.
func quick(rules string) string {
	return lasting.ReplaceAllStringFunc(rules, func(text string) string {
		part := lasting.FindStringSubmatch(text)
		n, _ := strconv.Atoi(part[2])
		if part[3] == "h" {
			n *= 60
		}
		return fmt.Sprintf("%s%dms", part[1], n*500)
	})
}

func startPrometheus(t *testing.T, target string) server {
	t.Helper()
	program := installed(t, "prometheus")
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("alerts.yaml", quick(string(rules)))
	file := write("prometheus.yaml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yaml]
scrape_configs:
  - {job_name: closeorder, static_configs: [{targets: [%q]}]}
`, target))
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		var text []string
		for lines := bufio.NewScanner(said); lines.Scan(); {
			line := lines.Text()
			text = append(text, line)
			if _, at, is := strings.Cut(line, `msg="Listening on" address=`); is {
				address <- at
			}
		}
		if len(address) == 0 {
			address <- ""
		}
		t.Log(strings.Join(text[max(len(text)-10, 0):], "\n"))
	}()
	t.Cleanup(func() { // the context of the test has ended, and so has the process
		<-read
		cmd.Wait()
	})
	at := <-address
	if at == "" {
		t.Fatal("prometheus ended before it listened")
	}
	p := server{"http://" + at}
	for end := time.Now().Add(time.Minute); !p.isReady(t); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("prometheus does not get ready")
		}
	}
	return p
}

func (p server) isReady(t *testing.T) bool {
	t.Helper()
	resp, err := http.Get(p.url + "/-/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// get asks the HTTP API, and decodes what stands in data.
func (p server) get(t *testing.T, path string, into any) {
	t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" {
		t.Errorf("%s: %s", path, answer.Error)
		return
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatal(err)
	}
}

// firing are the names of the alerts that fire, each once, in order.
func (p server) firing(t *testing.T) []string {
	t.Helper()
	var data struct {
		Alerts []struct {
			State               string
			Labels, Annotations map[string]string
		}
	}
	p.get(t, "/api/v1/alerts", &data)
	names := []string{}
	for _, a := range data.Alerts {
		for _, text := range a.Annotations {
			if strings.Contains(text, "<error") || strings.Contains(text, "no value") || strings.Contains(text, "{{") {
				t.Errorf("%s: an annotation cannot be filled in: %s", a.Labels["alertname"], text)
			}
		}
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// query returns how many series a query has.
func (p server) query(t *testing.T, expr string) int {
	t.Helper()
	var data struct{ Result []json.RawMessage }
	p.get(t, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	return len(data.Result)
}

// until waits until the alerts that fire are as they should be.
func (p server) until(t *testing.T, what string, are func(firing []string) bool) {
	t.Helper()
	var firing []string
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if firing = p.firing(t); are(firing) {
			return
		}
	}
	t.Fatalf("%s: waited in vain; what fires is %q", what, firing)
}

func (p server) untilFires(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		p.until(t, name+" fires", func(firing []string) bool { return slices.Contains(firing, name) })
	}
}

func (p server) untilQuiet(t *testing.T, what string) {
	t.Helper()
	p.until(t, what, func(firing []string) bool { return len(firing) == 0 })
}

// A Prometheus scrapes a worker through what goes wrong and is mended: the alerts
// that are meant fire, and resolve. Then each query of the dashboard has an answer.
func TestAPrometheusSeesAnOutageAndItsEnd(t *testing.T) {
	installed(t, "prometheus")
	sim, err := gatewaysim.New(gatewaysim.Config{Merchants: gatewaysim.DefaultMerchants(), Latency: gatewaysim.Latency{Min: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(sim)
	defer gateway.Close()
	kafka, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()

	file := filepath.Join(t.TempDir(), "merchants.yaml")
	second := func(key string) {
		text := fmt.Sprintf("merchants:\n  - {mch_id: \"1900000109\", appid: wx8888888888888888, key: %s}\n  - {mch_id: \"1900000110\", appid: wx8888888888888888, sign_type: HMAC-SHA256, key: %s}\n", gatewaysim.DirectKey, key)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second("a-wrong-key-of-thirty-two-letter")
	all, err := merchants.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Kafka.Brokers = kafka.Addrs()
	cfg.Gateway.URLs = []string{gateway.URL}
	cfg.Gateway.AttemptTimeout, cfg.Gateway.Budget = time.Second, 2*time.Second
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Config{Merchants: cfg.MetricsMerchants, Known: func(id string) bool { _, known := all.Merchant(id); return known }})
	w, err := worker.New(cfg, worker.Deps{Log: log, Merchants: all, Observer: m, Observe: m.Attempt, ObserveBare: true})
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(w.State, w.Hosts)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()

	var away atomic.Bool // the admin listener
	handler := m.Handler()
	admin := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if away.Load() {
			out.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(out, r)
	}))
	defer admin.Close()

	// Orders in a row; every third one begins with the prefix, of the merchant.
	type traffic struct{ mchID, prefix string }
	var now atomic.Pointer[traffic]
	now.Store(&traffic{"1900000109", "PAID"})
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	asking := make(chan struct{})
	go func() {
		defer close(asking)
		for i := 0; ctx.Err() == nil; i++ {
			mchID, order := "1900000109", fmt.Sprintf("T%05d", i)
			if to := now.Load(); i%3 == 0 {
				mchID, order = to.mchID, fmt.Sprintf("%s%05d", to.prefix, i)
			}
			client.Produce(ctx, &kgo.Record{
				Topic: cfg.Topics.Requests, Key: []byte(order),
				Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q,"order_created_at":"2026-01-01T00:00:00Z"}`, mchID, order),
			}, nil)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	defer func() { cancel(); <-asking }()

	p := startPrometheus(t, strings.TrimPrefix(admin.URL, "http://"))
	answered := func() bool { return p.query(t, `closeorder_outcomes_total{outcome="paid"} > 0`) > 0 }
	p.until(t, "the first outcomes", func([]string) bool { return answered() })
	p.untilQuiet(t, "all is well")

	sim.SetOutage(gatewaysim.AllHosts, gatewaysim.Outage5xx)
	p.untilFires(t, "CloseorderGatewaySilent")
	if got := p.query(t, `closeorder_live == 1 and closeorder_ready == 1 and on () closeorder_waits{reason="gateway"} == 1`); got != 1 {
		t.Error("in an outage of the gateway the worker is not alive, ready and waiting for the gateway")
	}
	sim.SetOutage(gatewaysim.AllHosts, gatewaysim.NoOutage)
	p.untilQuiet(t, "the gateway is back")

	now.Store(&traffic{"1900000110", "T"})
	p.untilFires(t, "CloseorderMerchantHeld")
	if got := p.query(t, `ALERTS{alertname="CloseorderMerchantHeld",mch_id="1900000110",reason="refused",alertstate="firing"}`); got != 1 {
		t.Error("the alert does not name the merchant and why")
	}
	second(gatewaysim.HMACKey)
	if err := all.Reload(); err != nil {
		t.Fatal(err)
	}
	p.untilQuiet(t, "the key is mended")

	now.Store(&traffic{"1900000109", "DEAD"})
	p.untilFires(t, "CloseorderFailures")
	now.Store(&traffic{"1900000109", "PAID"})
	p.until(t, "requests work again", func(firing []string) bool { return !slices.Contains(firing, "CloseorderFailures") })

	away.Store(true)
	p.untilFires(t, "CloseorderDown", "CloseorderAbsent")
	away.Store(false)
	p.until(t, "the worker is back", func(firing []string) bool {
		return !slices.Contains(firing, "CloseorderDown") && !slices.Contains(firing, "CloseorderAbsent")
	})

	if got := p.query(t, `count_over_time(ALERTS{alertstate="firing",alertname=~"CloseorderNotLive|CloseorderPartitionStopped|CloseorderRecordsRefused|CloseorderBacklogGrows|CloseorderPublishBlocked"}[1h])`); got != 0 {
		t.Error("an alert has fired that none of it is a reason for")
	}
	p.holdsDashboard(t)
}

// quiet are queries that have no answer where nothing is wrong.
var quiet = regexp.MustCompile(`> 0|closeorder_(throttled_seconds_total|fetch_errors_total|merchant_held|drain_duration_seconds_bucket|oldest_hold)`)

// holdsDashboard asks each query of the dashboard: it must be understood, and have
// an answer.
func (p server) holdsDashboard(t *testing.T) {
	t.Helper()
	for _, q := range dashboardQueries(t) {
		expr := strings.ReplaceAll(q.expr, "$__rate_interval", "10s")
		if n := p.query(t, expr); n == 0 && !quiet.MatchString(expr) {
			t.Errorf("panel %q has nothing to show: %s", q.panel, expr)
		}
	}
}
