package gatewaysim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/closeorder/closeorder/signing"
)

func newSimulator(t testing.TB, cfg Config) *Simulator {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serveVirtual serves s on an in-memory network inside a synctest bubble and
// returns a client of it. What it returns must be called before the bubble
// ends.
func serveVirtual(t testing.TB, s *Simulator) (c *client, stop func()) {
	t.Helper()
	network := new(kfake.VirtualNetwork)
	ln, err := network.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	c = newClient("http://127.0.0.1:80", network.DialContext)
	return c, func() {
		c.http.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// serveTCP serves s on the loopback interface until the test ends.
func serveTCP(t testing.TB, s *Simulator) *client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	c := newClient("http://"+ln.Addr().String(), nil)
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// client is a careful client of the gateway: it says of every reply what it
// proves. It is the first of DefaultMerchants.
type client struct {
	base     string
	http     *http.Client
	merchant Merchant
	signType signing.Type
	nonce    *atomic.Int64
}

func newClient(base string, dial func(context.Context, string, string) (net.Conn, error)) *client {
	return &client{
		base: base, merchant: DefaultMerchants()[0], signType: signing.MD5, nonce: new(atomic.Int64),
		http: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{DialContext: dial, IdleConnTimeout: 7 * time.Second, MaxIdleConnsPerHost: 64},
		},
	}
}

// as is the same client for another merchant.
func (c *client) as(m Merchant) *client {
	other := *c
	other.merchant = m
	if m.SignType != "" {
		other.signType = m.SignType
	}
	return &other
}

// fields are those of a request for an order, with the changes, signed.
// A change to "" takes a field out.
func (c *client) fields(outTradeNo string, changes ...string) map[string]string {
	f := map[string]string{
		"appid": c.merchant.AppID, "mch_id": c.merchant.MchID, "out_trade_no": outTradeNo,
		"nonce_str": fmt.Sprint("nonce", c.nonce.Add(1)),
	}
	if c.signType != signing.MD5 {
		f["sign_type"] = string(c.signType)
	}
	if c.merchant.Institution {
		f["sub_mch_id"] = "1900000211"
	}
	for i := 0; i < len(changes); i += 2 {
		f[changes[i]] = changes[i+1]
	}
	if f["sign"] == "" {
		f["sign"] = signing.Sign(f, c.merchant.Key, c.signType)
	}
	return f
}

func document(fields map[string]string) []byte {
	b := []byte("<xml>")
	for name, value := range fields {
		if value != "" {
			b = appendField(b, name, value)
		}
	}
	return append(b, "</xml>"...)
}

func (c *client) close(outTradeNo string) string { return c.call(CloseOrder, c.fields(outTradeNo)) }
func (c *client) query(outTradeNo string) string { return c.call(OrderQuery, c.fields(outTradeNo)) }
func (c *client) create(outTradeNo string) string {
	return c.call(UnifiedOrder, c.fields(outTradeNo, "body", "tea", "total_fee", "101",
		"spbill_create_ip", "127.0.0.1", "notify_url", "https://shop.example/paid", "trade_type", "NATIVE"))
}

// call sends fields and says what came back: SUCCESS, an err_code or a
// trade_state where the reply proves it.
func (c *client) call(op Op, fields map[string]string) string {
	got, said := c.post(context.Background(), op, document(fields))
	if said != "" {
		return said
	}
	return c.judge(op, fields, got)
}

// post returns the fields of the reply, or says why there are none.
func (c *client) post(ctx context.Context, op Op, body []byte) (map[string]string, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/pay/"+string(op), bytes.NewReader(body))
	if err != nil {
		return nil, err.Error()
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return nil, "time-out"
	case err != nil:
		return nil, "no reply"
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10+1))
	switch {
	case isTimeout(err):
		return nil, "time-out in the middle"
	case err != nil:
		return nil, "cut in the middle"
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Sprint("status ", resp.StatusCode)
	case len(text) == 0:
		return nil, "nothing: empty"
	case resp.Header.Get("Content-Type") != contentType:
		return nil, "nothing: " + resp.Header.Get("Content-Type")
	case len(text) > 64<<10:
		return nil, "nothing: too big"
	}
	fields, err := parseFields(text)
	if err != nil {
		return nil, "nothing: " + err.Error()
	}
	return fields, ""
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (c *client) judge(op Op, sent, got map[string]string) string {
	if got["return_code"] != "SUCCESS" {
		if got["sign"] != "" {
			return "FAIL with a signature"
		}
		return "nothing: unsigned FAIL, " + got["return_msg"]
	}
	if err := signing.Verify(got, c.merchant.Key, c.signType); err != nil {
		return "nothing: " + err.Error()
	}
	for _, name := range []string{"appid", "mch_id", "sub_mch_id", "sub_appid", "out_trade_no"} {
		if got[name] != "" && got[name] != sent[name] {
			return "nothing: another " + name
		}
	}
	switch {
	case got["result_code"] != "SUCCESS":
		return got["err_code"]
	case op == OrderQuery && got["transaction_id"] != "":
		return strings.Join([]string{got["trade_state"], got["total_fee"], got["time_end"], got["transaction_id"]}, " ")
	case op == OrderQuery:
		return got["trade_state"]
	}
	return "SUCCESS"
}
