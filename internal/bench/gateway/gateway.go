// Package gateway is the other side of the benchmark's calls: a simulator of
// closeorder and orderquery that costs little, so that what is measured is the
// worker. It verifies what it is sent and signs what it answers, it keeps no
// order book, and it is slow or says no where it is told to. It knows nothing of
// Kafka.
package gateway

import (
	"bytes"
	"crypto/tls"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"time"

	"github.com/closeorder/closeorder/internal/bench/v2"
	"github.com/valyala/fasthttp"
)

// Config says how the gateway behaves. The zero value, with a Key, says SUCCESS
// to everything at once.
type Config struct {
	// Key is the API key of all merchants.
	Key v2.Key
	// Latency of every call.
	Latency time.Duration
	// SystemError is the share of closes that take effect and answer
	// SYSTEMERROR, drawn for each call; 0 to 1.
	SystemError float64
	// Paid and Closed are the shares of orders that answer ORDERPAID and
	// ORDERCLOSED whenever they are asked about; 0 to 1.
	Paid, Closed float64
	// Merchants are those that have troubles of their own, by mch_id.
	Merchants map[string]Trouble
}

// Trouble is what one merchant's calls meet, closes and queries alike.
type Trouble struct {
	// Latency takes the place of Config.Latency; 0 leaves that.
	Latency time.Duration
	// Code is the err_code of every answer; empty for none.
	Code string
}

// Server returns a server of the gateway, for HTTP/1.1. The caller serves it and
// shuts it down.
func Server(cfg Config) *fasthttp.Server {
	return &fasthttp.Server{Handler: cfg.answer, NoDefaultServerHeader: true, NoDefaultDate: true}
}

// Listen returns a listener on any free port of the loopback interface. With tls
// it speaks TLS, and root is the PEM of the certificate to trust.
func Listen(withTLS bool) (ln net.Listener, root []byte, err error) {
	ln, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil || !withTLS {
		return ln, nil, err
	}
	certificate, root, err := issue()
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certificate},
	}), root, nil
}

// request is what an answer needs of a request. It points into its body.
type request struct{ appid, mch, nonce, no []byte }

func (cfg Config) answer(ctx *fasthttp.RequestCtx) {
	var room [16]v2.Field
	fields, err := cfg.Key.Read(ctx.PostBody(), room[:0])
	if err != nil {
		// A program that signs wrong measures nothing: it must not look quick.
		ctx.SetStatusCode(fasthttp.StatusBadRequest)
		ctx.SetBodyString(err.Error())
		return
	}
	r := request{v2.Get(fields, "appid"), v2.Get(fields, "mch_id"), v2.Get(fields, "nonce_str"), v2.Get(fields, "out_trade_no")}
	trouble := cfg.Merchants[string(r.mch)]
	latency := cfg.Latency
	if trouble.Latency > 0 {
		latency = trouble.Latency
	}
	if latency > 0 {
		time.Sleep(latency)
	}
	code := trouble.Code
	if code == "" {
		code = cfg.codeOf(r.no)
	}
	query := bytes.HasSuffix(ctx.Path(), []byte("/orderquery"))
	if !query && trouble.Code == "" && cfg.SystemError > 0 && rand.Float64() < cfg.SystemError {
		code = "SYSTEMERROR"
	}
	ctx.SetContentType("text/xml")
	var out [1024]byte
	ctx.SetBody(cfg.Key.Append(out[:0], reply(r, code, query)))
}

// codeOf is the code of an order, the same for each call: empty, ORDERPAID or
// ORDERCLOSED.
func (cfg Config) codeOf(no []byte) string {
	if cfg.Paid+cfg.Closed == 0 {
		return ""
	}
	h := fnv.New32a()
	h.Write(no)
	switch share := float64(h.Sum32()%10_000) / 10_000; {
	case share < cfg.Paid:
		return "ORDERPAID"
	case share < cfg.Paid+cfg.Closed:
		return "ORDERCLOSED"
	}
	return ""
}

// reply is what is said: sorted, as v2 wants it. A query of an order that can be
// asked about knows its state in place of a code.
func reply(r request, code string, query bool) []v2.Field {
	state := ""
	if query {
		switch code {
		case "ORDERPAID":
			state, code = "SUCCESS", ""
		case "ORDERCLOSED", "":
			state, code = "CLOSED", ""
		}
	}
	fields := append(make([]v2.Field, 0, 10), v2.Field{Name: []byte("appid"), Value: r.appid})
	add := func(name, value string) { fields = append(fields, v2.Field{Name: []byte(name), Value: []byte(value)}) }
	if code != "" {
		add("err_code", code)
		add("err_code_des", code+" simulated")
	}
	fields = append(fields, v2.Field{Name: []byte("mch_id"), Value: r.mch}, v2.Field{Name: []byte("nonce_str"), Value: r.nonce})
	if state != "" {
		fields = append(fields, v2.Field{Name: []byte("out_trade_no"), Value: r.no})
	}
	if code != "" {
		add("result_code", "FAIL")
	} else {
		add("result_code", "SUCCESS")
	}
	add("return_code", "SUCCESS")
	add("return_msg", "OK")
	if state != "" {
		add("trade_state", state)
	}
	return fields
}
