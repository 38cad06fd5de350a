package main

import (
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
)

// TestOutcomesAreChosen plants one outcome of each kind.
func TestOutcomesAreChosen(t *testing.T) {
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{b.Addr()}
	c, err := (&app{stderr: newStream()}).cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	plant := func(merchant, order string, o events.Outcome) {
		t.Helper()
		is := events.NewOutcome(events.Request{MchID: merchant, OutTradeNo: order}, nil, events.Source{Topic: cfg.Topics.Requests})
		is.Result, is.Code, is.Message, is.SafeToReissue, is.Gateway, is.Attempts = o.Result, o.Code, o.Message, o.SafeToReissue, o.Gateway, 1
		is.CompletedAt = time.Now()
		m, err := events.EncodeOutcome(is)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.writer().Write(t.Context(), cfg.Topics.Outcomes, []events.Message{m}, 0); err != nil {
			t.Fatal(err)
		}
	}
	plant("1900000109", "SAFE", events.Outcome{Result: events.Closed, Code: "SUCCESS", SafeToReissue: true, Gateway: &events.Gateway{ReturnMsg: "OK"}})
	plant("1900000109", "DOUBT", events.Outcome{Result: events.Closed, Code: "ORDERNOTEXIST", Gateway: &events.Gateway{ReturnMsg: "OK", ErrCode: "ORDERNOTEXIST", ErrCodeDes: "订单不存在"}})
	plant("1900000109", "BOUGHT", events.Outcome{Result: events.Paid, Code: "ORDERPAID", Gateway: &events.Gateway{ErrCodeDes: "订单已支付"}})
	plant("1900000111", "NO", events.Outcome{Result: events.Failed, Code: "PARAM_ERROR", Message: "the gateway says: 参数错误", Gateway: &events.Gateway{ErrCodeDes: "参数错误"}})
	plant("1900000111", "LATE", events.Outcome{Result: events.Failed, Code: "RETRIES_EXHAUSTED", Gateway: &events.Gateway{ReturnMsg: "系统繁忙"}})
	env := []string{"CLOSEORDER_KAFKA_BROKERS=" + b.Addr()}
	for _, tt := range []struct{ sentence, args, want string }{
		{"all", "", "SAFE DOUBT BOUGHT NO LATE"},
		{"of one merchant", "--mch-id 1900000111", "NO LATE"},
		{"of two kinds", "--outcome paid --outcome closed", "SAFE DOUBT BOUGHT"},
		{"of several codes, whatever their spelling", "--code order_paid,PARAMERROR", "BOUGHT NO"},
		{"not safe to reissue", "--not-safe", "DOUBT"},
		{"all that is asked for at once", "--mch-id 1900000111 --outcome failed --code RETRIES_EXHAUSTED", "LATE"},
	} {
		code, stdout, stderr := call(t, env, "", append([]string{"outcomes", "--from", "beginning", "--no-follow"}, strings.Fields(tt.args)...)...)
		var got []string
		for _, line := range strings.Split(stdout, "\n")[1:] {
			if cells := strings.Fields(line); len(cells) > 4 && cells[0] != "next:" {
				got = append(got, cells[4]) // behind day, time, zone and outcome
			}
		}
		if code != exitDone || stderr != "" || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: exit code %d, %s, %q, want %s\n%s", tt.sentence, code, stderr, got, tt.want, stdout)
		}
		if tt.args == "" {
			golden.Check(t, goldens+"outcomes.txt", normal(stdout))
		}
	}
	if _, stdout, _ := call(t, env, "", "outcomes", "--from", "beginning", "--no-follow", "--json"); strings.Count(stdout, `"next":"nothing is payable now`) != 1 {
		t.Errorf("as JSON:\n%s", stdout)
	}
}
