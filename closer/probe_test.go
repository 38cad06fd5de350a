package closer_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

func TestProbeTellsWhetherTheGatewayAnswersAtAll(t *testing.T) {
	sim, err := gatewaysim.New(gatewaysim.Config{Merchants: gatewaysim.DefaultMerchants()})
	if err != nil {
		t.Fatal(err)
	}
	answering := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	for _, c := range []struct {
		sentence string
		gateway  http.Handler // nil: nobody listens
		key      string
		alive    bool
	}{
		{"a gateway that answers is alive", sim, gatewaysim.DirectKey, true},
		{"one that refuses our signature is alive", sim, "another-key-of-thirty-two-letters", true},
		{"an unsigned refusal is an answer", answering(200, "<xml><return_code>FAIL</return_code></xml>"), gatewaysim.DirectKey, true},
		{"a forged reply is an answer, if a bad one", answering(200, "<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code><sign>0</sign></xml>"), gatewaysim.DirectKey, true},
		{"a bad gateway is not", answering(502, "<html>Bad Gateway</html>"), gatewaysim.DirectKey, false},
		{"a page in its place is not", answering(200, "<html>Maintenance</html>"), gatewaysim.DirectKey, false},
		{"one that answers queries and no closes is not", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/pay/closeorder" {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			sim.ServeHTTP(w, r)
		}), gatewaysim.DirectKey, false},
		{"a host that refuses connections is not", nil, gatewaysim.DirectKey, false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			url := deadURL(t)
			if c.gateway != nil {
				server := httptest.NewServer(c.gateway)
				defer server.Close()
				url = server.URL
			}
			key, err := signing.NewKey(c.key)
			if err != nil {
				t.Fatal(err)
			}
			merchants := closer.MerchantMap{"1900000109": {MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key}}}
			cl, err := closer.New(closer.Config{Merchants: merchants, Hosts: []string{url}})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.CloseIdleConnections()
			if got := cl.Probe(t.Context(), closer.Order{MchID: "1900000109", OutTradeNo: "T1"}); got != c.alive {
				t.Errorf("alive: %v, want %v", got, c.alive)
			}
			if cl.Probe(t.Context(), closer.Order{MchID: "nobody", OutTradeNo: "T1"}) {
				t.Error("alive for a merchant that is not configured")
			}
		})
	}
}

// deadURL is the address of a port that was open a moment ago.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}
