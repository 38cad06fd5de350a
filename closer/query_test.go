package closer

import (
	"testing"
	"time"
)

func TestQuery(t *testing.T) {
	paid := says("result_code", "SUCCESS", "trade_state", "SUCCESS",
		"transaction_id", "4200001", "total_fee", "888", "time_end", "20260102030405")
	unknownAge := func(o *Order) { o.CreatedAt = time.Time{} }
	young := func(o *Order) { o.CreatedAt = time.Now().Add(-10 * time.Second) }
	type want struct {
		class Class
		code  string
		safe  bool
		calls string
	}
	inBubble(t, closesAndQueries(nil, replies(paid)), func(c *Config, _ *gateway) { c.Confirm = ConfirmNever }, func(t *testing.T, c *Closer, g *gateway) {
		if v := c.Query(t.Context(), order()); v.Class != Failed || v.Code != CodeNotAsked || len(g.seen()) > 0 {
			t.Errorf("with never: %+v", v)
		}
	})
	for sentence, tt := range map[string]struct {
		queries []reply
		order   func(*Order)
		want    want
	}{
		"a closed order is closed":                    {replies(state("CLOSED")), nil, want{Closed, "CLOSED", true, "query"}},
		"a paid order is paid":                        {replies(paid), nil, want{Paid, "SUCCESS", false, "query"}},
		"an open order is not closed":                 {replies(state("NOTPAY")), nil, want{Failed, "NOTPAY", false, "query"}},
		"nor is one in a state that nobody knows":     {replies(state("NEW_STATE")), nil, want{Failed, "NEW_STATE", false, "query"}},
		"an order that is not there leaves nothing":   {replies(code("ORDERNOTEXIST")), nil, want{Closed, "ORDERNOTEXIST", true, "query"}},
		"of unknown age it may still come":            {replies(code("ORDERNOTEXIST")), unknownAge, want{Closed, "ORDERNOTEXIST", false, "query"}},
		"a young one is waited for":                   {replies(code("ORDERNOTEXIST")), young, want{Temporary, "ORDERNOTEXIST", false, "query"}},
		"a lost reply is asked for again":             {replies(reply{}, state("CLOSED")), nil, want{Closed, "CLOSED", true, "query query"}},
		"a gateway that never answers is no answer":   {replies(reply{}), nil, want{class: NoAnswer, code: "CONNECTION_LOST"}},
		"SYSTEMERROR is asked again":                  {replies(code("SYSTEMERROR"), paid), nil, want{Paid, "SUCCESS", false, "query query"}},
		"a persistent SYSTEMERROR is temporary":       {replies(code("SYSTEMERROR")), nil, want{class: Temporary, code: "SYSTEMERROR"}},
		"a refused merchant is not held":              {replies(code("NOAUTH")), nil, want{Temporary, "NOAUTH", false, "query"}},
		"a refused query fails":                       {replies(code("PARAM_ERROR")), nil, want{Failed, "PARAM_ERROR", false, "query"}},
		"a code in no table is asked about no longer": {replies(code("BRAND_NEW")), nil, want{Temporary, "BRAND_NEW", false, "query query query"}},
		// What only a close can be answered proves nothing in a query.
		"ORDERCLOSED is no trade_state":           {replies(code("ORDERCLOSED")), nil, want{class: NoAnswer, code: "INCOMPLETE_REPLY"}},
		"ORDERPAID is no trade_state":             {replies(code("ORDERPAID")), nil, want{class: NoAnswer, code: "INCOMPLETE_REPLY"}},
		"SUCCESS without a trade_state says none": {replies(says("result_code", "SUCCESS")), nil, want{class: NoAnswer, code: "INCOMPLETE_REPLY"}},
		"an unsigned refusal proves nothing":      {replies(unsigned("订单已关闭")), nil, want{class: Temporary, code: "UNSIGNED_FAIL"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			inBubble(t, closesAndQueries(nil, tt.queries), nil, func(t *testing.T, c *Closer, g *gateway) {
				o := order()
				if tt.order != nil {
					tt.order(&o)
				}
				v := c.Query(t.Context(), o)
				w := tt.want
				if v.Class != w.class || v.Code != w.code || v.SafeToReissue != w.safe {
					t.Errorf("got %v %s safe %v (%s), want %+v", v.Class, v.Code, v.SafeToReissue, v.Message, w)
				}
				if final := v.Class == Closed || v.Class == Paid; final != (v.ConfirmedBy == ConfirmedByOrderQuery) {
					t.Errorf("%v is confirmed by %q", v.Class, v.ConfirmedBy)
				}
				if got := g.sequence(); w.calls != "" && got != w.calls {
					t.Errorf("calls: %s\nwant:  %s", got, w.calls)
				}
				if v.Class == Paid && v.Gateway.TransactionID != "4200001" {
					t.Errorf("paid without its transaction: %+v", v.Gateway)
				}
				if v.Message == "" || v.Calls != len(g.seen()) {
					t.Errorf("message %q, counted %d calls, the gateway saw %d", v.Message, v.Calls, len(g.seen()))
				}
			})
		})
	}
}
