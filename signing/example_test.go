package signing_test

import (
	"fmt"

	"github.com/closeorder/closeorder/signing"
)

func Example() {
	// The sample of the WeChat Pay documentation.
	key, err := signing.NewKey("192006250b4c09247ec02edce69f6a2d")
	if err != nil {
		fmt.Println(err)
		return
	}
	fields := map[string]string{
		"appid":       "wxd930ea5d5a258f4f",
		"mch_id":      "10000100",
		"device_info": "1000",
		"body":        "test",
		"nonce_str":   "ibuaiVcKdpRxkhJA",
	}
	fields["sign"] = signing.Sign(fields, key, signing.MD5)
	fmt.Println(fields["sign"])
	fmt.Println(signing.Verify(fields, key, signing.MD5))

	fields["mch_id"] = "10000101"
	fmt.Println(signing.Verify(fields, key, signing.MD5))
	// Output:
	// 9A0A8659F005D6984697E2CA0A9CF3B7
	// <nil>
	// signature does not match
}

// When two sides do not agree on a signature, compare the strings they sign.
func ExampleExplain() {
	fmt.Println(signing.Explain(map[string]string{
		"out_trade_no": "T1", "mch_id": "1900000109", "nonce_str": "n", "sub_mch_id": "", "sign": "...",
	}))
	// Output: mch_id=1900000109&nonce_str=n&out_trade_no=T1&key=******
}

// While a key is being changed a reply may come under either.
func ExampleVerify_twoKeys() {
	newKey, _ := signing.NewKey("new-key-new-key-new-key-new-key-")
	oldKey, _ := signing.NewKey("old-key-old-key-old-key-old-key-")
	reply := map[string]string{"return_code": "SUCCESS", "result_code": "SUCCESS"}
	reply["sign"] = signing.Sign(reply, oldKey, signing.HMACSHA256)

	for _, key := range []signing.Key{newKey, oldKey} {
		fmt.Println(signing.Verify(reply, key, signing.HMACSHA256))
	}
	// Output:
	// signature does not match
	// <nil>
}

// Who signs and checks many documents needs no map.
func ExampleVerifyFields() {
	key, _ := signing.NewKey("192006250b4c09247ec02edce69f6a2d")
	reply := []signing.Field{{Name: "return_code", Value: "SUCCESS"}, {Name: "mch_id", Value: "10000100"}}
	sign := signing.AppendSign(nil, reply, key, signing.MD5)
	reply = append(reply, signing.Field{Name: signing.FieldSign, Value: string(sign)})

	fmt.Println(signing.VerifyFields(reply, key, signing.MD5))
	fmt.Println(signing.VerifyFields(append(reply, reply[1]), key, signing.MD5))
	// Output:
	// <nil>
	// signature does not match: a field is there twice
}
