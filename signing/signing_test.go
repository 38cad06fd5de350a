package signing

import "testing"

func TestSignOfTheDocumentation(t *testing.T) {
	key, err := NewKey("192006250b4c09247ec02edce69f6a2d")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{"appid": "wxd930ea5d5a258f4f", "mch_id": "10000100", "device_info": "1000", "body": "test", "nonce_str": "ibuaiVcKdpRxkhJA"}
	if got := Sign(fields, key, MD5); got != "9A0A8659F005D6984697E2CA0A9CF3B7" {
		t.Errorf("MD5 = %s", got)
	}
	if got := Sign(fields, key, HMACSHA256); got != "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6" {
		t.Errorf("HMAC-SHA256 = %s", got)
	}
}
