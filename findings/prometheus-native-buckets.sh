#!/usr/bin/env bash
# Expected: a rule or a panel over X_bucket and X_count of a histogram goes on working whatever server scrapes it. Classic and native
#   buckets in one histogram are there to move from the one to the other at leisure.
# Happens: scraper and handler agree on a format, and the format decides what there is. As it is installed the server stores le="1"
#   from a plain handler, and le="1.0" from one with EnableOpenMetrics. With --enable-feature=native-histograms it asks for protobuf:
#   of a histogram that has both it drops X_bucket, X_sum and X_count, all of them, and writes le="1.0" for those that have classic ones
#   only. A rule over what is gone is valid and silent: neither check nor server warns, and the target is up.
# Versions: Debian's prometheus 2.42.0+ds-5+deb12u1 (bookworm), client_golang 1.25.0.
# Seen (how many series each selector finds; "both" has classic and native buckets, "classic" has classic ones):
#   plain handler, as installed:         both le="1": 1, le="1.0": 0, count: 1; classic le="1": 1, le="1.0": 0, count: 1
#   EnableOpenMetrics, as installed:     both le="1": 0, le="1.0": 1, count: 1; classic le="1": 0, le="1.0": 1, count: 1
#   plain handler, native-histograms:    both le="1": 0, le="1.0": 0, count: 0; classic le="1": 0, le="1.0": 1, count: 1
#   EnableOpenMetrics, native-histograms: both le="1": 0, le="1.0": 0, count: 0; classic le="1": 0, le="1.0": 1, count: 1
# Why it matters: a share of slow calls by le="1", a rate of X_count or a histogram_quantile over X_bucket stops in all rules at once
#   when somebody sets a flag of the server, and an alert that finds nothing looks like an alert that has nothing to say. Rate from a
#   counter of its own, choose bounds that are no whole numbers (le="1.5"), and have one rule with absent() over each histogram.
# Sources: client_golang, promhttp.HandlerOpts.EnableOpenMetrics (le and quantile); Prometheus, feature flags, "Native histograms"; its
#   later versions can keep both (scrape_classic_histograms, always_scrape_classic_histograms) and from 3.0 on write le alike
#   (migration guide). github.com/prometheus/prometheus/issues/8367.
set -euo pipefail
dir=$(mktemp -d)
pids=
trap 'for pid in $pids; do kill "$pid"; wait "$pid" || true; done 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download prometheus=2.42.0+ds-5+deb12u1 >log 2>&1 || { cat log; exit 1; } # nothing is installed
dpkg -x prometheus_*.deb debian
cat >go.mod <<'MOD'
module x

go 1.26

require github.com/prometheus/client_golang v1.25.0
MOD
cat >main.go <<'GO'
package main

import (
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	bounds := []float64{1, 2.5}
	both := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "both", Buckets: bounds, NativeHistogramBucketFactor: 1.1})
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "classic", Buckets: bounds})
	both.Observe(0.5)
	classic.Observe(0.5)
	registry := prometheus.NewRegistry()
	registry.MustRegister(both, classic)
	for i, openMetrics := range []bool{false, true} {
		handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: openMetrics})
		go func() { panic(http.ListenAndServe(os.Args[1+i], handler)) }()
	}
	select {}
}
GO
go mod tidy >log 2>&1 || { cat log; exit 1; }
go build -o x .
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
plain=127.0.0.1:$(port) open=127.0.0.1:$(port) installed=127.0.0.1:$(port) native=127.0.0.1:$(port)
./x "$plain" "$open" &
pids="$pids $!"
cat >prometheus.yml <<YAML
global: {scrape_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
- {job_name: plain handler, static_configs: [{targets: ["$plain"]}]}
- {job_name: EnableOpenMetrics, static_configs: [{targets: ["$open"]}]}
YAML
cat >rules.yml <<'YAML'
groups:
- name: calls
  rules:
  - {alert: Slow, expr: 'both_bucket{le="1"} / ignoring(le) both_count < 0.9'}
YAML
debian/usr/bin/promtool check config prometheus.yml >log || { cat log; exit 1; }
debian/usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=installed --web.listen-address="$installed" >installed.log 2>&1 &
pids="$pids $!"
debian/usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=native --web.listen-address="$native" --enable-feature=native-histograms >native.log 2>&1 &
pids="$pids $!"
cat >ask.py <<'PYTHON'
import json, sys, time, urllib.parse, urllib.request

def count(server, selector):
    url = "http://%s/api/v1/query?%s" % (server, urllib.parse.urlencode({"query": selector}))
    return len(json.load(urllib.request.urlopen(url))["data"]["result"])

for name, server in ("as installed", sys.argv[1]), ("native-histograms", sys.argv[2]):
    deadline = time.monotonic() + 120
    while True: # both targets were scraped
        try:
            if count(server, "up == 1") == 2:
                break
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("no scrape in two minutes")
        time.sleep(0.5)
    for job in "plain handler", "EnableOpenMetrics":
        found = []
        for h in "both", "classic":
            found.append('%s le="1": %d, le="1.0": %d, count: %d' % (h,
                count(server, '%s_bucket{job="%s",le="1"}' % (h, job)),
                count(server, '%s_bucket{job="%s",le="1.0"}' % (h, job)),
                count(server, '%s_count{job="%s"}' % (h, job))))
        print(("%s, %s:" % (job, name)).ljust(36), "; ".join(found))
PYTHON
python3 ask.py "$installed" "$native" >seen
cat >want <<'WANT'
plain handler, as installed:         both le="1": 1, le="1.0": 0, count: 1; classic le="1": 1, le="1.0": 0, count: 1
EnableOpenMetrics, as installed:     both le="1": 0, le="1.0": 1, count: 1; classic le="1": 0, le="1.0": 1, count: 1
plain handler, native-histograms:    both le="1": 0, le="1.0": 0, count: 0; classic le="1": 0, le="1.0": 1, count: 1
EnableOpenMetrics, native-histograms: both le="1": 0, le="1.0": 0, count: 0; classic le="1": 0, le="1.0": 1, count: 1
WANT
echo "versions: $(debian/usr/bin/prometheus --version 2>&1 | head -1), client_golang 1.25.0"
echo 'expected: le="1": 1, le="1.0": 0, count: 1 for each'
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
