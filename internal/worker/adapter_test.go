package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/config"
)

func TestEveryClassHasItsTwin(t *testing.T) {
	for _, c := range []struct {
		sentence string
		verdict  closer.Verdict
		want     consumer.Class
	}{
		{"closed is closed", closer.Verdict{Class: closer.Closed, Code: "SUCCESS"}, consumer.Closed},
		{"paid is paid", closer.Verdict{Class: closer.Paid, Code: "ORDERPAID"}, consumer.Paid},
		{"failed is failed", closer.Verdict{Class: closer.Failed, Code: "PARAM_ERROR"}, consumer.Failed},
		{"temporary is tried later", closer.Verdict{Class: closer.Temporary, Code: "SYSTEMERROR"}, consumer.Temporary},
		{"a refused merchant is held", closer.Verdict{Class: closer.MerchantRefused, Code: "SIGNERROR"}, consumer.MerchantRefused},
		{"a time-out may be an outage", closer.Verdict{Class: closer.NoAnswer, Code: string(closer.FailTimeout)}, consumer.NoAnswer},
		{"a page in place of a reply may be one", closer.Verdict{Class: closer.NoAnswer, Code: string(closer.FailFormat)}, consumer.NoAnswer},
		{"no free call slot may be one", closer.Verdict{Class: closer.NoAnswer, Code: string(closer.FailBusy)}, consumer.NoAnswer},
		{"interrupted is as if never started", closer.Verdict{Class: closer.Interrupted}, consumer.Interrupted},
	} {
		if got := verdict(c.verdict).Class; got != c.want {
			t.Errorf("%s: got %d, want %d", c.sentence, got, c.want)
		}
	}
	// Unknown, the last one, is of an attempt alone.
	for c := closer.Closed; c < closer.Unknown; c++ {
		if verdict(closer.Verdict{Class: c}).Class == 0 {
			t.Errorf("%v has no twin in consumer", c)
		}
	}
}

func TestAVerdictLosesNothingOnItsWayToTheConsumer(t *testing.T) {
	got := verdict(closer.Verdict{
		Class: closer.Paid, Code: "ORDERPAID", Message: "paid", ConfirmedBy: closer.ConfirmedByOrderQuery, Calls: 3,
		Gateway: closer.Evidence{Host: "h", TradeState: "SUCCESS", TransactionID: "42", TotalFee: 100, TimeEnd: "20261123200000"},
		Scope:   closer.Scope{MchID: "m", AppID: "a", SubMchID: "s"},
	})
	if got.Gateway == nil || got.Gateway.TransactionID != "42" || got.Gateway.TotalFee != 100 || got.Gateway.TimeEnd != "20261123200000" {
		t.Errorf("gateway %+v", got.Gateway)
	}
	if got.ConfirmedBy != "orderquery" || got.Calls != 3 || got.Scope != (consumer.Scope{MchID: "m", AppID: "a", SubMchID: "s"}) {
		t.Errorf("verdict %+v", got)
	}
	if a := verdict(closer.Verdict{Class: closer.NoAnswer, Code: string(closer.FailSignature), Unsigned: true}); !a.Unsigned || a.Class != consumer.NoAnswer {
		t.Errorf("a forged reply: %+v", a)
	}
	if a := verdict(closer.Verdict{Class: closer.Temporary, Unsigned: true, Unworkable: true}); !a.Unworkable || a.Class != consumer.Temporary {
		t.Errorf("a request that cannot work: %+v", a)
	}
	if verdict(closer.Verdict{Class: closer.Failed}).Gateway != nil {
		t.Error("a gateway that was never asked has a part in the answer")
	}
}

func TestTheGatewaysSettingsReachTheCloser(t *testing.T) {
	got, err := GatewayConfig(config.Gateway{
		URLs: []string{"u"}, AttemptTimeout: 3 * time.Second, Budget: 4 * time.Second, Confirm: "always",
		SettleAge: 5 * time.Second, Rate: 6, MaxConcurrency: 7, CAPEM: []byte("a root"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := closer.Config{
		Hosts: []string{"u"}, AttemptTimeout: 3 * time.Second, Budget: 4 * time.Second,
		Confirm: closer.ConfirmAlways, SettleAge: 5 * time.Second, Rate: 6, MaxConcurrency: 7, CAPEM: []byte("a root"),
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
