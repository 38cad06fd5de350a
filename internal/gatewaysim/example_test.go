package gatewaysim_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

// A client that does not look at the signature believes that the order is
// closed. The book knows better.
func Example() {
	sim, err := gatewaysim.New(gatewaysim.Config{})
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(sim)
	defer server.Close()

	fields := map[string]string{
		"appid": "wx8888888888888888", "mch_id": "1900000109",
		"out_trade_no": "FORGED-1", "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
	}
	key, err := signing.NewKey(gatewaysim.DirectKey)
	if err != nil {
		panic(err)
	}
	fields["sign"] = signing.Sign(fields, key, signing.MD5)
	var body strings.Builder
	body.WriteString("<xml>")
	for name, value := range fields {
		fmt.Fprintf(&body, "<%s>%s</%s>", name, value, name)
	}
	body.WriteString("</xml>")
	resp, err := http.Post(server.URL+"/pay/closeorder", "text/xml", strings.NewReader(body.String()))
	if err != nil {
		panic(err)
	}
	resp.Body.Close()

	order, _ := sim.Lookup(gatewaysim.Order{MchID: "1900000109", OutTradeNo: "FORGED-1"})
	fmt.Println(order.State, "payable:", order.Payable, "answered:", order.Calls[0].Answer)
	// Output: notpay payable: true answered: SUCCESS, spoiled: forged
}
