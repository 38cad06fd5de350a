package closer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/closeorder/closeorder/signing"
)

// script answers the calls in turn, and the last one for ever.
func script(replies ...reply) func(call, int) reply {
	return func(_ call, n int) reply { return replies[min(n, len(replies))-1] }
}

// closesAndQueries answers closes and queries from a script each.
func closesAndQueries(closes, queries []reply) func(call, int) reply {
	var mu sync.Mutex
	n := map[Call]int{}
	return func(c call, _ int) reply {
		mu.Lock()
		defer mu.Unlock()
		n[c.call]++
		list := closes
		if c.call == CallQuery {
			list = queries
		}
		return list[min(n[c.call], len(list))-1]
	}
}

func replies(r ...reply) []reply { return r }

func TestClose(t *testing.T) {
	paid := says("result_code", "SUCCESS", "trade_state", "SUCCESS",
		"transaction_id", "4200001", "total_fee", "888", "time_end", "20260102030405")
	lost := reply{}
	unknownAge := func(o *Order) { o.CreatedAt = time.Time{} }
	young := func(o *Order) { o.CreatedAt = time.Now().Add(-10 * time.Second) }
	type want struct {
		class    Class
		code     string
		by       string
		safe     bool
		calls    string
		from, to time.Duration // of the whole Close
	}
	never := func(c *Config, _ *gateway) { c.Confirm = ConfirmNever }
	always := func(c *Config, _ *gateway) { c.Confirm = ConfirmAlways }
	ms := time.Millisecond

	for sentence, tt := range map[string]struct {
		closes, queries []reply
		order           func(*Order)
		config          func(*Config, *gateway)
		want            want
	}{
		"SUCCESS on a settled order is closed at once": {
			closes: replies(closeSuccess()),
			want:   want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close"},
		},
		"ORDER_CLOSED is closed, with the code as it was spelt": {
			closes: replies(code("ORDER_CLOSED")),
			want:   want{class: Closed, code: "ORDER_CLOSED", by: "closeorder", safe: true, calls: "close"},
		},
		"ORDERPAID is paid": {
			closes: replies(code("ORDERPAID")),
			want:   want{class: Paid, code: "ORDERPAID", by: "closeorder", calls: "close"},
		},
		"ORDERPAID with always carries the transaction": {
			closes: replies(code("ORDERPAID")), queries: replies(paid), config: always,
			want: want{class: Paid, code: "ORDERPAID", by: "orderquery", calls: "close query"},
		},
		"ORDERNOTEXIST on a settled order is closed": {
			closes: replies(code("ORDERNOTEXIST")),
			want:   want{class: Closed, code: "ORDERNOTEXIST", by: "closeorder", safe: true, calls: "close"},
		},
		"ORDERNOTEXIST at unknown age, confirmed: closed, but not safe": {
			closes: replies(code("ORDERNOTEXIST")), queries: replies(code("ORDERNOTEXIST")), order: unknownAge,
			want: want{class: Closed, code: "ORDERNOTEXIST", by: "orderquery", calls: "close query"},
		},
		"ORDERNOTEXIST on a young order asks to come back when it is settled": {
			closes: replies(code("ORDERNOTEXIST")), queries: replies(code("ORDERNOTEXIST")), order: young,
			want: want{class: Temporary, code: "ORDERNOTEXIST", calls: "close query"},
		},
		"a create call that arrives after ORDERNOTEXIST is found and closed": {
			closes: replies(code("ORDERNOTEXIST"), closeSuccess()), queries: replies(state("NOTPAY"), state("NOTPAY"), state("NOTPAY"), state("NOTPAY"), state("NOTPAY"), state("CLOSED")), order: young,
			want: want{class: Closed, code: "SUCCESS", by: "orderquery", safe: true, calls: "close query query query query query close query", from: 5 * time.Second, to: 6 * time.Second},
		},
		"SUCCESS at unknown age is confirmed by the query, and safe": {
			closes: replies(closeSuccess()), queries: replies(state("CLOSED")), order: unknownAge,
			want: want{class: Closed, code: "SUCCESS", by: "orderquery", safe: true, calls: "close query"},
		},
		"SUCCESS for a number that nobody knows is not safe": {
			closes: replies(closeSuccess()), queries: replies(code("ORDERNOTEXIST")), order: unknownAge,
			want: want{class: Closed, code: "ORDERNOTEXIST", by: "orderquery", calls: "close query"},
		},
		"a query that says NOTPAY for a moment after the close is asked again": {
			closes: replies(closeSuccess()), queries: replies(state("NOTPAY"), state("NOTPAY"), state("CLOSED")), order: unknownAge,
			want: want{class: Closed, code: "SUCCESS", by: "orderquery", safe: true, calls: "close query query query", from: 2000 * ms, to: 2100 * ms},
		},
		"an order paid after SUCCESS is paid": {
			closes: replies(closeSuccess()), queries: replies(state("NOTPAY"), paid), order: young,
			want: want{class: Paid, code: "SUCCESS", by: "orderquery", calls: "close query query", from: 500 * ms, to: 600 * ms},
		},
		"SUCCESS that never takes effect concludes nothing": {
			closes: replies(closeSuccess()), queries: replies(state("NOTPAY")), order: young,
			config: func(c *Config, _ *gateway) { c.Budget = time.Hour }, // not the budget ends it
			want:   want{class: Temporary, code: "NOTPAY", calls: "close" + strings.Repeat(" query query query query query close", 3) + " query query query query", from: 20 * time.Second, to: 40 * time.Second},
		},
		"SUCCESS on a young order whose query stays unanswered concludes nothing": {
			closes: replies(closeSuccess()), queries: replies(reply{status: 502}), order: young,
			want: want{class: NoAnswer, code: "HTTP_STATUS", from: 20 * time.Second, to: 31 * time.Second},
		},
		"never does not ask": {
			closes: replies(closeSuccess()), order: unknownAge, config: never,
			want: want{class: Closed, code: "SUCCESS", by: "closeorder", calls: "close"},
		},
		"always asks although there is no doubt": {
			closes: replies(closeSuccess()), queries: replies(state("CLOSED")), config: always,
			want: want{class: Closed, code: "SUCCESS", by: "orderquery", safe: true, calls: "close query"},
		},
		"a lost reply is closed again and then asked about": {
			closes: replies(lost, code("ORDERCLOSED")), queries: replies(state("CLOSED")),
			want: want{class: Closed, code: "ORDERCLOSED", by: "orderquery", safe: true, calls: "close close query", from: 500 * ms, to: 600 * ms},
		},
		"a lost reply, and a query that does not answer: the close stands": {
			closes: replies(lost, code("ORDERCLOSED")), queries: replies(reply{status: 502}),
			want: want{class: Closed, code: "ORDERCLOSED", by: "closeorder", safe: true, calls: "close close query query query query"},
		},
		"closes without an answer are followed by a query": {
			closes: replies(lost), queries: replies(state("CLOSED")),
			want: want{class: Closed, code: "CLOSED", by: "orderquery", safe: true, calls: "close close query"},
		},
		"SYSTEMERROR is tried again with the same order, soon": {
			closes: replies(code("SYSTEMERROR"), code("SYSTEM_ERROR"), closeSuccess()), queries: replies(state("NOTPAY")),
			want: want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close close query close", from: 300 * ms, to: 400 * ms},
		},
		"a persistent SYSTEMERROR is temporary": {
			closes: replies(code("SYSTEMERROR")), queries: replies(code("SYSTEMERROR")),
			want: want{class: Temporary, code: "SYSTEMERROR", from: 14 * time.Second, to: 31 * time.Second},
		},
		"FREQUENCY_LIMITED waits 5 s and queries before it closes again": {
			closes: replies(code("FREQUENCY_LIMITED"), closeSuccess()), queries: replies(state("NOTPAY")),
			want: want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close query close", from: 5 * time.Second, to: 6 * time.Second},
		},
		"a buyer who pays during FREQUENCY_LIMITED is found": {
			closes: replies(code("FREQUENCY_LIMITED")), queries: replies(paid),
			want: want{class: Paid, code: "SUCCESS", by: "orderquery", calls: "close query", from: 5 * time.Second, to: 6 * time.Second},
		},
		"FREQUENCY_LIMITED with never waits and closes": {
			closes: replies(code("FREQUENCY_LIMITED"), closeSuccess()), config: never,
			want: want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close close", from: 5 * time.Second, to: 6 * time.Second},
		},
		"a persistent FREQUENCY_LIMITED is temporary": {
			closes: replies(code("FREQUENCY_LIMITED")), queries: replies(state("USERPAYING")),
			want: want{class: Temporary, code: "FREQUENCY_LIMITED", from: 20 * time.Second, to: 31 * time.Second},
		},
		"a refused request fails at once": {
			closes: replies(code("PARAM_ERROR")),
			want:   want{class: Failed, code: "PARAM_ERROR", calls: "close"},
		},
		"a request refused after a lost reply was closed by it": {
			closes: replies(lost, code("PARAM_ERROR")), queries: replies(state("CLOSED")),
			want: want{class: Closed, code: "CLOSED", by: "orderquery", safe: true, calls: "close close query"},
		},
		"a code in no table is asked about, tried again, and fails": {
			closes: replies(code("BRAND_NEW")), queries: replies(state("NOTPAY")),
			want: want{class: Failed, code: "BRAND_NEW", calls: "close query close query query close query"},
		},
		"a code in no table on a paid order is paid": {
			closes: replies(code("BRAND_NEW")), queries: replies(paid),
			want: want{class: Paid, code: "SUCCESS", by: "orderquery", calls: "close query"},
		},
		"a refused merchant is held at once": {
			closes: replies(code("NOAUTH")),
			want:   want{class: MerchantRefused, code: "NOAUTH", calls: "close"},
		},
		"an unsigned wrong signature is tried twice, and then holds the merchant": {
			closes: replies(unsigned("签名错误")),
			want:   want{class: MerchantRefused, code: "UNSIGNED_FAIL", calls: "close close", from: 500 * ms, to: 600 * ms},
		},
		"an unsigned wrong signature that was a stray does no harm": {
			closes: replies(unsigned("签名错误"), closeSuccess()),
			want:   want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close close", from: 500 * ms, to: 600 * ms},
		},
		"an unsigned refusal of the configuration is tried twice, and then holds the merchant": {
			closes: replies(unsigned("商户号mch_id与appid不匹配")),
			want:   want{class: MerchantRefused, code: "UNSIGNED_FAIL", calls: "close close", from: 500 * ms, to: 600 * ms},
		},
		"one that was a stray does no harm": {
			closes: replies(unsigned("没有权限"), closeSuccess()),
			want:   want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close close", from: 500 * ms, to: 600 * ms},
		},
		"an unsigned refusal of the configuration says nothing of a close that was lost": {
			closes: replies(lost, unsigned("appid不存在")), queries: replies(state("CLOSED")),
			want: want{class: Closed, code: "CLOSED", by: "orderquery", safe: true, calls: "close close query"},
		},
		"an unsigned missing parameter concludes nothing, after one call": {
			closes: replies(unsigned("缺少参数")), queries: replies(unsigned("缺少参数")),
			want: want{class: Temporary, code: "UNSIGNED_FAIL", calls: "close"},
		},
		"so does an input source that cannot be mapped": {
			closes: replies(unsigned("输入源“/body/xml/mch_id”映射到字段“商户号”字符串规则校验失败")),
			want:   want{class: Temporary, code: "UNSIGNED_FAIL", calls: "close"},
		},
		"an unsigned rate limit waits 5 s": {
			closes: replies(unsigned("频率限制"), closeSuccess()),
			want:   want{class: Closed, code: "SUCCESS", by: "closeorder", safe: true, calls: "close close", from: 5 * time.Second, to: 6 * time.Second},
		},
		"a gateway that never answers is no answer": {
			closes: replies(lost), queries: replies(lost),
			want: want{class: NoAnswer, code: "CONNECTION_LOST", from: 14 * time.Second, to: 31 * time.Second},
		},
		"a gateway that hangs times out": {
			closes: replies(after(time.Hour, closeSuccess())), queries: replies(after(time.Hour, state("CLOSED"))),
			want: want{class: NoAnswer, code: "TIMEOUT", from: 20 * time.Second, to: 45 * time.Second},
		},
		"an unknown merchant fails without a call": {
			order: func(o *Order) { o.MchID = "nobody" },
			want:  want{class: Failed, code: "UNKNOWN_MERCHANT"},
		},
		"an order that cannot be sent fails without a call": {
			order: func(o *Order) { o.OutTradeNo = "bad\x00" },
			want:  want{class: Failed, code: "INVALID_REQUEST"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			inBubble(t, closesAndQueries(tt.closes, tt.queries), tt.config, func(t *testing.T, c *Closer, g *gateway) {
				o := order()
				if tt.order != nil {
					tt.order(&o)
				}
				start := time.Now()
				v := c.Close(t.Context(), o)
				took := time.Since(start)
				w := tt.want
				if v.Class != w.class || v.Code != w.code || v.ConfirmedBy != w.by || v.SafeToReissue != w.safe {
					t.Errorf("got %v %s by %q safe %v (%s), want %+v", v.Class, v.Code, v.ConfirmedBy, v.SafeToReissue, v.Message, w)
				}
				if got := g.sequence(); w.calls != "" && got != w.calls {
					t.Errorf("calls: %s\nwant:  %s", got, w.calls)
				}
				if took < w.from || w.to > 0 && took > w.to {
					t.Errorf("took %v, want %v to %v", took, w.from, w.to)
				}
				if v.Calls != len(g.seen()) {
					t.Errorf("counted %d calls, the gateway saw %d", v.Calls, len(g.seen()))
				}
				if v.Message == "" {
					t.Error("no message")
				}
				if v.Class == Paid && v.ConfirmedBy == "orderquery" && w.calls != "close query query" &&
					(v.Gateway.TransactionID != "4200001" || v.Gateway.TotalFee != 888 || v.Gateway.TimeEnd != "20260102030405") {
					t.Errorf("paid without its transaction: %+v", v.Gateway)
				}
				if v.Class == MerchantRefused && v.Scope.MchID != "1900000109" {
					t.Errorf("holds %+v", v.Scope)
				}
			})
		})
	}
}

func TestEachAttemptIsSignedAnew(t *testing.T) {
	inBubble(t, script(code("SYSTEMERROR"), code("SYSTEMERROR"), closeSuccess()), nil, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		c.Close(t.Context(), order())
		nonces := map[string]bool{}
		for _, call := range g.seen() {
			nonces[call.got["nonce_str"]] = true
			if err := signing.Verify(call.got, g.m.Keys[0], signing.MD5); err != nil {
				t.Errorf("request %v: %v", call.got, err)
			}
			if n := len(call.got["nonce_str"]); n != 32 {
				t.Errorf("nonce of %d bytes", n)
			}
		}
		if len(nonces) != 3 {
			t.Errorf("%d nonces for 3 attempts", len(nonces))
		}
	})
}

func TestYoungOrderSaysWhenToComeBack(t *testing.T) {
	inBubble(t, script(code("ORDERNOTEXIST")), nil, func(t *testing.T, c *Closer, _ *gateway) {
		o := order()
		o.CreatedAt = time.Now().Add(-10 * time.Second)
		if v := c.Close(t.Context(), o); v.RetryAfter != 50*time.Second {
			t.Errorf("come back after %v (%v), want 50s", v.RetryAfter, v.Class)
		}
		time.Sleep(50 * time.Second)
		if v := c.Close(t.Context(), o); v.Class != Closed || !v.SafeToReissue {
			t.Errorf("after that: %+v", v)
		}
	})
}

// What counts is how old the order was when the call was made: its create call
// can arrive between that and the answer, or while a query is asked again.
func TestTheAgeOfAnOrderIsThatOfTheCall(t *testing.T) {
	for sentence, tt := range map[string]struct {
		age             time.Duration
		closes, queries []reply
		class           Class
		calls           string // the first ones
	}{
		"a close of a young order whose queries fail until it is settled": {57 * time.Second, replies(closeSuccess()), replies(reply{status: 502}), Closed, "close query query query query close"},
		"a query that found nothing while it was young":                   {59500 * time.Millisecond, replies(code("ORDERNOTEXIST")), replies(after(1500*time.Millisecond, code("ORDERNOTEXIST"))), Temporary, "close query"},
		"a close of a young order with a slow answer":                     {55 * time.Second, replies(after(6*time.Second, closeSuccess())), replies(state("CLOSED")), Closed, "close query"},
	} {
		t.Run(sentence, func(t *testing.T) {
			inBubble(t, closesAndQueries(tt.closes, tt.queries), nil, func(t *testing.T, c *Closer, g *gateway) {
				o := order()
				o.CreatedAt = time.Now().Add(-tt.age)
				v := c.Close(t.Context(), o)
				if v.Class != tt.class || v.RetryAfter < 0 {
					t.Errorf("got %+v", v)
				}
				if got := g.sequence(); !strings.HasPrefix(got, tt.calls) {
					t.Errorf("calls: %s, want first: %s", got, tt.calls)
				}
			})
		})
	}
}

// A signed ORDERPAID is not forgotten over a later answer that says less.
func TestPaidIsNotForgotten(t *testing.T) {
	for _, query := range []reply{state("CLOSED"), code("ORDERNOTEXIST")} {
		inBubble(t, closesAndQueries(replies(code("ORDERPAID"), code("SYSTEMERROR"), code("ORDERCLOSED")), replies(query)), nil, func(t *testing.T, c *Closer, g *gateway) {
			c.cfg.Confirm = ConfirmAlways
			if v := c.Close(t.Context(), order()); v.Class != Temporary || v.SafeToReissue {
				t.Errorf("got %+v", v)
			}
		})
	}
}

// No call is begun after the budget, whatever the merchant's rate.
func TestTheRateDoesNotStretchTheBudget(t *testing.T) {
	inBubble(t, script(code("SYSTEMERROR")), func(c *Config, g *gateway) { g.m.Rate = 0.01 }, func(t *testing.T, c *Closer, g *gateway) {
		start := time.Now()
		v := c.Close(t.Context(), order())
		if took := time.Since(start); took > c.cfg.Budget || v.Calls != 1 || v.Class != Temporary || !v.Starved {
			t.Errorf("%+v after %v", v, took)
		}
	})
}

// nudged is a Place that gives the place back later than it was asked to.
type nudged struct {
	late  time.Duration
	rests []bool // for each, whether a call was made before
}

func (n *nudged) Rest(ctx context.Context, d time.Duration, called bool) error {
	n.rests = append(n.rests, called)
	return sleep(ctx, d+n.late)
}

// A rest says what for: the first call, which the merchant's rate lets wait, or another one.
func TestARestSaysWhetherACallWasMade(t *testing.T) {
	inBubble(t, script(code("SYSTEMERROR"), closeSuccess()), func(c *Config, g *gateway) {
		g.m.Rate, c.Confirm = 1, ConfirmNever
		c.Observe = func(_ context.Context, a Attempt) {
			if a.Order.Place != nil {
				t.Error("an observer gets the caller's place")
			}
		}
	}, func(t *testing.T, c *Closer, g *gateway) {
		place := new(nudged)
		o := order()
		c.Close(t.Context(), o) // uses the rate up
		o.Place = place
		v := c.Close(t.Context(), o)
		o.Place = nil
		if v.Class != Closed || !slices.Equal(place.rests, []bool{false}) {
			t.Errorf("%v %s after the rests %v", v.Class, v.Code, place.rests)
		}
	})
}

// No call is begun after the budget, however late the caller's place is free again.
func TestALateRestDoesNotStretchTheBudget(t *testing.T) {
	for sentence, tt := range map[string]struct {
		close, query reply
	}{
		"between two closes":  {close: code("SYSTEMERROR")},
		"between two queries": {close: closeSuccess(), query: code("SYSTEMERROR")},
	} {
		t.Run(sentence, func(t *testing.T) {
			answer := func(c call, _ int) reply {
				if c.call == CallQuery {
					return tt.query
				}
				return tt.close
			}
			inBubble(t, answer, func(cfg *Config, _ *gateway) {
				cfg.Confirm = ConfirmAlways
			}, func(t *testing.T, c *Closer, g *gateway) {
				place := &nudged{late: time.Minute}
				o := order()
				o.Place = place
				start := time.Now()
				v := c.Close(t.Context(), o)
				if ago := v.LastCall.Sub(start); ago > c.cfg.Budget || !slices.Equal(place.rests, []bool{true}) || !v.Starved {
					t.Errorf("%+v, the last call began after %v", v, ago)
				}
			})
		})
	}
}

func TestInterrupted(t *testing.T) {
	for sentence, tt := range map[string]struct {
		answer func(call, int) reply
		after  time.Duration
		calls  int
	}{
		"before the first call": {script(closeSuccess()), 0, 0},
		"during a call":         {script(after(time.Minute, closeSuccess())), time.Second, 1},
		"during a pause":        {script(code("FREQUENCY_LIMITED")), time.Second, 1},
		"between queries":       {closesAndQueries(replies(closeSuccess()), replies(state("NOTPAY"))), 700 * time.Millisecond, 3},
	} {
		t.Run(sentence, func(t *testing.T) {
			inBubble(t, tt.answer, nil, func(t *testing.T, c *Closer, g *gateway) {
				cause := errors.New("the partition was lost")
				ctx, cancel := context.WithCancelCause(t.Context())
				if tt.after == 0 {
					cancel(cause)
				} else {
					time.AfterFunc(tt.after, func() { cancel(cause) })
				}
				o := order()
				o.CreatedAt = time.Time{}
				start := time.Now()
				v := c.Close(ctx, o)
				if v.Class != Interrupted || v.SafeToReissue || v.ConfirmedBy != "" {
					t.Errorf("got %+v", v)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("came back after %v, want %v", took, tt.after)
				}
				if v.Calls != tt.calls {
					t.Errorf("%d calls, want %d", v.Calls, tt.calls)
				}
				cancel(nil)
			})
		})
	}
}

// A host that answered with what proves nothing is not away: a forged reply
// must not look like an outage.
func TestNoAnswerSaysWhetherTheHostDidAnswer(t *testing.T) {
	foreign := closeSuccess()
	foreign.fields["mch_id"] = "1900000999"
	forged := closeSuccess()
	forged.key = "ffffffffffffffffffffffffffffffff"
	for sentence, tt := range map[string]struct {
		reply    reply
		code     Failure
		unsigned bool
		verified bool // the signature alone
	}{
		"a forged reply":              {forged, FailSignature, true, false},
		"a reply without a signature": {reply{raw: "<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code></xml>"}, FailUnsigned, true, false},
		"one about somebody else":     {foreign, FailIdentity, true, true},
		"one that says nothing":       {says(), FailIncomplete, true, true},
		"a page in place of a reply":  {reply{raw: "<html>"}, FailFormat, false, false},
		"a bad gateway":               {reply{status: 502}, FailStatus, false, false},
		"no reply":                    {reply{}, FailLost, false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			observe := func(cfg *Config, _ *gateway) {
				cfg.Observe = func(_ context.Context, a Attempt) {
					if a.Verified != tt.verified {
						t.Errorf("attempt %d: verified %v", a.Number, a.Verified)
					}
				}
			}
			inBubble(t, script(tt.reply), observe, func(t *testing.T, c *Closer, _ *gateway) {
				if v := c.Close(t.Context(), order()); v.Class != NoAnswer || v.Code != string(tt.code) || v.Unsigned != tt.unsigned {
					t.Errorf("%v %s, unsigned %v", v.Class, v.Code, v.Unsigned)
				}
			})
		})
	}
}

func TestKeyChange(t *testing.T) {
	const next = "ffffffffffffffffffffffffffffffff"
	inBubble(t, nil, nil, func(t *testing.T, c *Closer, g *gateway) {
		var mu sync.Mutex
		valid := testKey // what the gateway signs and checks with
		g.answer = func(c call, _ int) reply {
			mu.Lock()
			defer mu.Unlock()
			if signing.Verify(c.got, mustKey(t, valid), signing.MD5) != nil {
				return unsigned("签名错误")
			}
			r := closeSuccess()
			r.key = valid
			return r
		}
		m := g.m
		m.Keys = []signing.Key{mustKey(t, next), mustKey(t, testKey)}
		c.cfg.Merchants = MerchantMap{m.MchID: m}

		closes := func(attempts int) {
			t.Helper()
			start := time.Now()
			v := c.Close(t.Context(), order())
			if v.Class != Closed || v.Calls != attempts {
				t.Errorf("got %v after %d calls, want closed after %d", v.Class, v.Calls, attempts)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("a key change made it wait for %v", took)
			}
		}
		closes(2) // the new key is not valid yet
		closes(1) // and that is remembered
		mu.Lock()
		valid = next
		mu.Unlock()
		closes(2) // now it is
		closes(1)
		m.Keys = m.Keys[:1] // the file names the new key alone
		c.cfg.Merchants = MerchantMap{m.MchID: m}
		closes(1)
	})
}

// A reply that is ours and signed shows that the gateway has taken the key, also
// where it lacks its result.
func TestAnIncompleteReplyShowsWhichKeyWorks(t *testing.T) {
	change := func(cfg *Config, _ *gateway) { cfg.Confirm = ConfirmNever }
	inBubble(t, nil, change, func(t *testing.T, c *Closer, g *gateway) {
		taken := 0
		g.answer = func(c call, _ int) reply {
			r := closeSuccess()
			switch {
			case signing.Verify(c.got, mustKey(t, testKey), signing.MD5) != nil:
				return unsigned("签名错误")
			case taken == 0:
				r = says()
			}
			taken++
			r.key = testKey
			return r
		}
		m := g.m
		m.Keys = []signing.Key{mustKey(t, "ffffffffffffffffffffffffffffffff"), mustKey(t, testKey)}
		c.cfg.Merchants = MerchantMap{m.MchID: m}
		if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 3 {
			t.Errorf("got %v after %d calls, want closed after 3: the wrong key once, the right one twice", v.Class, v.Calls)
		}
	})
}

func TestRepliesCountUnderEitherKey(t *testing.T) {
	const other = "ffffffffffffffffffffffffffffffff"
	inBubble(t, func(call, int) reply { r := closeSuccess(); r.key = other; return r }, nil, func(t *testing.T, c *Closer, g *gateway) {
		if v := c.Close(t.Context(), order()); v.Class != NoAnswer || v.Code != "BAD_SIGNATURE" {
			t.Errorf("with one key: %v %s", v.Class, v.Code)
		}
		m := g.m
		m.Keys = append(m.Keys[:1:1], mustKey(t, other))
		c.cfg.Merchants = MerchantMap{m.MchID: m}
		if v := c.Close(t.Context(), order()); v.Class != Closed {
			t.Errorf("with both: %v %s", v.Class, v.Code)
		}
	})
}

func TestInstitutionModeAndHMAC(t *testing.T) {
	change := func(cfg *Config, g *gateway) {
		g.m = Merchant{
			MchID: "1900000111", AppID: "wxinstitution", Institution: true, SubAppID: "wxsub",
			Keys: g.m.Keys, SignType: signing.HMACSHA256,
		}
	}
	inBubble(t, closesAndQueries(replies(closeSuccess()), replies(state("CLOSED"))), change, func(t *testing.T, c *Closer, g *gateway) {
		v := c.Close(t.Context(), Order{MchID: "1900000111", OutTradeNo: "T1"})
		if v.Class != Failed || v.Code != CodeInvalidRequest || v.Calls != 0 {
			t.Errorf("without sub_mch_id: %+v", v)
		}
		v = c.Close(t.Context(), Order{MchID: "1900000111", SubMchID: "1900000112", OutTradeNo: "T1"})
		if v.Class != Closed || !v.SafeToReissue {
			t.Errorf("got %+v", v)
		}
		for _, call := range g.seen() {
			for name, want := range map[string]string{
				"mch_id": "1900000111", "sub_mch_id": "1900000112", "appid": "wxinstitution",
				"sub_appid": "wxsub", "out_trade_no": "T1", "sign_type": "HMAC-SHA256",
			} {
				if call.got[name] != want {
					t.Errorf("%s: %s is %q, want %q", call.call, name, call.got[name], want)
				}
			}
			if err := signing.Verify(call.got, g.m.Keys[0], signing.HMACSHA256); err != nil {
				t.Error(err)
			}
		}
	})
}

// The observer sees all there is to see, once, in order, and no secret.
func TestObserver(t *testing.T) {
	var seen []Attempt
	change := func(cfg *Config, _ *gateway) {
		cfg.Observe = func(_ context.Context, a Attempt) { seen = append(seen, a) }
	}
	inBubble(t, closesAndQueries(
		replies(reply{raw: "<html>busy</html>"}, code("FREQUENCY_LIMITED"), closeSuccess()),
		replies(state("NOTPAY"), state("CLOSED")),
	), change, func(t *testing.T, c *Closer, g *gateway) {
		v := c.Close(t.Context(), order())
		if v.Class != Closed || len(seen) != v.Calls {
			t.Fatalf("%v after %d calls, %d were seen", v.Class, v.Calls, len(seen))
		}
		for i, want := range []struct {
			call  Call
			class Class
			code  string
			wait  time.Duration
		}{
			{CallClose, NoAnswer, "UNREADABLE_REPLY", 500 * time.Millisecond},
			{CallClose, Temporary, "FREQUENCY_LIMITED", 5500 * time.Millisecond},
			{CallQuery, Temporary, "NOTPAY", 0},
			{CallClose, Closed, "SUCCESS", 0},
			{CallQuery, Closed, "CLOSED", 0},
		} {
			a := seen[i]
			if a.Call != want.call || a.Class != want.class || a.Code != want.code || a.Wait != want.wait || a.Number != i+1 {
				t.Errorf("attempt %d: %s %v %s, then %v; want %+v", i+1, a.Call, a.Class, a.Code, a.Wait, want)
			}
			sign := g.seen()[i].got["sign"]
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				if s := fmt.Sprintf(verb, a); contains(s, testKey) || contains(s, sign) {
					t.Errorf("attempt %d shows a secret: %s", i+1, s)
				}
			}
			if s := a.Signed(); !contains(s, "out_trade_no=T1") || !contains(s, "&key=******") {
				t.Errorf("attempt %d signed %q", i+1, s)
			}
			if a.Reason == "" || a.Host != "http://main.test" || a.Reply["sign"] != "" {
				t.Errorf("attempt %d: %+v", i+1, a)
			}
		}
		if seen[0].Body != "<html>busy</html>" || !seen[0].Failure.hostDown() || seen[1].Failure.hostDown() {
			t.Errorf("attempts %+v", seen[:2])
		}
	})
}

// Whatever a gateway sends back of our signature, nobody is shown it.
func TestAnEchoedSignatureIsNotShown(t *testing.T) {
	for sentence, body := range map[string]string{
		"in a message":             "<xml><return_code>FAIL</return_code><return_msg>your sign SIGN is wrong</return_msg></xml>",
		"in a field of its own":    "<xml><return_code>FAIL</return_code><Sign>SIGN</Sign></xml>",
		"in the name of a field":   "<xml><return_code>FAIL</return_code><SIGN>x</SIGN></xml>",
		"in an element twice":      "<xml><SIGN>1</SIGN><SIGN>2</SIGN></xml>",
		"in broken XML":            "<SIGN></QSIGN>",
		"as the encoding":          `<?xml version="1.0" encoding="SIGN"?><xml></xml>`,
		"as the merchant":          "<xml><return_code>SUCCESS</return_code><mch_id>SIGN</mch_id></xml>",
		"as return_code":           "<xml><return_code>SIGN</return_code></xml>",
		"in a page":                "<html>SIGN</html>",
		"in a field that is added": "<xml><return_code>FAIL</return_code><more>sign=SIGN&amp;x</more></xml>",
	} {
		t.Run(sentence, func(t *testing.T) {
			var mu sync.Mutex
			var shown []string
			var signs []string
			answer := func(c call, _ int) reply {
				mu.Lock()
				defer mu.Unlock()
				signs = append(signs, c.got["sign"])
				return reply{raw: strings.ReplaceAll(body, "SIGN", c.got["sign"])}
			}
			observe := func(c *Config, _ *gateway) {
				c.Observe = func(_ context.Context, a Attempt) {
					mu.Lock()
					defer mu.Unlock()
					shown = append(shown, fmt.Sprintf("%+v %v", a, a.Err))
				}
			}
			inBubble(t, answer, observe, func(t *testing.T, c *Closer, _ *gateway) {
				shown = append(shown, fmt.Sprintf("%+v", c.Close(t.Context(), order())))
			})
			for _, s := range shown {
				for _, sign := range signs {
					if strings.Contains(s, sign) {
						t.Fatalf("shows the signature %s: %s", sign, s)
					}
				}
			}
		})
	}
}

// An order that was tried before is asked about as if this run had lost a call.
func TestAnOrderThatWasTriedBeforeIsAskedAbout(t *testing.T) {
	inBubble(t, closesAndQueries(replies(closeSuccess()), replies(state("CLOSED"))), nil, func(t *testing.T, c *Closer, g *gateway) {
		o := order()
		o.Tried = true
		if v := c.Close(t.Context(), o); v.ConfirmedBy != ConfirmedByOrderQuery || g.sequence() != "close query" {
			t.Errorf("%s: %+v", g.sequence(), v)
		}
	})
}

// The host that is named is the one whose answer the verdict rests on.
func TestTheHostOfAVerdictIsTheOneThatAnswered(t *testing.T) {
	answer := func(c call, _ int) reply {
		if c.host == "main.test" {
			return reply{} // hangs up
		}
		if c.call == CallQuery {
			return reply{status: 502}
		}
		return closeSuccess()
	}
	inBubble(t, answer, twoHosts, func(t *testing.T, c *Closer, _ *gateway) {
		if v := c.Close(t.Context(), order()); v.Class != Closed || v.Gateway.Host != "http://backup.test" {
			t.Errorf("got %+v", v)
		}
	})
}

// A reply that is nearly right is shown to observers without its signature.
func TestExcerptShowsNoSignature(t *testing.T) {
	for _, f := range replyFiles(t) {
		fields, err := ReadFields(f.body)
		if err == nil && fields["sign"] == "" {
			continue
		}
		got := excerpt(f.body)
		if hexRun.MatchString(got) || len(got) > 256 || !utf8.ValidString(got) {
			t.Errorf("%s is shown as %q", f.name, got)
		}
	}
}

func TestWhatCanNeverBeSentIsRefusedWithoutACall(t *testing.T) {
	m := direct(t)
	c, err := New(Config{Hosts: []string{"http://127.0.0.1:1"}, Merchants: MerchantMap{m.MchID: m}})
	if err != nil {
		t.Fatal(err)
	}
	unknown, unsendable := order(), order()
	unknown.MchID = "404"
	unsendable.OutTradeNo = "T\x01"
	for _, tt := range []struct {
		sentence string
		order    Order
		code     string
	}{
		{"an order that can be sent is not refused", order(), ""},
		{"an unknown merchant is", unknown, CodeUnknownMerchant},
		{"so is a number that XML cannot carry", unsendable, CodeInvalidRequest},
	} {
		v, refused := c.Refuse(tt.order)
		if refused != (tt.code != "") || v.Code != tt.code || refused && v.Class != Failed {
			t.Errorf("%s: got %v, %+v", tt.sentence, refused, v)
		}
	}
}

// Whoever reads a log line, an outcome or --explain is told what the gateway
// said, and never a signature.
func TestTheGatewaysWordsAreInTheMessage(t *testing.T) {
	refusedFor := func(c, des string) reply {
		return says("result_code", "FAIL", "err_code", c, "err_code_des", des)
	}
	for sentence, tt := range map[string]struct {
		answer     reply
		words      string
		class      Class
		unworkable bool
	}{
		"a refusal of the configuration":   {unsigned("appid和mch_id不匹配，请检查后再试"), "appid和mch_id不匹配，请检查后再试", MerchantRefused, false},
		"one that names our appid":         {unsigned("invalid appid(wx8888888888888888)"), "invalid appid(wx8888888888888888)", MerchantRefused, false},
		"one that may show a signature":    {unsigned("mch_id参数格式错误 59FF1DF214B2D279A0EA7077C54DD95D"), `mch_id参数格式错误 ******"`, MerchantRefused, false},
		"a wrong signature":                {unsigned("签名错误，请检查后再试"), "签名错误，请检查后再试", MerchantRefused, false},
		"a rate limit":                     {unsigned("频率限制"), "频率限制", Temporary, false},
		"a request that cannot work":       {unsigned("无法将输入源“/body/xml/appid”映射到目标字段“公众号ID”中"), "无法将输入源“/body/xml/appid”映射到目标字段“公众号ID”中", Temporary, true},
		"lines and what steers a terminal": {unsigned("没有权限\n\u202e请 \u200b 检查"), `"没有权限 请 检查"`, MerchantRefused, false},
		"words that mean nothing to us":    {unsigned("whatever"), "whatever", Temporary, false},
		"a signed refusal of the merchant": {refusedFor("NOAUTH", "商户无此接口权限"), "商户无此接口权限", MerchantRefused, false},
		"a signed refusal of the request":  {refusedFor("PARAM_ERROR", "参数错误:out_trade_no"), "参数错误:out_trade_no", Failed, false},
		"an error of the gateway":          {refusedFor("SYSTEMERROR", "系统超时"), "系统超时", Temporary, false},
		"a code that nobody knows":         {refusedFor("BRAND_NEW", "新的错误"), "新的错误", Failed, false},
		"more words than anybody reads":    {unsigned("没有权限" + strings.Repeat("！", 5000)), "没有权限！", MerchantRefused, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			var seen []Attempt
			observe := func(c *Config, _ *gateway) {
				c.Observe = func(_ context.Context, a Attempt) { seen = append(seen, a) }
			}
			queries := replies(tt.answer)
			if tt.class == Failed {
				queries = replies(state("NOTPAY"))
			}
			inBubble(t, closesAndQueries(replies(tt.answer), queries), observe, func(t *testing.T, c *Closer, _ *gateway) {
				v := c.Close(t.Context(), order())
				if v.Class != tt.class || v.Unworkable != tt.unworkable || !strings.Contains(v.Message, tt.words) {
					t.Errorf("got %v, unworkable %v: %s\nwant %v, %v, with %s", v.Class, v.Unworkable, v.Message, tt.class, tt.unworkable, tt.words)
				}
				if strings.Contains(v.Message, "59FF1DF214B2D279A0EA7077C54DD95D") || len(v.Message) > 1400 || strings.ContainsAny(v.Message, "\n\u202e") {
					t.Errorf("message %q", v.Message)
				}
				if !strings.Contains(seen[0].Reason, tt.words) {
					t.Errorf("an observer is told: %s", seen[0].Reason)
				}
			})
		})
	}
}
