package exchange_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/closeorder/closeorder/internal/bench/exchange"
	"github.com/closeorder/closeorder/internal/bench/gateway"
	"github.com/closeorder/closeorder/internal/bench/v2"
)

const key v2.Key = "0123456789abcdef0123456789abcdef"

func closeOrder() []byte {
	return key.Append(nil, []v2.Field{
		{Name: []byte("appid"), Value: []byte("wx8888888888888888")}, {Name: []byte("mch_id"), Value: []byte("1900000109")},
		{Name: []byte("nonce_str"), Value: v2.AppendNonce(nil)}, {Name: []byte("out_trade_no"), Value: []byte("A00000000001")},
	})
}

// serve runs a gateway in this process.
func serve(t testing.TB, secure bool) exchange.Target {
	ln, roots, err := gateway.Listen(secure)
	if err != nil {
		t.Fatal(err)
	}
	server := gateway.Server(gateway.Config{Key: key})
	go server.Serve(ln)
	t.Cleanup(func() { ln.Close() })
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return exchange.Target{URL: scheme + ln.Addr().String() + "/pay/closeorder", Roots: roots, Conns: 64}
}

func TestEveryClientBringsTheReply(t *testing.T) {
	for _, secure := range []bool{false, true} {
		target := serve(t, secure)
		for _, c := range exchange.Clients {
			post, err := c.New(target)
			if err != nil {
				t.Fatal(err)
			}
			var callers sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					for range 3 { // the second one on a kept connection
						reply, err := post(t.Context(), closeOrder(), []byte("before"))
						if err != nil {
							t.Errorf("%s, TLS %v: %v", c.Name, secure, err)
							return
						}
						reply, appended := bytes.CutPrefix(reply, []byte("before"))
						fields, err := key.Read(reply, nil)
						if !appended || err != nil || string(v2.Get(fields, "result_code")) != "SUCCESS" {
							t.Errorf("%s, TLS %v: %q, %v", c.Name, secure, reply, err)
						}
					}
				})
			}
			callers.Wait()
		}
	}
}

func TestARefusalIsAnError(t *testing.T) {
	target := serve(t, false)
	for _, c := range exchange.Clients {
		post, err := c.New(target)
		if err != nil {
			t.Fatal(err)
		}
		if reply, err := post(t.Context(), []byte("<xml></xml>"), nil); err == nil {
			t.Errorf("%s: an unsigned request was answered %q", c.Name, reply)
		}
	}
}

func TestACertificateThatNobodyTrustsIsAnError(t *testing.T) {
	target := serve(t, true)
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer other.Close()
	target.Roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	for _, c := range exchange.Clients {
		post, err := c.New(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := post(t.Context(), closeOrder(), nil); err == nil {
			t.Errorf("%s: went on without trust", c.Name)
		}
	}
}

// BenchmarkExchange is one call at a time for each processor and goroutine of
// 64, gateway and client in one process: what is left out of one is left out of
// all. "make bench ARGS='-scenarios floors'" has them apart.
func BenchmarkExchange(b *testing.B) {
	for _, secure := range []bool{false, true} {
		target := serve(b, secure)
		over := map[bool]string{false: "http", true: "tls"}[secure]
		for _, c := range exchange.Clients {
			b.Run(over+"/"+c.Name, func(b *testing.B) {
				post, err := c.New(target)
				if err != nil {
					b.Fatal(err)
				}
				body := closeOrder()
				b.SetParallelism(32)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					var in []byte
					for pb.Next() {
						if in, err = post(context.Background(), body, in[:0]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
