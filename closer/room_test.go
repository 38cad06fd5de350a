package closer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What an observer and a caller have got of one order stays what it was while
// other calls are made in the same room.
func TestNothingOfARoomIsKept(t *testing.T) {
	var seen []Attempt
	var verdicts []Verdict
	answer := func(c call, _ int) reply {
		if c.call == CallQuery {
			return says("result_code", "SUCCESS", "trade_state", "SUCCESS", "transaction_id", "4"+c.got["out_trade_no"])
		}
		return says("result_code", "FAIL", "err_code", "FREQUENCY_LIMITED", "err_code_des", "of "+c.got["out_trade_no"])
	}
	change := func(cfg *Config, _ *gateway) {
		cfg.Observe = func(_ context.Context, a Attempt) { seen = append(seen, a) }
	}
	inBubble(t, answer, change, func(t *testing.T, c *Closer, _ *gateway) {
		for i := range 20 {
			o := order()
			o.OutTradeNo = fmt.Sprintf("ORDER%03d", i)
			verdicts = append(verdicts, c.Close(t.Context(), o))
		}
	})
	for i, v := range verdicts {
		if no := fmt.Sprintf("ORDER%03d", i); v.Class != Paid || v.Gateway.TransactionID != "4"+no || v.Gateway.ErrCodeDes != "of "+no {
			t.Errorf("the verdict about %s is %+v", no, v)
		}
	}
	if len(seen) != 2*len(verdicts) {
		t.Fatalf("%d attempts", len(seen))
	}
	for i, a := range seen {
		no := fmt.Sprintf("ORDER%03d", i/2)
		if a.Order.OutTradeNo != no || !strings.Contains(a.Signed(), "out_trade_no="+no) {
			t.Errorf("attempt %d for %s signed %s", a.Number, no, a.Signed())
		}
		if got := a.Reply["err_code_des"] + a.Reply["transaction_id"]; got != "of "+no && got != "4"+no {
			t.Errorf("attempt %d for %s was answered %v", a.Number, no, a.Reply)
		}
	}
}

// Thousands of orders may rest between two calls.
func TestARunThatWaitsHasNoRoom(t *testing.T) {
	inBubble(t, func(call, int) reply { return code("SYSTEMERROR") }, nil, func(t *testing.T, c *Closer, _ *gateway) {
		r, v := c.begin(t.Context(), order())
		if r == nil {
			t.Fatal(v)
		}
		r.pace.deadline = time.Now().Add(time.Minute)
		if !r.close() || r.room == nil || r.pending == nil {
			t.Fatal("nothing is pending after a call")
		}
		if r.observe(time.Second); r.room != nil || r.pending != nil {
			t.Error("the room is kept for the wait")
		}
	})
}
