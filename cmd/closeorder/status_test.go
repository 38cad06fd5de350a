package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/status"
)

func TestStatusShowsMembersWhatWaitsAndWhatHasFailed(t *testing.T) {
	env, _, dev := world(t)
	for order, want := range map[string]int{"T1": exitDone, "DEAD1": exitBad} {
		if code, stdout, stderr := call(t, env, "", "request", "--mch-id", "1900000109", "--out-trade-no", order, "--wait"); code != want {
			t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
		}
	}
	call(t, env, "", "request", "--mch-id", "1900000109", "--out-trade-no", "LIMIT1")
	dev.stdout.find(t, `later +LIMIT1`)
	var r status.Report
	look := func(args ...string) (code int, text string) {
		code, text, stderr := call(t, env, "", slices.Concat([]string{"status"}, args)...)
		if stderr != "" {
			t.Errorf("%v: %s", args, stderr)
		}
		return code, text
	}
	code, text := look("--json")
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v\n%s", code, err, text)
	}
	if len(r.Members) != 1 || r.Members[0].Says == nil || r.Members[0].Says.State.Breaker.State != "closed" || r.Members[0].Partitions() == 0 {
		t.Fatalf("members %+v", r.Members)
	}
	if r.Waiting.Count != 1 || len(r.By) != 1 || r.By[0].Code != "FREQUENCY_LIMITED" || r.By[0].MchID != "1900000109" || r.Closed != 1 || r.Failed != 1 ||
		len(r.Failures) != 1 || r.Failures[0].Code != "PARAM_ERROR" || r.Failures[0].OutTradeNo != "DEAD1" || len(r.Wrong) != 0 {
		t.Errorf("%s", text)
	}
	code, text = look()
	for _, want := range []string{"serving: 1 member with ", "; 1 wait, oldest ", " 1 closed, 0 paid, 1 failed", "\nFREQUENCY_LIMITED  1900000109  1 ", "\nPARAM_ERROR  1 ", "  closed   127.0.0.1:"} {
		if !strings.Contains(text, want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, text)
		}
	}
	if _, text = look("--admin", "http://"+r.Members[0].Admin); !strings.Contains(text, "serving: 1 member with ") || strings.Contains(text, "not asked") {
		t.Errorf("with --admin:\n%s", text)
	}
	if code, text = look("--since", "2026-01-01T00:00:00Z", "--admin", "http://127.0.0.1:1"); code != exitBad || !strings.Contains(text, "wrong: 127.0.0.1:1: no answer of http://127.0.0.1:1") ||
		!strings.Contains(text, "not asked: the addresses that were named are of others") {
		t.Errorf("exit code %d with an address where nobody is:\n%s", code, text)
	}
}

func TestStatusSaysThatNobodyServes(t *testing.T) {
	dev := launch(t, nil, "", "dev", "--requests", "0", "--kafka-port", "0", "--gateway-port", "0")
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + dev.stdout.find(t, `Kafka +(127\.0\.0\.1:\d+)`)[1], "CLOSEORDER_KAFKA_GROUP=others"}
	code, stdout, stderr := call(t, env, "", "status")
	if code != exitBad || !strings.Contains(stdout, "NOT WELL: 0 members") || !strings.Contains(stdout, "wrong: nobody serves: group others has no member; start a worker (closeorder run)") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

// Of two workers one serves no admin address.
func TestStatusShowsAMemberThatCannotBeAsked(t *testing.T) {
	env, gatewayURL, _ := world(t)
	env = append(env, "CLOSEORDER_ADMIN_ADDR=off", "CLOSEORDER_GATEWAY_URLS="+gatewayURL, "CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888",
		"CLOSEORDER_API_KEY="+gatewaysim.DirectKey, "CLOSEORDER_KAFKA_INSTANCE_ID=quiet-1")
	second := launch(t, env, "", "run")
	second.stderr.find(t, "partitions assigned")
	for end := time.Now().Add(time.Minute); ; { // until the first one has given up its half
		code, stdout, stderr := call(t, env, "", "status")
		if code == exitDone && strings.Contains(stdout, "serving: 2 members with 72 partitions") && strings.Contains(stdout, "  quiet-1: it serves no admin address (admin_addr)") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
		}
	}
}

func TestTheScreenOfAStatus(t *testing.T) {
	at := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	t.Setenv("TZ", "UTC")
	held := consumer.State{
		Lanes: consumer.LaneState{InFlight: 7}, Breaker: consumer.BreakerState{State: "open"}, DueNow: 12,
		Partitions: []consumer.PartitionState{{Topic: "closeorder.requests", Open: 30}, {Topic: "closeorder.requests", Partition: 1, Open: 3}},
		Holds:      []consumer.HoldState{{MchID: "1900000111", AppID: "wx1", Since: at.Add(-3 * time.Hour), Why: "签名错误\n", NextProbe: at.Add(4 * time.Second)}},
		Health:     consumer.Health{Live: true, Ready: true, Waits: []string{"the gateway has not answered for 12m0s: calls are held, requests keep their place"}},
	}
	r := &status.Report{
		At: at, Group: "closeorder", State: "Stable", Since: at.Add(-time.Hour), Closed: 1200, Paid: 33, Failed: 1001,
		Members: []status.Member{
			{ID: "closeorder-1", Host: "10.0.0.7:4711", Admin: "10.0.0.7:9290", Assigned: map[string][]int{"closeorder.requests": {0, 1}}, Says: &admin.Status{
				State: held, Hosts: []admin.Host{{URL: "https://api.mch.weixin.qq.com", Answered: 9000, Failed: 41, LastFailure: "TIMEOUT", LeftUntil: at.Add(90 * time.Second)}},
			}},
			{InstanceID: "worker-2", Host: "10.0.0.8:4712", Admin: "127.0.0.1:9290", Assigned: map[string][]int{"closeorder.requests": {2}}, Silent: "it can be asked on its own machine alone"},
		},
		Topics:   []status.Topic{{Topic: "closeorder.requests", Partitions: 4, Lag: 4200, Unowned: []int{3}}},
		Waiting:  backlog.Pile{Count: 20, Oldest: at.Add(-5 * time.Hour)},
		By:       []backlog.Pile{{Code: "MERCHANT_HELD", MchID: "1900000111", Count: 19, Oldest: at.Add(-5 * time.Hour), DueFirst: at.Add(time.Minute)}},
		Rest:     backlog.Pile{Count: 1, Oldest: at.Add(-time.Minute)},
		InFlight: backlog.Pile{Count: 30, Oldest: at.Add(-90 * time.Second)},
		Failures: []status.Failure{{Code: "UNKNOWN_MERCHANT", Count: 1001, Merchants: 2, Latest: at.Add(-2 * time.Second), MchID: "1900000999", OutTradeNo: "T7\x1b[2J"}},
		Wrong:    []string{"1 partitions of closeorder.requests have no owner: nobody reads them"},
		Unseen:   []string{"something"},
	}
	var out bytes.Buffer
	(&app{stdout: &out}).printStatus(r)
	golden.Check(t, goldens+"status.txt", normal(out.String()))
}

func TestStatusIsCalledInTheRightWay(t *testing.T) {
	for args, want := range map[string]string{
		"--since tomorrow":       "--since",
		"--watch=10ms":           "--watch",
		"--limit -1":             "--limit",
		"--admin 127.0.0.1:9290": "--admin",
	} {
		code, _, stderr := call(t, nil, "", slices.Concat([]string{"status"}, strings.Fields(args))...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d\n%s", args, code, stderr)
		}
	}
}
