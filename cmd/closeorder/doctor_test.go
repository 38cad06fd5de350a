package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
)

// examined is what doctor --json says.
type examined struct {
	Safe     bool
	Findings []struct{ Severity, Check, Subject, Evidence, Remedy string }
}

// has says whether there is such a finding.
func (e examined) has(severity, check, evidence string) bool {
	for _, f := range e.Findings {
		if f.Severity == severity && f.Check == check && strings.Contains(f.Evidence, evidence) {
			return true
		}
	}
	return false
}

func diagnosis(t *testing.T, env []string, args ...string) (examined, int) {
	t.Helper()
	code, stdout, stderr := call(t, env, "", append([]string{"doctor", "--json"}, args...)...)
	var e examined
	if err := json.Unmarshal([]byte(stdout), &e); err != nil {
		t.Fatalf("%v: %s\n%s", err, stdout, stderr)
	}
	if (code == exitDone) != e.Safe || !e.Safe && code != 1 || stderr != "" {
		t.Errorf("exit code %d, safe %v, %s", code, e.Safe, stderr)
	}
	return e, code
}

// diagnosed examines until there is such a finding: workers join, and brokers learn
// of ACLs and settings, some time after.
func diagnosed(t *testing.T, env []string, want [3]string, args ...string) examined {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		e, _ := diagnosis(t, env, args...)
		if e.has(want[0], want[1], want[2]) {
			return e
		}
		if time.Now().After(deadline) {
			t.Errorf("no finding %v in\n%+v", want, e.Findings)
			return e
		}
	}
}

func TestDoctorOfAWorkerThatRuns(t *testing.T) {
	env, url, _ := world(t)
	env = append(env, "CLOSEORDER_GATEWAY_URLS="+url, "CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY="+gatewaysim.DirectKey)
	e := diagnosed(t, env, [3]string{"ok", "group-members", "Stable, 1 member"}, "--probe")
	for _, want := range [][3]string{
		{"ok", "merchant-probe", "1 of 1 are proven"}, {"ok", "broker-advertised", ""},
		{"ok", "position", ""}, {"ok", "clock", ""}, {"ok", "host-reachable", ""}, {"note", "topic-replication", "on the only broker"},
	} {
		if !e.has(want[0], want[1], want[2]) {
			t.Errorf("no %v in %+v", want, e.Findings)
		}
	}
	if !e.Safe {
		t.Error("not safe")
	}
	if e, _ := diagnosis(t, env); e.has("ok", "merchant-probe", "") {
		t.Error("a merchant was probed that nobody asked for")
	}
	wrong := append(slices.Clip(env), "CLOSEORDER_API_KEY=another-key-of-thirty-two-letter")
	if e, code := diagnosis(t, wrong, "--probe"); code != 1 || !e.has("danger", "merchant-probe", "wrong signature") {
		t.Errorf("a wrong key: %d, %+v", code, e)
	}
	code, stdout, stderr := call(t, env, "", "run", "--check")
	if code != exitDone || stderr != "" || !regexp.MustCompile(`(?m)^safe to run, as of .*: 0 dangers, \d+ warnings?, \d+ notes?, \d+ ok$`).MatchString(stdout) {
		t.Errorf("run --check: exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestDoctorOfAWorkerThatCouldNotRun(t *testing.T) {
	for _, command := range [][]string{{"doctor"}, {"run", "--check"}} {
		args := slices.Concat(command, []string{"--kafka-brokers", "127.0.0.1:1", "--gateway-urls", "http://127.0.0.1:2", "--mch-id", "1900000109", "--max-in-flight", "none"})
		code, stdout, stderr := call(t, nil, "", args...)
		if code != 1 || stderr != "" {
			t.Errorf("%v: exit code %d, %s", command, code, stderr)
		}
		golden.Check(t, goldens+"doctor.txt", normal(stdout))
	}
}
