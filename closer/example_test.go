package closer_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

// One order, closed at a gateway, with each attempt shown.
func Example() {
	gateway, err := gatewaysim.New(gatewaysim.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(gateway)
	defer server.Close()

	key, err := signing.NewKey("192006250b4c09247ec02edce69f6a2d")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := closer.New(closer.Config{
		Merchants: closer.MerchantMap{
			"1900000109": {MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key}},
		},
		Hosts: []string{server.URL},
		Observe: func(_ context.Context, a closer.Attempt) {
			fmt.Println(a.Number, a.Call, a.Code)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseIdleConnections()

	v := c.Close(context.Background(), closer.Order{MchID: "1900000109", OutTradeNo: "20260102T1"})
	fmt.Println(v.Class, v.ConfirmedBy, v.SafeToReissue)

	v = c.Close(context.Background(), closer.Order{
		MchID: "1900000109", OutTradeNo: "PAID-20260102T2", CreatedAt: time.Now().Add(-10 * time.Minute),
	})
	fmt.Println(v.Class, v.ConfirmedBy, v.SafeToReissue)

	// Output:
	// 1 closeorder SUCCESS
	// 2 orderquery CLOSED
	// closed orderquery true
	// 1 closeorder ORDERPAID
	// paid closeorder false
}
