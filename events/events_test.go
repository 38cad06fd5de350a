package events

import "testing"

func TestPlainJSONIsServed(t *testing.T) {
	r, err := DecodeRequest(Message{Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T2"}`)})
	if err != nil || r.RequestID != "order/1900000109/T2" {
		t.Fatalf("%+v, %v", r, err)
	}
}
