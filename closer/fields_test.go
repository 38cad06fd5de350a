package closer

import (
	"bytes"
	"encoding/xml"
	"maps"
	"slices"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// fieldsOf are the fields of a map, in the order of their names.
func fieldsOf(m map[string]string) fields {
	var f fields
	for _, name := range slices.Sorted(maps.Keys(m)) {
		f = append(f, signing.Field{Name: name, Value: m[name]})
	}
	return f
}

// byName are fields as a map.
func byName(f fields) map[string]string {
	m := make(map[string]string, len(f))
	for _, one := range f {
		m[one.Name] = one.Value
	}
	return m
}

// requestFields are the fields of a call.
func requestFields(id identity, t signing.Type, nonce string) map[string]string {
	return byName(appendFields(nil, &id, t, nonce))
}

// appendXML writes fields and their signature as a V2 document.
func appendXML(b *bytes.Buffer, m map[string]string, sign string) {
	document := []byte("<xml>")
	for _, f := range append(fieldsOf(m), signing.Field{Name: signing.FieldSign, Value: sign}) {
		document = appendElement(document, f.Name, f.Value)
	}
	b.Write(document)
	b.WriteString("</xml>")
}

// Values are written as encoding/xml writes them.
func TestValuesAreEscaped(t *testing.T) {
	for _, value := range []string{"", "T1", "<a>&amp;\"'\t\r\n]]>", "订单&", "&&", "'"} {
		var want bytes.Buffer
		if err := xml.EscapeText(&want, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if got := appendEscaped([]byte("x"), value); string(got) != "x"+want.String() {
			t.Errorf("%q is written as %q, want %q", value, got[1:], want.String())
		}
	}
}
