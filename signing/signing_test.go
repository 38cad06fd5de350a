package signing_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

const sampleKey = "192006250b4c09247ec02edce69f6a2d"

func reply() map[string]string {
	return map[string]string{
		"return_code": "SUCCESS", "return_msg": "OK", "appid": "wx2421b1c4370ec43b", "mch_id": "10000100",
		"nonce_str": "BFK89FC6rxKCOjLX", "result_code": "SUCCESS", "result_msg": "OK",
	}
}

func signed(fields map[string]string, key signing.Key, t signing.Type) map[string]string {
	fields = maps.Clone(fields)
	fields[signing.FieldSign] = signing.Sign(fields, key, t)
	return fields
}

func TestVerifySaysWhatToDo(t *testing.T) {
	key := mustKey(t, sampleKey)
	with := func(sign string) map[string]string {
		f := reply()
		f["sign"] = sign
		return f
	}
	md5, hmac := signing.Sign(reply(), key, signing.MD5), signing.Sign(reply(), key, signing.HMACSHA256)
	for sentence, c := range map[string]struct {
		fields map[string]string
		key    signing.Key
		typ    signing.Type
		want   string // of the error, "" for valid
	}{
		"a valid signature is valid":                                  {with(md5), key, signing.MD5, ""},
		"the zero Type is MD5":                                        {with(md5), key, "", ""},
		"no fields at all have no signature":                          {nil, key, signing.MD5, "signature is missing"},
		"an answer in MD5 to a request in HMAC-SHA256 is a downgrade": {with(md5), key, signing.HMACSHA256, "signature is of another type: it has the length of MD5, want HMAC-SHA256"},
		"an answer in HMAC-SHA256 to a request in MD5 is refused too": {with(hmac), key, "", "signature is of another type: it has the length of HMAC-SHA256, want MD5"},
		"an unknown type verifies nothing":                            {with(md5), key, "SHA1", "signature is of another type: unknown sign type"},
		"lower case is refused with a hint":                           {with(strings.ToLower(md5)), key, signing.MD5, "signature does not match: hex digits must be upper-case"},
		"an odd length is refused with both lengths":                  {with("ABC"), key, signing.MD5, "signature does not match: it has 3 characters, want 32"},
		"a wrong digit is refused and not shown":                      {with("0" + md5[1:]), key, signing.MD5, "signature does not match"},
		"a zero key verifies nothing":                                 {with(md5), signing.Key{}, signing.MD5, "signature does not match: there is no key"},
		"a zero key and an empty sign is still missing":               {with(""), signing.Key{}, signing.MD5, "signature is missing"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := ""
			if err := signing.Verify(c.fields, c.key, c.typ); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestThereIsNoSignatureWithoutKeyOrType(t *testing.T) {
	if got := signing.Sign(reply(), signing.Key{}, signing.MD5); got != "" {
		t.Errorf("with a zero key: %q", got)
	}
	if got := signing.Sign(reply(), mustKey(t, sampleKey), "SHA1"); got != "" {
		t.Errorf("with an unknown type: %q", got)
	}
}

func TestFieldsAreNotChanged(t *testing.T) {
	key := mustKey(t, sampleKey)
	fields := signed(reply(), key, signing.MD5)
	before := maps.Clone(fields)
	_ = signing.Verify(fields, key, signing.MD5)
	_ = signing.Explain(fields)
	if !maps.Equal(before, fields) {
		t.Errorf("%v became %v", before, fields)
	}
}

func TestParseType(t *testing.T) {
	for in, want := range map[string]signing.Type{"": signing.MD5, "MD5": signing.MD5, "HMAC-SHA256": signing.HMACSHA256} {
		if got, err := signing.ParseType(in); got != want || err != nil {
			t.Errorf("ParseType(%q) = %q, %v", in, got, err)
		}
	}
	// The second is a misprint in the documentation.
	for _, in := range []string{"md5", "HMAC-SHA2566", "hmac-sha256", " MD5", strings.Repeat("x", 1000)} {
		if got, err := signing.ParseType(in); err == nil || got != "" || len(err.Error()) > 120 {
			t.Errorf("ParseType(%.20q) = %q, %v", in, got, err)
		}
	}
}

// With the race detector this fails when anything is shared.
func TestConcurrentUse(t *testing.T) {
	key := mustKey(t, sampleKey)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			typ := []signing.Type{signing.MD5, signing.HMACSHA256}[i%2]
			for n := range 200 {
				f := reply()
				f["nonce_str"] = fmt.Sprint(i, n)
				f = signed(f, key, typ)
				if err := signing.Verify(f, key, typ); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// The limit that the package documentation tells of. If this ever fails, the
// protocol has changed and the warning can go.
func TestV2DoesNotProveWhereAFieldEnds(t *testing.T) {
	key := mustKey(t, sampleKey)
	one := signing.Sign(map[string]string{"a": "1&b=2"}, key, signing.HMACSHA256)
	two := signing.Sign(map[string]string{"a": "1", "b": "2"}, key, signing.HMACSHA256)
	if one != two {
		t.Error("signatures differ")
	}
}

func BenchmarkSign(b *testing.B) {
	key := mustKey(b, sampleKey)
	fields := reply()
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		b.Run(string(typ), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				signing.Sign(fields, key, typ)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	key := mustKey(b, sampleKey)
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		fields := signed(reply(), key, typ)
		b.Run(string(typ), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := signing.Verify(fields, key, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
