package closer

import (
	"bytes"
	"context"
	"encoding/xml"
	"maps"
	"net/http/httptest"
	"slices"
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
			reply, at := usualReply(keys[0], t), new(room)
			b.ReportAllocs()
			for b.Loop() {
				request := appendFields(at.request[:0], &id, t, newNonce())
				appendSigned(at.document[:0], request, keys[0], t)
				d := decide(checkReply(at.reply[:0], reply, CallClose, id, keys, t))
				if r := weigh(standing{close: d, age: settled, confirm: ConfirmDoubt}); r.class != Closed {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

// usualReply is what the gateway answers to most closes.
func usualReply(key signing.Key, t signing.Type) []byte {
	reply := map[string]string{
		"return_code": "SUCCESS", "return_msg": "OK", "result_code": "SUCCESS", "result_msg": "OK",
		"appid": "wx8888888888888888", "mch_id": "1900000109", "nonce_str": "BFK89FC6rxKCOjLX",
	}
	document := "<xml>\n"
	for _, f := range append(fieldsOf(reply), signing.Field{Name: signing.FieldSign, Value: signing.Sign(reply, key, t)}) {
		document += "<" + f.Name + "><![CDATA[" + f.Value + "]]></" + f.Name + ">\n"
	}
	return []byte(document + "</xml>")
}

// codec builds and signs a close and reads and verifies its reply, as a run does.
func codec(at *room, id *identity, key signing.Key, t signing.Type, reply []byte) error {
	request := appendFields(at.request[:0], id, t, newNonce())
	appendSigned(at.document[:0], request, key, t)
	read, _, err := readFields(at.reply[:0], reply, asXML)
	if err != nil {
		return err
	}
	return signing.VerifyFields(read, key, t)
}

// All that is done with bytes for one call: sign, build, read, verify. Beside
// it the same with encoding/xml, maps and crypto/hmac, as it was before.
func BenchmarkCodec(b *testing.B) {
	id := identity{appID: "wx8888888888888888", mchID: "1900000109", outTradeNo: "20260102T1"}
	for _, t := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		key := mustKey(b, testKey)
		reply := usualReply(key, t)
		b.Run("ours/"+string(t), func(b *testing.B) {
			at := new(room)
			b.ReportAllocs()
			for b.Loop() {
				if err := codec(at, &id, key, t, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encoding-xml/"+string(t), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := referenceCodec(id, key, t, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// referenceCodec is codec by the standard library.
func referenceCodec(id identity, key signing.Key, t signing.Type, reply []byte) error {
	fields := map[string]string{"nonce_str": newNonce()}
	for _, f := range id.fields() {
		if f.Value != "" {
			fields[f.Name] = f.Value
		}
	}
	if t == signing.HMACSHA256 {
		fields["sign_type"] = string(t)
	}
	var document bytes.Buffer
	document.Grow(512)
	document.WriteString("<xml>")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		referenceElement(&document, name, fields[name])
	}
	referenceElement(&document, signing.FieldSign, signing.Sign(fields, key, t))
	document.WriteString("</xml>")
	read, err := referenceFields(reply)
	if err != nil {
		return err
	}
	return signing.Verify(read, key, t)
}

func referenceElement(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	xml.EscapeText(b, []byte(value))
	b.WriteString("</" + name + ">")
}

func BenchmarkReadReply(b *testing.B) {
	for _, f := range replyFiles(b) {
		if f.name == "success" {
			b.Run("fields", func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(f.body)))
				at := new(room)
				for b.Loop() {
					if _, _, err := readFields(at.reply[:0], f.body, asXML); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("map", func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(f.body)))
				for b.Loop() {
					if _, err := ReadFields(f.body); err != nil {
						b.Fatal(err)
					}
				}
			})
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
