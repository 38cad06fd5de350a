package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

func TestTheOddsOfTheGatewayAreThoseOfTheFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		odds gatewayOdds
		want gatewaysim.Buyers
	}{
		"nobody buys, so that nobody pays in a gap":    {odds: gatewayOdds{failures: .3, lost: .1, late: .2}},
		"some buy: some in a gap, some each number":    {odds: gatewayOdds{failures: .3, lost: .1, late: .2, buyers: .5}, want: gatewaysim.Buyers{Share: .5, Within: 20 * time.Second, Gap: .3, Twice: .5}},
		"all buy: the others are as they are for some": {odds: gatewayOdds{failures: .3, lost: .1, late: .2, buyers: 1}, want: gatewaysim.Buyers{Share: 1, Within: 20 * time.Second, Gap: .3, Twice: .5}},
	} {
		var cfg gatewaysim.Config
		tc.odds.set(&cfg)
		failures := gatewaysim.EvenFailures(.3)
		failures.Lose = .1
		if cfg.Buyers != tc.want || cfg.Failures != failures || cfg.LateCreates != .2 || cfg.Notices.Delay != 2*time.Second {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
}

// As an order service does: it creates an order at dev's gateway, asks for it,
// and is told when the buyer has paid.
func TestDevHasBuyersAndTellsAShopOfPayments(t *testing.T) {
	told := make(chan map[string]string, 1)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields, err := fieldsOf(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(w, "<xml><return_code>SUCCESS</return_code></xml>")
		told <- fields
	}))
	defer shop.Close()
	dev := launch(t, nil, "", "dev", "--requests", "0", "--json", "--buyers", "1", "--kafka-port", "0", "--gateway-port", "0")
	gateway := dev.stderr.find(t, `Gateway +(http://\S+)`)[1] // stdout has JSON alone

	key, err := signing.NewKey(gatewaysim.DirectKey)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	call := func(op string, more map[string]string) map[string]string {
		calls++
		fields := map[string]string{"appid": "wx8888888888888888", "mch_id": "1900000109", "out_trade_no": "DEV-1", "nonce_str": fmt.Sprint("n", calls)}
		maps.Copy(fields, more)
		fields["sign"] = signing.Sign(fields, key, signing.MD5)
		var body bytes.Buffer
		body.WriteString("<xml>")
		for name, value := range fields {
			fmt.Fprintf(&body, "<%s>%s</%s>", name, value, name)
		}
		body.WriteString("</xml>")
		resp, err := http.Post(gateway+"/pay/"+op, "text/xml", &body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := fieldsOf(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	created := call("unifiedorder", map[string]string{
		"body": "tea", "total_fee": "250", "spbill_create_ip": "127.0.0.1", "notify_url": shop.URL, "trade_type": "NATIVE", "attach": "purchase-1",
	})
	if created["result_code"] != "SUCCESS" {
		t.Fatalf("create: %v", created)
	}
	// Each query may bring the buyer at once; without one he comes within 20 s.
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case got := <-told:
			query := call("orderquery", nil)
			if signing.Verify(got, key, signing.MD5) != nil || got["attach"] != "purchase-1" || got["total_fee"] != "250" || got["transaction_id"] != query["transaction_id"] {
				t.Errorf("told %v, asked %v", got, query)
			}
			return
		case <-deadline:
			t.Fatalf("nobody paid: %v", call("orderquery", nil))
		case <-time.After(20 * time.Millisecond):
			call("orderquery", nil)
		}
	}
}

// fieldsOf reads one flat XML document.
func fieldsOf(r io.Reader) (map[string]string, error) {
	var doc struct {
		Fields []struct {
			XMLName xml.Name
			Value   string `xml:",chardata"`
		} `xml:",any"`
	}
	err := xml.NewDecoder(r).Decode(&doc)
	fields := make(map[string]string)
	for _, f := range doc.Fields {
		fields[f.XMLName.Local] = strings.TrimSpace(f.Value)
	}
	return fields, err
}
