package closer

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// The path of one call without the network: build, sign, write; read, verify,
// check, decide, settle.
func BenchmarkCallWithoutNetwork(b *testing.B) {
	for _, t := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		b.Run(string(t), func(b *testing.B) {
			id := identity{appID: "wx8888888888888888", mchID: "1900000109", outTradeNo: "20260102T1"}
			keys := []signing.Key{mustKey(b, testKey)}
			reply := map[string]string{
				"return_code": "SUCCESS", "return_msg": "OK", "result_code": "SUCCESS", "result_msg": "OK",
				"appid": id.appID, "mch_id": id.mchID, "nonce_str": "BFK89FC6rxKCOjLX",
			}
			var doc bytes.Buffer
			appendXML(&doc, reply, signing.Sign(reply, keys[0], t))
			b.ReportAllocs()
			for b.Loop() {
				fields := requestFields(id, t, newNonce())
				var req bytes.Buffer
				req.Grow(512)
				appendXML(&req, fields, signing.Sign(fields, keys[0], t))
				d := decide(checkReply(doc.Bytes(), CallClose, id, keys, t))
				if r := weigh(standing{close: d, age: settled, confirm: ConfirmDoubt}); r.class != Closed {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

func BenchmarkReadReply(b *testing.B) {
	for _, f := range replyFiles(b) {
		if f.name == "success" {
			b.ReportAllocs()
			b.SetBytes(int64(len(f.body)))
			for b.Loop() {
				if _, err := ReadFields(f.body); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

// Whole closes over loopback TCP against a server that does next to nothing.
func BenchmarkClose(b *testing.B) {
	srv := httptest.NewServer(honest(b))
	defer srv.Close()
	m := direct(b)
	c, err := New(Config{Hosts: []string{srv.URL}, Merchants: MerchantMap{m.MchID: m}, Rate: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer c.CloseIdleConnections()
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v := c.Close(context.Background(), order()); v.Class != Closed {
				b.Errorf("%+v", v)
				return
			}
		}
	})
}
