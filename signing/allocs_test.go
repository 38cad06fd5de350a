//go:build !race

package signing_test

import (
	"testing"

	"github.com/closeorder/closeorder/signing"
)

func TestSigningAllocatesNothing(t *testing.T) {
	key := mustKey(t, sampleKey)
	for _, typ := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		m := reply()
		fields := inAnyOrder(signed(m, key, typ))
		room := make([]byte, 0, 64)
		if n := testing.AllocsPerRun(100, func() { signing.AppendSign(room, fields, key, typ) }); n != 0 {
			t.Errorf("%s: AppendSign allocates %v times", typ, n)
		}
		if n := testing.AllocsPerRun(100, func() { _ = signing.VerifyFields(fields, key, typ) }); n != 0 {
			t.Errorf("%s: VerifyFields allocates %v times", typ, n)
		}
	}
}
