package closer

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/closeorder/closeorder/signing"
)

// appendFields appends the fields of a closeorder or orderquery call, which take
// the same ones (WeChat Pay V2, "Close Order" and "Query Order"), in the order
// of their names. Empty fields are neither sent nor signed. sign_type is sent
// only when it is not the default, MD5; then it is signed like any other field.
func appendFields(to fields, id *identity, t signing.Type, nonce string) fields {
	add := func(name, value string) {
		if value != "" {
			to = append(to, signing.Field{Name: name, Value: value})
		}
	}
	add("appid", id.appID)
	add("mch_id", id.mchID)
	add("nonce_str", nonce)
	add("out_trade_no", id.outTradeNo)
	if t == signing.HMACSHA256 {
		add("sign_type", string(t))
	}
	add("sub_appid", id.subAppID)
	add("sub_mch_id", id.subMchID)
	return to
}

// appendSigned appends fields and their signature under key as a V2 document.
// sign is the signature, a part of the document.
func appendSigned(b []byte, sent fields, key signing.Key, t signing.Type) (document, sign []byte) {
	b = append(b, "<xml>"...)
	for i := range sent {
		b = appendElement(b, sent[i].Name, sent[i].Value)
	}
	b = append(b, "<"+signing.FieldSign+">"...)
	from := len(b)
	b = signing.AppendSign(b, sent, key, t)
	to := len(b)
	b = append(b, "</"+signing.FieldSign+"></xml>"...)
	return b, b[from:to]
}

// appendElement appends one field. Values are escaped, not wrapped in CDATA:
// both stand for the same text, and it is the text that is signed.
func appendElement(b []byte, name, value string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, '>')
	b = appendEscaped(b, value)
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}

// appendEscaped appends a value as text of XML. Line ends are written as
// references: as they stand they would be read as others (XML 1.0, section 2.11).
func appendEscaped(b []byte, value string) []byte {
	written := 0
	for i := range len(value) {
		if kinds[value[i]]&escaped == 0 {
			continue
		}
		instead := ""
		switch value[i] {
		case '&':
			instead = "&amp;"
		case '<':
			instead = "&lt;"
		case '>':
			instead = "&gt;"
		case '"':
			instead = "&#34;"
		case '\'':
			instead = "&#39;"
		case '\t':
			instead = "&#x9;"
		case '\n':
			instead = "&#xA;"
		case '\r':
			instead = "&#xD;"
		}
		b = append(append(b, value[written:i]...), instead...)
		written = i + 1
	}
	return append(b, value[written:]...)
}

// newNonce returns 32 random hex digits, as many as nonce_str may have.
func newNonce() string {
	var raw [16]byte
	rand.Read(raw[:]) // never fails since Go 1.24
	var digits [2 * len(raw)]byte
	hex.Encode(digits[:], raw[:])
	return string(digits[:])
}
