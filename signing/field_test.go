package signing_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// inAnyOrder are the fields of a map in an order that is as good as any.
func inAnyOrder(m map[string]string) []signing.Field {
	var fields []signing.Field
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fields = append(fields, signing.Field{Name: name, Value: m[name]})
	}
	random := rand.New(rand.NewPCG(uint64(len(m)), 1))
	random.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	return fields
}

func TestFieldsAreSignedAsMapsAre(t *testing.T) {
	for _, v := range readVectors(t) {
		key, typ := mustKey(t, v.Key), signing.Type(v.Type)
		fields := inAnyOrder(v.Fields)
		before := slices.Clone(fields)
		if got := signing.AppendSign([]byte("x"), fields, key, typ); string(got) != "x"+v.Sign {
			t.Errorf("%s: AppendSign appends %s, want %s", v.Name, got[1:], v.Sign)
		}
		if got := verdict(signing.VerifyFields(fields, key, typ)); got != v.Verify {
			t.Errorf("%s: VerifyFields says %s, want %s", v.Name, got, v.Verify)
		}
		if got, want := signing.ExplainFields(fields), signing.Explain(v.Fields); got != want {
			t.Errorf("%s: ExplainFields = %q, want %q", v.Name, got, want)
		}
		if !slices.Equal(fields, before) {
			t.Errorf("%s: the fields have changed", v.Name)
		}
	}
}

func TestMoreFieldsThanUsual(t *testing.T) {
	key, m := mustKey(t, sampleKey), map[string]string{}
	for i := range 500 {
		m["f"+strings.Repeat("x", i)] = "1"
	}
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		sign := signing.Sign(m, key, typ)
		if got := string(signing.AppendSign(nil, inAnyOrder(m), key, typ)); got != sign {
			t.Errorf("%s: %s, as a map %s", typ, got, sign)
		}
	}
}

func TestANameThatIsThereTwiceIsNotSigned(t *testing.T) {
	key := mustKey(t, sampleKey)
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		length := map[signing.Type]int{signing.MD5: 32, signing.HMACSHA256: 64}[typ]
		for sentence, fields := range map[string][]signing.Field{
			"with two values":      {{Name: "a", Value: "1"}, {Name: "b", Value: "1"}, {Name: "a", Value: "2"}},
			"with the same value":  {{Name: "a", Value: "1"}, {Name: "a", Value: "1"}},
			"with two signatures":  {{Name: "a", Value: "1"}, {Name: "sign", Value: strings.Repeat("0", length)}},
			"among sorted fields":  {{Name: "a", Value: "1"}, {Name: "b", Value: "1"}, {Name: "b", Value: "2"}, {Name: "c", Value: "1"}},
			"far from each other":  {{Name: "z", Value: "1"}, {Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "z", Value: "1"}},
			"beside an empty sign": {{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "sign"}},
		} {
			sign := signing.AppendSign(nil, fields, key, typ)
			if twoSigns := sentence == "with two signatures"; !twoSigns && len(sign) > 0 {
				t.Errorf("%s %s: signed %s", typ, sentence, sign)
			} else if !twoSigns {
				sign = []byte(strings.Repeat("0", length))
			}
			err := signing.VerifyFields(append(fields, signing.Field{Name: "sign", Value: string(sign)}), key, typ)
			if !errors.Is(err, signing.ErrMismatch) || !strings.HasSuffix(err.Error(), "a field is there twice") {
				t.Errorf("%s %s: %v", typ, sentence, err)
			}
		}
	}
}

func BenchmarkFields(b *testing.B) {
	key := mustKey(b, sampleKey)
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		fields := inAnyOrder(signed(reply(), key, typ))
		room := make([]byte, 0, 64)
		b.Run("sign/"+string(typ), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				signing.AppendSign(room, fields, key, typ)
			}
		})
		b.Run("verify/"+string(typ), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := signing.VerifyFields(fields, key, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
