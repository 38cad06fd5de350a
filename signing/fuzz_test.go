package signing_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// fieldsOf makes fields out of fuzzed text: pairs of name and value.
func fieldsOf(text string) map[string]string {
	parts := strings.Split(text, "\x1f")
	fields := map[string]string{}
	for i := 0; i+1 < len(parts); i += 2 {
		fields[parts[i]] = parts[i+1]
	}
	return fields
}

// FuzzSign checks what holds for any fields, key and algorithm.
func FuzzSign(f *testing.F) {
	for i, v := range readVectors(f) {
		var parts []string
		for name, value := range v.Fields {
			parts = append(parts, name, value)
		}
		f.Add(strings.Join(parts, "\x1f"), v.Key, i%2 == 0, uint64(i))
	}
	f.Fuzz(func(t *testing.T, text, secret string, md5 bool, seed uint64) {
		key, err := signing.NewKey(secret)
		if err != nil {
			if secret != "" && strings.Contains(err.Error(), secret) && len(secret) > 8 {
				t.Fatalf("the error shows the key: %v", err)
			}
			return
		}
		typ, other := signing.HMACSHA256, signing.MD5
		if md5 {
			typ, other = other, typ
		}
		fields := fieldsOf(text)
		delete(fields, signing.FieldSign)
		good := signed(fields, key, typ)
		if err := signing.Verify(good, key, typ); err != nil {
			t.Fatalf("what was signed does not verify: %v", err)
		}
		if sign := good["sign"]; sign != strings.ToUpper(sign) || len(sign) != map[bool]int{true: 32, false: 64}[md5] {
			t.Fatalf("sign = %q", sign)
		}
		if signing.Verify(good, key, other) == nil {
			t.Fatal("verifies with the other algorithm")
		}
		if signing.Verify(good, mustKey(t, secret+"x"), typ) == nil {
			t.Fatal("verifies with another key")
		}

		// Order: maps iterate at random, so a second run is another order.
		again := map[string]string{}
		maps.Copy(again, good)
		if signing.Sign(again, key, typ) != good["sign"] {
			t.Fatal("depends on the order of fields")
		}

		random := rand.New(rand.NewPCG(seed, 0))
		for what, changed := range changes(good, random) {
			if signing.Verify(changed, key, typ) == nil {
				t.Fatalf("verifies with %s: %q", what, changed)
			}
		}

		explained := signing.Explain(good)
		if !strings.HasSuffix(explained, "key=******") {
			t.Fatalf("Explain does not end with the mask: %q", explained)
		}
		// Long enough not to be there by chance, and not part of the fields.
		if len(secret) < 8 || strings.ContainsAny(secret, "=&*") || strings.Contains(text, secret) {
			return
		}
		if strings.Contains(explained, secret) {
			t.Fatalf("Explain shows the key: %q", explained)
		}
		for what, holder := range holders(key) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				if got := fmt.Sprintf(verb, holder); reveals(got, secret) {
					t.Fatalf("%s of %s shows the key: %s", verb, what, got)
				}
			}
		}
	})
}

// changes returns good with any one field changed, removed or added, and with
// its sign changed.
func changes(good map[string]string, random *rand.Rand) map[string]map[string]string {
	out := map[string]map[string]string{}
	change := func(what string, f func(m map[string]string)) {
		m := maps.Clone(good)
		f(m)
		out[what] = m
	}
	for name, value := range good {
		if name == signing.FieldSign {
			at := random.IntN(len(value))
			change("a digit of sign changed", func(m map[string]string) {
				m[name] = value[:at] + string("0123456789ABCDEF"[(strings.IndexByte("0123456789ABCDEF", value[at])+1+random.IntN(15))%16]) + value[at+1:]
			})
			change("sign removed", func(m map[string]string) { delete(m, name) })
			continue
		}
		change(fmt.Sprintf("%q made longer", name), func(m map[string]string) { m[name] += "x" })
		if value == "" {
			continue // leaving it out changes nothing, and should not
		}
		change(fmt.Sprintf("%q removed", name), func(m map[string]string) { delete(m, name) })
		change(fmt.Sprintf("%q emptied", name), func(m map[string]string) { m[name] = "" })
		at := random.IntN(len(value))
		change(fmt.Sprintf("%q changed", name), func(m map[string]string) {
			m[name] = value[:at] + string([]byte{value[at] ^ byte(1+random.IntN(255))}) + value[at+1:]
		})
	}
	added := fmt.Sprintf("added_%x", random.Uint64())
	change("a field added", func(m map[string]string) { m[added] = "1" })
	return out
}
