//go:build !race

package closer

import (
	"testing"

	"github.com/closeorder/closeorder/signing"
)

func TestTheCodecAllocatesNextToNothing(t *testing.T) {
	id := identity{appID: "wx8888888888888888", mchID: "1900000109", outTradeNo: "20260102T1"}
	for _, st := range []signing.Type{signing.MD5, signing.HMACSHA256} {
		key, at := mustKey(t, testKey), new(room)
		reply := usualReply(key, st)
		// The text of the reply, and the nonce.
		if n := testing.AllocsPerRun(100, func() {
			if err := codec(at, &id, key, st, reply); err != nil {
				t.Fatal(err)
			}
		}); n > 2 {
			t.Errorf("%s: %v allocations", st, n)
		}
		keys := []signing.Key{key}
		if n := testing.AllocsPerRun(100, func() {
			a := checkReply(at.reply[:0], reply, CallClose, id, keys, st)
			if d := decide(a); d.class != Closed {
				t.Fatal(d.reason, a.err)
			}
		}); n > 1 {
			t.Errorf("%s: checking and deciding make %v allocations", st, n)
		}
	}
}
