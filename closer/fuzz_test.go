package closer

import (
	"bytes"
	"encoding/xml"
	"maps"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// What the reader takes is what anybody else reads in it, and survives being
// written and read again.
func FuzzReadReply(f *testing.F) {
	for _, r := range replyFiles(f) {
		if len(r.body) < 8<<10 {
			f.Add(r.body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := ReadFields(body)
		if err != nil {
			if fields != nil {
				t.Fatalf("fields %v beside the error %v", fields, err)
			}
			return
		}
		var plain struct {
			XMLName xml.Name `xml:"xml"`
			Fields  []struct {
				XMLName xml.Name
				Text    string     `xml:",chardata"`
				Inner   []struct{} `xml:",any"`
				Attrs   []xml.Attr `xml:",any,attr"`
			} `xml:",any"`
		}
		if err := xml.Unmarshal(bytes.TrimPrefix(body, []byte("\uFEFF")), &plain); err != nil {
			t.Fatalf("took what encoding/xml does not: %v", err)
		}
		if len(plain.Fields) != len(fields) {
			t.Fatalf("%d elements, %d fields", len(plain.Fields), len(fields))
		}
		for _, e := range plain.Fields {
			if got, ok := fields[e.XMLName.Local]; !ok || got != e.Text || len(e.Inner) > 0 || len(e.Attrs) > 0 {
				t.Fatalf("element %+v was read as %q", e, got)
			}
		}
		sign, signed := fields[signing.FieldSign]
		delete(fields, signing.FieldSign)
		var b bytes.Buffer
		appendXML(&b, fields, sign)
		if b.Len() > MaxDocument { // escaping made it longer than may be read
			return
		}
		again, err := ReadFields(b.Bytes())
		if err != nil {
			t.Fatalf("does not read its own writing %s: %v", b.Bytes(), err)
		}
		if !signed {
			delete(again, signing.FieldSign)
		} else {
			fields[signing.FieldSign] = sign
		}
		if !maps.Equal(fields, again) {
			t.Fatalf("read %v, written and read %v", fields, again)
		}
	})
}

// Without the key nobody makes a reply that concludes anything.
func FuzzNoConclusionWithoutTheKey(f *testing.F) {
	for _, r := range replyFiles(f) {
		if len(r.body) < 8<<10 {
			f.Add(r.body, r.SignType == "HMAC-SHA256")
		}
	}
	// Nothing in the corpus is signed with it.
	secret := mustKey(f, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	id := identity{appID: "wx8888888888888888", mchID: "1900000109", outTradeNo: "20260102T1"}
	f.Fuzz(func(t *testing.T, body []byte, hmac bool) {
		st := signing.MD5
		if hmac {
			st = signing.HMACSHA256
		}
		d := decide(checkReply(nil, body, CallClose, id, []signing.Key{secret}, st))
		if d.class == Closed || d.class == Paid || d.class == Failed || d.class == Unknown || !d.unsigned && d.class != NoAnswer {
			t.Fatalf("close came to %+v", d)
		}
		if got, code, _ := decideQuery(checkReply(nil, body, CallQuery, id, []signing.Key{secret}, st)); got != unanswered {
			t.Fatalf("query came to %v %s", got, code)
		}
	})
}

// What may be sent reads back as it was sent, so what is signed is what the
// gateway reads.
func FuzzRequestReadsBack(f *testing.F) {
	f.Add("20260102T1", "wx8888888888888888")
	f.Add("a_-|*@<&>\"'", "中文")
	f.Add("line\nbreak", "\U0001F600")
	f.Fuzz(func(t *testing.T, outTradeNo, appID string) {
		id, err := identify(&Order{MchID: "M", AppID: appID, OutTradeNo: outTradeNo}, &Merchant{MchID: "M"})
		if err != nil {
			return
		}
		fields := requestFields(id, signing.HMACSHA256, newNonce())
		var b bytes.Buffer
		appendXML(&b, fields, "S")
		if b.Len() > MaxDocument {
			return
		}
		got, err := ReadFields(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		fields["sign"] = "S"
		if !maps.Equal(fields, got) {
			t.Fatalf("sent %v, reads %v", fields, got)
		}
	})
}
