package closer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"maps"
	"slices"

	"github.com/closeorder/closeorder/signing"
)

// requestFields are the fields of a closeorder or orderquery call, which take
// the same ones (WeChat Pay V2, "Close Order" and "Query Order"). Empty
// fields are neither sent nor signed. sign_type is sent only when it is not
// the default, MD5; then it is signed like any other field.
func requestFields(id identity, t signing.Type, nonce string) map[string]string {
	fields := make(map[string]string, 8)
	fields["nonce_str"] = nonce
	for _, f := range id.fields() {
		if f.value != "" {
			fields[f.name] = f.value
		}
	}
	if t == signing.HMACSHA256 {
		fields["sign_type"] = string(t)
	}
	return fields
}

// appendXML writes fields and their signature as a V2 document, in the order
// of their names. Values are escaped, not wrapped in CDATA: both stand for
// the same text, and it is the text that is signed.
func appendXML(b *bytes.Buffer, fields map[string]string, sign string) {
	b.WriteString("<xml>")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		appendElement(b, name, fields[name])
	}
	appendElement(b, signing.FieldSign, sign)
	b.WriteString("</xml>")
}

func appendElement(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	xml.EscapeText(b, []byte(value)) // a Buffer never fails to be written to
	b.WriteString("</" + name + ">")
}

// newNonce returns 32 random hex digits, as many as nonce_str may have.
func newNonce() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
