package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
)

func TestHelpSaysWhatEachCommandTakes(t *testing.T) {
	for _, command := range []string{
		"", "dev", "run", "doctor", "topics", "topics create", "topics acls", "request", "outcomes", "trace", "status", "console", "console user", "close", "sign", "verify", "schema", "version",
	} {
		name := "closeorder"
		if command != "" {
			name += "-" + strings.ReplaceAll(command, " ", "-")
		}
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, "", append(strings.Fields(command), "--help")...)
			if code != exitDone || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			golden.Check(t, goldens+"help/"+name+".txt", stdout)
		})
	}
	t.Run("simulate names every prefix", func(t *testing.T) {
		_, stdout, _ := call(t, nil, "", "simulate", "--help")
		for _, b := range gatewaysim.Behaviours() {
			if !strings.Contains(stdout, b.Prefix) || !strings.Contains(stdout, b.What) {
				t.Errorf("%q is not there", b.Prefix)
			}
		}
	})
}

func TestWrongUsageIsNamedAndEndsWithExitCode2(t *testing.T) {
	var all strings.Builder
	for _, line := range []string{
		"nonsense",
		"outcome",
		"topics delete",
		"run --nonsense",
		"audit --sinc 1h",
		"audit --limit x",
		"deadletters lst",
		"deadletters replay --rate fast",
		"dev --timeout 5",
		"dev --exit=perhaps",
		"dev --requests",
		"dev -x",
		"run extra",
		"run",
		"run --max-in-flight none --kafka-brokers here --log-level loud",
		"run --config missing.yaml",
		"outcomes --from yesterday",
		"outcomes --outcome lost --from yesterday",
		"outcomes --outcome paid --not-safe",
		"outcomes --kafka-sasl-mechanism PLAIN",
		"request --out-trade-no T1",
		"request --out-trade-no T1 --mch-id 1 --file x.csv",
		"request --file missing.csv",
		"request",
		"request --mch-id 1 --out-trade-no T1 --expires-at tomorrow --metadata [1]",
		"request --mch-id 1 --out-trade-no T1 --metadata [1] --timeout -1s --kafka-brokers here",
		"outcomes --from yesterday --kafka-brokers here",
		"trace",
		"trace T1 T2",
		"trace T1 --sub-mch-id 1 --since 1h --until 2h",
		"trace T1 --ask-gateway",
		"close",
		"close --mch-id 1 --out-trade-no T1",
		"close --mch-id 1 --out-trade-no T1 --order-created-at yesterday",
		"close --mch-id 1 --out-trade-no T1 --sub-mch-id 1.9e+09",
		"close --mch-id 1 --out-trade-no T1 --appid wx'1",
		"sign a=b",
		"sign --key k --key-env K a=b",
		"sign --key k",
		"sign --key k a=b a=c",
		"sign --key k a=b c",
		"sign --key k --type SHA1 a=b",
		"sign --key-env NOT_SET a=b",
		"verify --key k missing.xml",
		"topics create --partitions 0 --replication 1 --min-insync-replicas 2",
		"topics create --partitions 0 --retention 1s --kafka-brokers here",
		"simulate --listen nowhere:-1",
		"simulate --failure-rate 2",
		"simulate --refuse 1=NOAUTH",
		"simulate --rate NaN --lost-replies -1 --latency -1s",
		"dev --exit",
		"dev --requests -2 --rate -1 --log-level loud",
		"dev --rate NaN --kafka-port -1 --gateway-port 70000 --timeout 0s",
		"dev --rate +Inf", "dev --min-order-age -1s",
		"schema requests",
		"schema avro",
		"schema request outcome",
		"dev --buyers 2 --late-creates -1 --failure-rate NaN --lost-replies 1.5",
		"simulate --failure-rate .7 --lost-replies .7 --buyers -1",
		"version now",
	} {
		code, stdout, stderr := call(t, nil, "", strings.Fields(line)...)
		if code != exitUsage {
			t.Errorf("%s: exit code %d", line, code)
		}
		if stdout != "" {
			t.Errorf("%s: printed %q", line, stdout)
		}
		fmt.Fprintf(&all, "$ closeorder %s\n%s\n", line, stderr)
	}
	golden.Check(t, goldens+"usage.txt", normal(all.String()))
}
