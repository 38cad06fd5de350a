package gatewaysim

import (
	"math/rand/v2"
	"time"
)

// draw is a stream of random numbers that depends on the seed, the order, the
// purpose and the number of the call, and on nothing else: what happens to
// one order is the same whatever happens beside it.
type draw struct{ pcg rand.PCG }

func (s *Simulator) draw(o Order, purpose string, n int) *draw {
	return newDraw(s.cfg.Seed, o, purpose, n)
}

func newDraw(seed uint64, o Order, purpose string, n int) *draw {
	h := uint64(14695981039346656037) // FNV-1a
	for _, part := range [...]string{o.MchID, o.SubMchID, o.OutTradeNo, purpose} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // ends the part: no UTF-8 has this byte
	}
	d := new(draw)
	d.pcg.Seed(seed, h^uint64(n)*0x9e3779b97f4a7c15)
	return d
}

// float is in [0, 1).
func (d *draw) float() float64 { return float64(d.pcg.Uint64()>>11) / (1 << 53) }

func (d *draw) coin() bool { return d.pcg.Uint64()&1 == 1 }

// below is in [0, max), 0 where max is 0.
func (d *draw) below(max time.Duration) time.Duration {
	return time.Duration(d.float() * float64(max))
}

// text is n characters out of alphabet, which has at most 256.
func (d *draw) text(n int, alphabet string) string {
	var stack [32]byte
	out := append(stack[:0], make([]byte, n)...)
	for i := range out {
		out[i] = alphabet[d.pcg.Uint64()%uint64(len(alphabet))]
	}
	return string(out)
}
