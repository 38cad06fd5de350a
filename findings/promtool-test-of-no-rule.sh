#!/usr/bin/env bash
# Expected: a test of an alert that is not there fails: its name was misspelt, or the alert was renamed, or its file was.
# Happens: promtool passes it, where the test says that the alert does not fire (exp_alerts: []), as every test of "and then it is over"
#   does. A rule_files pattern that matches no file is a warning, and passes too.
# Version: Debian's prometheus 2.42.0+ds-5+deb12u1 (bookworm), promtool.
# Seen (an alert Down that fires all the time, and a test that says that it does not):
#   alertname Down: failed
#   alertname Donw: passed
#   rule_files without a match: passed
# Why it matters: the half of the tests that shows that alerts end, or keep quiet, shows nothing from the day on which an alert is
#   renamed. Have for each alert a test in which it fires, in the same file; and compare the names of tests and rules by a program.
# Source: Prometheus, "Unit testing for rules", alert_test_case (exp_alerts).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download prometheus=2.42.0+ds-5+deb12u1 >log 2>&1 || { cat log; exit 1; } # nothing is installed
dpkg -x prometheus_*.deb debian
cat >rules.yml <<'YAML'
groups:
- name: workers
  rules:
  - {alert: Down, expr: up == 0}
YAML
check() { # what, rule file, alert
  cat >test.yml <<YAML
rule_files: ["$2"]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series: [{series: 'up{job="worker"}', values: "0x10"}]
  alert_rule_test:
  - {eval_time: 5m, alertname: $3, exp_alerts: []}
YAML
  if debian/usr/bin/promtool test rules test.yml >log 2>&1; then echo "$1: passed"; else echo "$1: failed"; fi
}
{
  check "alertname Down" rules.yml Down
  check "alertname Donw" rules.yml Donw
  check "rule_files without a match" "rulez*.yml" Down
} >seen
cat >want <<'WANT'
alertname Down: failed
alertname Donw: passed
rule_files without a match: passed
WANT
echo "versions: $(debian/usr/bin/promtool --version 2>&1 | head -1)"
echo "expected: failed three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
