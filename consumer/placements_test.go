package consumer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"pgregory.net/rapid"
)

// shop is a producer in a test: where it puts a key.
type shop func(key []byte) int

func keyedBy(p *partitioner, partitions int) shop {
	return func(key []byte) int {
		h := hashesOf(key)
		return p.place(&h, partitions)
	}
}

func anywhere(r *rand.Rand, partitions int) shop {
	return func([]byte) int { return r.IntN(partitions) }
}

// names are how order services number their orders. Numbers in a row are where
// bad hashes show what they have in common.
var names = []func(r *rand.Rand) func(i int) string{
	func(r *rand.Rand) func(int) string {
		return func(i int) string { return fmt.Sprintf("%016x-%d", r.Uint64(), i) }
	},
	func(r *rand.Rand) func(int) string {
		from := r.IntN(10000)
		return func(i int) string { return fmt.Sprint("T", from+i) }
	},
	func(r *rand.Rand) func(int) string {
		from := r.IntN(100_000_000)
		return func(i int) string { return fmt.Sprintf("20261127%08d", (from+i)%100_000_000) }
	},
	func(r *rand.Rand) func(int) string {
		from := r.IntN(1_000_000)
		return func(i int) string { return fmt.Sprintf("%010d@shop-%d", from+i*7, i%3) }
	},
}

// stand lets shops put distinct keys, and returns those that a worker sees
// which owns the first so many partitions.
func stand(r *rand.Rand, keys, owned int, from func(i int) shop) []sighted {
	var seen []sighted
	name := names[r.IntN(len(names))](r)
	for i := range keys {
		key := []byte(name(i))
		if p := from(i)(key); p < owned {
			seen = append(seen, sighted{hashes: hashesOf(key), partition: p})
		}
	}
	return seen
}

// anyhow draws a producer that ignores keys: at random, round robin, or so many
// to one partition before the next.
func anyhow(t *rapid.T, r *rand.Rand, partitions int) func(i int) shop {
	run := rapid.SampledFrom([]int{0, 1, 1, 7, 16}).Draw(t, "run")
	return func(i int) shop {
		if run == 0 {
			return anywhere(r, partitions)
		}
		return func([]byte) int { return i / run % partitions }
	}
}

// aPair draws two partitioners that differ for a number of partitions.
func aPair(t *rapid.T, partitions int) (a, b *partitioner) {
	pick := rapid.SampledFrom(partitioners)
	a = pick.Draw(t, "one")
	b = pick.Filter(func(p *partitioner) bool {
		for i := range 64 {
			h := hashesOf(fmt.Appendf(nil, "probe-%d", i))
			if p.place(&h, partitions) != a.place(&h, partitions) {
				return true
			}
		}
		return false
	}).Draw(t, "other")
	return a, b
}

func TestJudgementsOfDrawnTopics(t *testing.T) {
	random := func(t *rapid.T) *rand.Rand { return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 8)) }
	many := rapid.IntRange(2, 60)
	t.Run("all keys by one partitioner: nothing, however few they are", rapid.MakeCheck(func(t *rapid.T) {
		n := many.Draw(t, "partitions")
		owned := rapid.IntRange(1, n).Draw(t, "owned")
		s := keyedBy(rapid.SampledFrom(partitioners).Draw(t, "by"), n)
		if j := judge(stand(random(t), rapid.IntRange(0, 4096).Draw(t, "keys"), owned, func(int) shop { return s }), n); j.kind != nothing || j.rest > 0 && j.found != nil {
			t.Fatalf("%+v", j)
		}
	}))
	t.Run("two partitioners, one in twenty by the second: mixed", rapid.MakeCheck(func(t *rapid.T) {
		n := many.Draw(t, "partitions")
		a, b := aPair(t, n)
		share := rapid.SampledFrom([]float64{0.05, 0.1, 0.3, 0.5}).Draw(t, "share")
		r := random(t)
		seen := stand(r, 4096, n, func(int) shop {
			if r.Float64() < share {
				return keyedBy(b, n)
			}
			return keyedBy(a, n)
		})
		j := judge(seen, n)
		if j.kind != mixed {
			t.Fatalf("%+v", j)
		}
		text := j.text()
		for _, p := range []*partitioner{a, b} {
			if !strings.Contains(text, p.name) && n&(n-1) != 0 { // else it may have another name
				t.Fatalf("%s is not named: %s", p.name, text)
			}
		}
	}))
	t.Run("keys that are ignored are told as that, never as a mixture", rapid.MakeCheck(func(t *rapid.T) {
		n := many.Draw(t, "partitions")
		r := random(t)
		owned := rapid.IntRange(1, n).Draw(t, "owned")
		j := judge(stand(r, 4096, owned, anyhow(t, r, n)), n)
		if j.kind != unknown && (j.kind != nothing || j.keys > 500 && owned > 1) {
			t.Fatalf("%+v", j)
		}
	}))
	t.Run("some keys ignored beside a partitioner: told as that", rapid.MakeCheck(func(t *rapid.T) {
		n := many.Draw(t, "partitions")
		a := rapid.SampledFrom(partitioners).Draw(t, "by")
		r := random(t)
		ignoring := anyhow(t, r, n)
		j := judge(stand(r, 4096, n, func(i int) shop {
			if r.Float64() < 0.1 {
				return ignoring(i)
			}
			return keyedBy(a, n)
		}), n)
		if j.kind != unknown {
			t.Fatalf("%+v", j)
		}
	}))
	t.Run("partitions were added while old requests are still read: nothing, or told as that", rapid.MakeCheck(func(t *rapid.T) {
		before := rapid.IntRange(1, 40).Draw(t, "before")
		now := before + rapid.IntRange(1, 40).Draw(t, "added")
		owned := rapid.IntRange(1, now).Draw(t, "owned")
		a := rapid.SampledFrom(partitioners).Draw(t, "by")
		total := rapid.IntRange(0, 4096).Draw(t, "keys")
		old := rapid.IntRange(0, total).Draw(t, "old")
		j := judge(stand(random(t), total, owned, func(i int) shop {
			if i < old {
				return keyedBy(a, before)
			}
			return keyedBy(a, now)
		}), now)
		if j.kind != nothing && j.kind != grown {
			t.Fatalf("%+v: %s", j, j.text())
		}
	}))
	t.Run("producers that know of new partitions before this worker does: nothing", rapid.MakeCheck(func(t *rapid.T) {
		here := rapid.IntRange(2, 30).Draw(t, "here")
		there := here + rapid.IntRange(1, here).Draw(t, "more")
		a := rapid.SampledFrom(partitioners).Draw(t, "by")
		total := rapid.IntRange(0, 4096).Draw(t, "keys")
		old := rapid.IntRange(0, total).Draw(t, "old")
		j := judge(stand(random(t), total, here, func(i int) shop {
			if i < old {
				return keyedBy(a, here)
			}
			return keyedBy(a, there)
		}), here)
		if j.kind != nothing {
			t.Fatalf("%+v: %s", j, j.text())
		}
	}))
	t.Run("a topic of one partition: nothing", rapid.MakeCheck(func(t *rapid.T) {
		if j := judge(stand(random(t), 1000, 1, func(int) shop { return keyedBy(partitioners[0], 1) }), 1); j.kind != nothing {
			t.Fatalf("%+v", j)
		}
	}))
}

// Few keys from before partitions were added, and few from after that: neither
// can be sure of alone.
func TestAFewOldAndAFewNewKeysAreNotUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, by := range partitioners {
		for before := 1; before <= 4; before++ {
			for keys := 50; keys <= 150; keys += 5 {
				now, old := before+1, keys/10+r.IntN(keys)
				j := judge(stand(r, keys, now, func(i int) shop {
					if i < old {
						return keyedBy(by, before)
					}
					return keyedBy(by, now)
				}), now)
				if j.kind != nothing && j.kind != grown {
					t.Fatalf("%d keys of %s, the first %d of %d partitions, the others of %d: %s", keys, by.name, old, before, now, j.text())
				}
			}
		}
	}
}

func TestChanceDoesNotPassForAPartitioner(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		n := 2 + i%15
		from := func(int) shop { return anywhere(r, n) }
		if i%2 == 0 {
			from = func(i int) shop { return func([]byte) int { return i % n } }
		}
		if j := judge(stand(r, 16+r.IntN(1000), n, from), n); len(j.found) > 0 {
			t.Errorf("%d partitions: %s", n, j.text())
		}
	}
}

// watched is a detector and what it has told.
func watched(partitions int) (*placements, *test.Hook) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.InfoLevel)
	p := newPlacements("requests", log)
	p.count(partitions)
	return p, hook
}

func keyed(key []byte, no string, at int, offset int64) *request {
	return &request{
		partition: &partition{topicPartition: topicPartition{"requests", at}}, msg: events.Message{Key: key},
		req:    events.Request{MchID: "1900000109", OutTradeNo: no},
		source: events.Source{Topic: "requests", Partition: at, Offset: offset},
	}
}

func TestPlacementsAreToldOnce(t *testing.T) {
	for _, c := range []struct {
		sentence   string
		partitions int
		run        func(p *placements, r *rand.Rand)
		want       []string // parts of what is told, in their order; nothing else is
	}{
		{"all keys by librdkafka: silent", 12, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(int) shop { return keyedBy(partitioners[1], 12) })
		}, nil},
		{"Java and librdkafka: both are named, with what it means and what to set, once", 12, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(i int) shop { return keyedBy(partitioners[i%2], 12) })
		}, []string{"CRC32 (librdkafka's default)"}},
		{"two partitions are enough", 2, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(i int) shop {
				if i%20 == 0 {
					return keyedBy(partitioners[1], 2)
				}
				return keyedBy(partitioners[0], 2)
			})
		}, []string{"more than one partitioner"}},
		{"round robin: the keys are ignored", 12, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(i int) shop { return func([]byte) int { return i % 12 } })
		}, []string{"ignore the keys (kafka-go does unless it has a Balancer)"}},
		{"few requests, round robin: silent, luck may do that", 12, func(p *placements, r *rand.Rand) {
			feed(p, r, 31, func(i int) shop { return func([]byte) int { return i % 12 } })
		}, nil},
		{"a second client is started later: told", 12, func(p *placements, r *rand.Rand) {
			feed(p, r, 6000, func(i int) shop {
				if i > 3000 && i%10 == 0 {
					return keyedBy(partitioners[1], 12)
				}
				return keyedBy(partitioners[0], 12)
			})
		}, []string{"more than one partitioner"}},
		{"one key again and again is one key", 12, func(p *placements, r *rand.Rand) {
			// By luck both put it there.
			for range 5000 {
				p.look(keyed([]byte("hot"), "", 3, 0))
			}
			feed(p, r, 30, func(i int) shop { return keyedBy(partitioners[0], 12) })
		}, nil},
		{"no keys: silent", 12, func(p *placements, r *rand.Rand) {
			for i := range 4000 {
				p.look(keyed(nil, fmt.Sprint(i), r.IntN(12), int64(i)))
				p.look(keyed([]byte{}, fmt.Sprint("e", i), r.IntN(12), int64(i)))
			}
		}, nil},
		{"one partition: silent", 1, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(int) shop { return func([]byte) int { return 0 } })
		}, nil},
		{"partitions not known yet: silent", 0, func(p *placements, r *rand.Rand) {
			feed(p, r, 4000, func(i int) shop { return func([]byte) int { return i % 12 } })
		}, nil},
		{"partitions are added: told as that", 6, func(p *placements, r *rand.Rand) {
			feed(p, r, 1000, func(int) shop { return keyedBy(partitioners[0], 6) })
			p.count(9)
			feed(p, r, 1000, func(int) shop { return keyedBy(partitioners[0], 9) })
		}, []string{"requests from before partitions were added: "}},
		{"a topic made again with fewer partitions is another topic", 9, func(p *placements, r *rand.Rand) {
			feed(p, r, 1000, func(int) shop { return keyedBy(partitioners[0], 9) })
			p.count(6)
			feed(p, r, 1000, func(int) shop { return keyedBy(partitioners[1], 6) })
		}, nil},
		{"one order in two partitions is sure at once", 12, func(p *placements, _ *rand.Rand) {
			p.look(keyed([]byte("a"), "T1", 3, 70))
			p.look(keyed([]byte("a"), "T1", 3, 71))
			p.look(keyed([]byte("b"), "T1", 4, 9))
			p.look(keyed([]byte("b"), "T1", 3, 72))
		}, []string{"two requests of one order stand in two partitions"}},
		{"the same number of two merchants is two orders", 12, func(p *placements, _ *rand.Rand) {
			p.look(keyed([]byte("a"), "T1", 3, 70))
			other := keyed([]byte("b"), "T1", 4, 9)
			other.req.MchID = "1900000110"
			p.look(other)
		}, nil},
		{"an unreadable record is of no order", 12, func(p *placements, _ *rand.Rand) {
			p.look(keyed(nil, "", 3, 70))
			p.look(keyed(nil, "", 4, 70))
		}, nil},
		{"a replay and a retry say nothing of producers", 12, func(p *placements, _ *rand.Rand) {
			p.look(keyed([]byte("a"), "T1", 3, 70))
			replay := keyed([]byte("a"), "T1", 4, 9)
			replay.req.Replay = 1
			p.look(replay)
			retry := keyed([]byte("a"), "T1", 5, 9)
			retry.partition.topic = "retries.10s"
			p.look(retry)
		}, nil},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			p, hook := watched(c.partitions)
			c.run(p, rand.New(rand.NewPCG(3, 4)))
			var told []string
			for _, e := range hook.AllEntries() {
				told = append(told, e.Message)
			}
			if len(told) != len(c.want) {
				t.Fatalf("told: %q", told)
			}
			for i, want := range c.want {
				if !strings.Contains(told[i], want) || !strings.Contains(told[i], "side by side in two workers; closing stays safe") {
					t.Errorf("told: %s", told[i])
				}
			}
		})
	}
}

// feed lets a detector look at requests of distinct orders, slowly enough.
func feed(p *placements, r *rand.Rand, n int, from func(i int) shop) {
	p.looks.SetBurst(1 << 30)
	p.looks.SetLimit(1 << 30)
	prefix := r.Uint32()
	for i := range n {
		no := fmt.Sprintf("%08x-%d", prefix, i)
		p.look(keyed([]byte(no), no, from(i)([]byte(no)), int64(i)))
	}
}

func TestAKindIsToldAgainAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hook := watched(12)
		for range 49 {
			p.look(keyed([]byte("a"), "T1", 3, 70))
			p.look(keyed([]byte("b"), "T1", 4, 9))
			time.Sleep(time.Hour)
		}
		if n := len(hook.AllEntries()); n != 3 {
			t.Errorf("told %d times in two days", n)
		}
	})
}

func TestNoMoreThanSoManyRequestsAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(12)
		ask := func(n int) {
			for i := range n {
				p.look(keyed(fmt.Appendf(nil, "%v-%d", time.Now(), i), "", 0, 0))
			}
		}
		ask(100_000)
		if n := len(p.keys.seen); n != looksAtOnce {
			t.Errorf("%d were looked at, want %d", n, looksAtOnce)
		}
		time.Sleep(time.Second)
		if ask(100_000); p.looks.Tokens() >= 1 || len(p.keys.known) != mostKeys {
			t.Errorf("%v tokens are left, %d keys remembered", p.looks.Tokens(), len(p.keys.known))
		}
	})
}

// BenchmarkLook is what a request costs while it is looked at, and while none is.
func BenchmarkLook(b *testing.B) {
	for name, limit := range map[string]float64{"looked at": 1 << 30, "passed over": 0} {
		b.Run(name, func(b *testing.B) {
			p, _ := watched(12)
			p.looks.SetBurst(int(limit))
			r := rand.New(rand.NewPCG(3, 4))
			requests := make([]*request, 1<<16)
			for i := range requests {
				no := fmt.Sprintf("T%d-%d", r.Uint32(), i)
				requests[i] = keyed([]byte(no), no, keyedBy(partitioners[0], 12)([]byte(no)), int64(i))
			}
			p.looks.SetLimit(1 << 30)
			for i := 0; b.Loop(); i++ {
				p.look(requests[i%len(requests)])
			}
		})
	}
}
