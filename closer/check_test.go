package closer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

func TestACheckSaysWhatTheGatewayThinksOfAMerchant(t *testing.T) {
	key := func(text string) signing.Key {
		k, err := signing.NewKey(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const wrong = "another-key-of-thirty-two-letters"
	direct := closer.Merchant{MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key(gatewaysim.DirectKey)}}
	with := func(change func(*closer.Merchant)) closer.Merchant {
		m := direct
		change(&m)
		return m
	}
	for _, tt := range []struct {
		sentence string
		merchant closer.Merchant
		gateway  func(*gatewaysim.Simulator) http.Handler // nil: the simulator
		dead     bool                                     // nobody listens
		proven   bool
		class    closer.Class
		code     string // "" is not looked at
		key      int
	}{
		{sentence: "the right key is proven by a signed reply", merchant: direct, proven: true, code: "ORDERNOTEXIST", key: 1},
		{sentence: "so is the second of two keys, while one is changed", merchant: with(func(m *closer.Merchant) {
			m.Keys = []signing.Key{key(wrong), key(gatewaysim.DirectKey)}
		}), proven: true, key: 2},
		{sentence: "so is HMAC-SHA256", merchant: closer.Merchant{MchID: "1900000110", AppID: "wx8888888888888888", Keys: []signing.Key{key(gatewaysim.HMACKey)}, SignType: signing.HMACSHA256}, proven: true, key: 1},
		{sentence: "an institution with a sub_mch_id of its own", merchant: closer.Merchant{
			MchID: "1900000111", AppID: "wx8888888888888888", Institution: true, SubMchID: "1900000222", Keys: []signing.Key{key(gatewaysim.InstitutionKey)}}, proven: true, key: 1},
		{sentence: "a wrong key is refused", merchant: with(func(m *closer.Merchant) { m.Keys = []signing.Key{key(wrong)} }), class: closer.MerchantRefused},
		{sentence: "so is the wrong sign_type", merchant: closer.Merchant{MchID: "1900000110", AppID: "wx8888888888888888", Keys: []signing.Key{key(gatewaysim.HMACKey)}}, class: closer.MerchantRefused},
		{sentence: "a merchant that the gateway does not know", merchant: with(func(m *closer.Merchant) { m.MchID = "1900009999" }), class: closer.MerchantRefused},
		{sentence: "an appid that is not the merchant's", merchant: with(func(m *closer.Merchant) { m.AppID = "wx0000000000000000" }), class: closer.MerchantRefused},
		{sentence: "no permission", merchant: direct, gateway: func(s *gatewaysim.Simulator) http.Handler {
			if err := s.Refuse("1900000109", "NOAUTH"); err != nil {
				t.Fatal(err)
			}
			return s
		}, class: closer.MerchantRefused},
		{sentence: "no appid to ask with", merchant: with(func(m *closer.Merchant) { m.AppID = "" }), class: closer.Failed, code: closer.CodeInvalidRequest},
		{sentence: "a page in place of the gateway", merchant: direct, gateway: func(*gatewaysim.Simulator) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>Maintenance</html>") })
		}, class: closer.NoAnswer},
		{sentence: "a reply that somebody else has signed proves nothing", merchant: direct, gateway: func(*gatewaysim.Simulator) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "<xml><return_code>SUCCESS</return_code><result_code>FAIL</result_code><err_code>ORDERNOTEXIST</err_code><sign>0</sign></xml>")
			})
		}, class: closer.NoAnswer},
		{sentence: "an unsigned refusal of unknown words proves nothing", merchant: direct, gateway: func(*gatewaysim.Simulator) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "<xml><return_code>FAIL</return_code><return_msg>hm</return_msg></xml>")
			})
		}, class: closer.Temporary},
		{sentence: "silence", merchant: direct, gateway: func(*gatewaysim.Simulator) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // what is unread hides that the client has gone
				<-r.Context().Done()
			})
		}, class: closer.NoAnswer},
		{sentence: "nobody listens", merchant: direct, dead: true, class: closer.NoAnswer},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			sim, err := gatewaysim.New(gatewaysim.Config{})
			if err != nil {
				t.Fatal(err)
			}
			var handler http.Handler = sim
			if tt.gateway != nil {
				handler = tt.gateway(sim)
			}
			var closes atomic.Bool
			url := deadURL(t)
			if !tt.dead {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/pay/orderquery" {
						closes.Store(true)
					}
					handler.ServeHTTP(w, r)
				}))
				defer server.Close()
				url = server.URL
			}
			cl, err := closer.New(closer.Config{Merchants: closer.MerchantMap{tt.merchant.MchID: tt.merchant}, Hosts: []string{url}, AttemptTimeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.CloseIdleConnections()
			got := cl.Check(t.Context(), tt.merchant.MchID)
			if got.Proven != tt.proven || got.Class != tt.class || got.Key != tt.key || tt.code != "" && got.Code != tt.code || got.Code == "" || got.Reason == "" {
				t.Errorf("%+v", got)
			}
			if closes.Load() {
				t.Error("something else than orderquery was called")
			}
			if strings.Contains(got.Reason, wrong) || strings.Contains(got.Reason, gatewaysim.DirectKey) {
				t.Error("the reason holds a key")
			}
			if unknown := cl.Check(t.Context(), "nobody"); unknown.Code != closer.CodeUnknownMerchant {
				t.Errorf("a merchant that is not configured: %+v", unknown)
			}
		})
	}
	t.Run("a check that is given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cl, err := closer.New(closer.Config{Merchants: closer.MerchantMap{direct.MchID: direct}, Hosts: []string{deadURL(t)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := cl.Check(ctx, direct.MchID); got.Class != closer.Interrupted {
			t.Errorf("%+v", got)
		}
	})
}
