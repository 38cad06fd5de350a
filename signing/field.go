package signing

import (
	"slices"
	"strings"
)

// Field is one field of a request or a reply. A document is a []Field in any
// order, each name once: what reads or writes many of them needs no map.
type Field struct{ Name, Value string }

// usual is how many fields are sorted without an allocation. Replies to a query
// have less than 40.
const usual = 40

// signed appends to b the fields of which a signature speaks, sorted by name:
// all but sign and those with an empty value. It reports false when one name is
// there twice, which can be read in two ways: there is no signature of that.
func signed(b, fields []Field) ([]Field, bool) {
	sorted := true
	for i := range fields {
		f := &fields[i]
		if f.Value == "" || f.Name == FieldSign {
			continue
		}
		if n := len(b); n > 0 && b[n-1].Name >= f.Name {
			sorted = false
		}
		b = append(b, *f)
	}
	if sorted {
		return b, true
	}
	slices.SortFunc(b, func(x, y Field) int { return strings.Compare(x.Name, y.Name) })
	for i := 1; i < len(b); i++ {
		if b[i-1].Name == b[i].Name {
			return nil, false
		}
	}
	return b, true
}

// listed appends the fields of a map to b, in any order.
func listed(b []Field, fields map[string]string) []Field {
	for name, value := range fields {
		b = append(b, Field{name, value})
	}
	return b
}

// appendCanonical appends "a=1&b=2&": the signed string up to the key. It is
// empty where there can be no signature.
func appendCanonical(b []byte, fields []Field) ([]byte, bool) {
	var room [usual]Field
	sorted, ok := signed(room[:0], fields)
	for i := range sorted {
		b = append(b, sorted[i].Name...)
		b = append(b, '=')
		b = append(b, sorted[i].Value...)
		b = append(b, '&')
	}
	return b, ok
}
