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

// signed appends to order which of the fields a signature speaks of, sorted by
// name: all but sign and those with an empty value. It reports false when one name
// is there twice, which can be read in two ways: there is no signature of that.
func signed(order []int32, fields []Field) ([]int32, bool) {
	sorted := true
	for i := range fields {
		f := &fields[i]
		if f.Value == "" || f.Name == FieldSign {
			continue
		}
		if n := len(order); n > 0 && fields[order[n-1]].Name >= f.Name {
			sorted = false
		}
		order = append(order, int32(i))
	}
	if sorted {
		return order, true
	}
	slices.SortFunc(order, func(x, y int32) int { return strings.Compare(fields[x].Name, fields[y].Name) })
	for i := 1; i < len(order); i++ {
		if fields[order[i-1]].Name == fields[order[i]].Name {
			return nil, false
		}
	}
	return order, true
}

// listed appends the fields of a map to b, in any order.
func listed(b []Field, fields map[string]string) []Field {
	for name, value := range fields {
		b = append(b, Field{name, value})
	}
	return b
}

// appendCanonical appends "a=1&b=2&": the signed string up to the key. It
// reports false where there can be no signature.
func appendCanonical(b []byte, fields []Field) ([]byte, bool) {
	var room [usual]int32
	order, ok := signed(room[:0], fields)
	for _, i := range order {
		b = append(b, fields[i].Name...)
		b = append(b, '=')
		b = append(b, fields[i].Value...)
		b = append(b, '&')
	}
	return b, ok
}
