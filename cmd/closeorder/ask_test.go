package main

import (
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

func TestWhatAQueryHasFoundIsSaidInWords(t *testing.T) {
	for what, tt := range map[string]struct {
		verdict     closer.Verdict
		state, says string
	}{
		"paid":                          {closer.Verdict{Class: closer.Paid, Gateway: closer.Evidence{TradeState: "SUCCESS", ReturnMsg: "OK"}}, "SUCCESS", "paid"},
		"closed":                        {closer.Verdict{Class: closer.Closed, Gateway: closer.Evidence{TradeState: "CLOSED"}}, "CLOSED", "closed: it cannot be paid any more"},
		"open":                          {closer.Verdict{Class: closer.Failed, Gateway: closer.Evidence{TradeState: "NOTPAY"}}, "NOTPAY", "open: it can still be paid"},
		"a state that is new":           {closer.Verdict{Class: closer.Failed, Gateway: closer.Evidence{TradeState: "ACCEPT"}}, "ACCEPT", "open: it can still be paid"},
		"not there, whatever the class": {closer.Verdict{Class: closer.Closed, Gateway: closer.Evidence{ErrCode: "ORDERNOTEXIST"}}, "ORDERNOTEXIST", "the gateway does not know it"},
		"no answer":                     {closer.Verdict{Class: closer.NoAnswer, Code: "TIMEOUT", Message: "no answer"}, "", "unknown: no answer"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := stateOf(tt.verdict); got.State != tt.state || got.Means != tt.says || got.Words != "" || (got.State == "") != (got.Code != "") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTheGatewayIsAskedAndClosesNothing(t *testing.T) {
	cfg, err := config.Load(config.Source{Env: []string{
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
		"CLOSEORDER_GATEWAY_CONFIRM=never", "CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{}),
	}}, config.Calls)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newAsker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	for no, want := range map[string]string{"T1": "NOTPAY", "PAID1": "SUCCESS", "UNKNOWN1": "ORDERNOTEXIST"} {
		for range 2 { // a close would be seen the second time
			if got := k.ask(t.Context(), events.Request{MchID: "1900000109", OutTradeNo: no}); got.State != want || got.At.IsZero() {
				t.Errorf("%s: %+v, want %s", no, got, want)
			}
		}
	}
	if got := k.ask(t.Context(), events.Request{MchID: "1", OutTradeNo: "T1"}); got.Code != closer.CodeUnknownMerchant || got.State != "" {
		t.Errorf("%+v", got)
	}
}
