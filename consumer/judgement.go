package consumer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
)

// judgement is what the places of some keys say.
type judgement struct {
	kind       kind
	keys       int
	partitions int
	found      []explanation
	// rest is how many keys stand where none of those found puts them.
	rest int
}

// kind is what is told.
type kind string

const (
	nothing kind = ""
	astray  kind = "an order in two partitions"
	mixed   kind = "keys of more than one partitioner"
	unknown kind = "keys that no partitioner that is known has placed"
	grown   kind = "keys from before partitions were added"
)

const sideBySide = "such requests may run side by side in two workers; closing stays safe, the order of their outcomes does not"

// explanation is a partitioner that was surely in use, for a topic of so many
// partitions, and how many keys it explains of those that no earlier one does.
type explanation struct {
	by   *partitioner
	of   int
	keys int
}

// judge says which partitioners have put keys where they stand, in a topic of
// so many partitions. A worker may see any part of the partitions.
//
// A key that a partitioner has placed stands where it says, without exception.
// Any other key stands there by chance, one time in the number of partitions,
// whatever has placed it: hashes know nothing of each other. So the partitioner
// that chance explains least is taken, its keys are put aside, and the rest is
// judged in the same way, until chance may explain what is left. When all keys
// were placed by one, nothing is left: no luck can make that look like a
// mixture. Chance itself passes for a partitioner less than once in 1e9
// judgements.
//
// Other numbers of partitions are tried as well: old requests stand where the
// key was of fewer, and this worker may hear of new partitions later than
// producers do.
func judge(keys []sighted, partitions int) judgement {
	j := judgement{keys: len(keys), partitions: partitions}
	if partitions < 2 || oneForAll(keys, []int{partitions}, 0) != nil {
		return j
	}
	rest := slices.Clone(keys)
	for len(rest) > 0 {
		f, ok := leastChance(rest, partitions)
		if !ok {
			break
		}
		before := len(rest)
		rest = slices.DeleteFunc(rest, f.explains)
		f.keys = before - len(rest)
		j.found = append(j.found, f)
	}
	j.rest = len(rest)
	if several(j.found) && !slices.ContainsFunc(j.found, func(f explanation) bool { return f.by.hash != j.found[0].by.hash }) {
		counts := []int{partitions}
		for _, f := range j.found {
			counts = append(counts, f.of)
		}
		one := oneForAll(keys, counts, j.rest)
		if one == nil && slices.ContainsFunc(keys, func(s sighted) bool { return !atZero(s) }) {
			one = oneForAll(keys, append(counts, 1), j.rest)
		}
		if one != nil {
			j.found = one
		}
	}
	// The old requests of a topic that had one partition say nothing.
	others := slices.DeleteFunc(slices.Clone(rest), atZero)
	if len(others) < len(rest)/4 {
		rest = others
	}
	switch {
	case several(j.found):
		j.kind = mixed
	case len(rest) >= max(fewestUnknown, j.keys/50) && surelyUnknown(rest, partitions):
		j.kind = unknown
	case j.rest <= j.keys/10 && slices.ContainsFunc(j.found, func(f explanation) bool { return f.of < partitions }):
		j.kind = grown
	}
	return j
}

func (f explanation) explains(s sighted) bool { return f.by.place(&s.hashes, f.of) == s.partition }

func atZero(s sighted) bool { return s.partition == 0 }

// several says whether more than one partitioner was found.
func several(all []explanation) bool {
	return slices.ContainsFunc(all, func(f explanation) bool { return f.by != all[0].by })
}

// oneForAll looks for one partitioner that explains all keys but a few, with
// the numbers of partitions that are given. Rules of one hash agree on half of
// the keys, and may be taken for each other when partitions were added.
func oneForAll(keys []sighted, counts []int, but int) []explanation {
	for _, by := range partitioners {
		all := make([]explanation, len(counts))
		for i, of := range counts {
			all[i] = explanation{by: by, of: of}
		}
		left := 0
		for _, s := range keys {
			i := slices.IndexFunc(all, func(f explanation) bool { return f.explains(s) })
			if i >= 0 {
				all[i].keys++
			} else if left++; left > but {
				break
			}
		}
		if left <= but {
			return slices.DeleteFunc(all, func(f explanation) bool { return f.keys == 0 })
		}
	}
	return nil
}

// fewestUnknown is how many keys must stand where nobody would have put them:
// so many of a partitioner that is known would have been recognised.
const fewestUnknown = 48

// leastChance returns the partitioner, and the number of partitions, that
// explain keys so well that it cannot be chance; false when none does.
func leastChance(keys []sighted, partitions int) (best explanation, ok bool) {
	most := 2 * partitions
	need := needed(partitions)
	least := 0.0 // of the best, by key
	try := func(by *partitioner, of int, sample []sighted) (all bool) {
		f := explanation{by: by, of: of}
		n := f.matches(sample)
		share, chance := float64(n)/float64(len(sample)), 1/float64(of)
		d := divergence(share, chance)
		// Numbers in a row and a simple hash have something in common when they
		// are divided by little: what is old must be at least half of it.
		if share <= chance || of != partitions && share < half(of) {
			return false
		}
		if d > least && d*float64(len(sample)) >= need {
			best, least, ok = f, d, true
		}
		return n == len(sample)
	}
	for _, by := range partitioners {
		if try(by, partitions, keys) && ok {
			return best, true
		}
	}
	// What a topic of one partition held hides the others.
	if moved := slices.DeleteFunc(slices.Clone(keys), atZero); len(moved) > 0 && len(moved) < len(keys) {
		for _, by := range partitioners {
			try(by, partitions, moved)
		}
	}
	sample := thin(keys, 512)
	for _, by := range partitioners {
		for of := 2; of <= most; of++ {
			if of != partitions {
				try(by, of, sample)
			}
		}
	}
	return best, ok
}

// needed is the evidence, as a logarithm, that chance brings about less than
// once in 1e9 judgements, which try so many explanations.
func needed(partitions int) float64 {
	return math.Log(1e9 * float64(len(partitioners)*(2*partitions+1)))
}

// half is the share of keys that stand where a partitioner puts them that has
// placed half of them, and chance the others.
func half(partitions int) float64 { return 0.5 + 0.5/float64(partitions) }

// matches counts the keys that a partitioner explains.
func (f explanation) matches(keys []sighted) (n int) {
	for _, s := range keys {
		if f.explains(s) {
			n++
		}
	}
	return n
}

// thin takes at most so many keys, from all over.
func thin(keys []sighted, most int) []sighted {
	if len(keys) <= most {
		return keys
	}
	some := make([]sighted, most)
	for i := range some {
		some[i] = keys[i*len(keys)/most]
	}
	return some
}

// divergence bounds luck: that of n independent events with probability chance
// a share as high as this happens, or for a share below chance one as low, is
// at most exp(-n*divergence) likely (Chernoff, in the form of Hoeffding 1963).
func divergence(share, chance float64) float64 {
	d := 0.0
	if share > 0 {
		d += share * math.Log(share/chance)
	}
	if share < 1 {
		d += (1 - share) * math.Log((1-share)/(1-chance))
	}
	return d
}

// surelyUnknown says whether no partitioner that is known has placed half of
// the keys, it would have been found or is unlikely by itself, and none all of
// them before and after partitions were added.
func surelyUnknown(keys []sighted, partitions int) bool {
	for of := 1; of <= 2*partitions; of++ {
		if oneForAll(keys, []int{partitions, of}, 0) != nil {
			return false
		}
	}
	n, most := float64(len(keys)), half(partitions)
	if n*divergence(most, 1/float64(partitions)) >= needed(partitions) {
		return true
	}
	for _, by := range partitioners {
		share := float64(explanation{by: by, of: partitions}.matches(keys)) / n
		if share >= most || n*divergence(share, most) < math.Log(1000) {
			return false
		}
	}
	return true
}

// tell says what was seen, what it means and what to do.
func (j judgement) tell(log logrus.FieldLogger) {
	seen := j.text()
	switch j.kind {
	case mixed:
		log.Warn("requests are keyed by more than one partitioner: " + seen + ". Requests of one order may stand in two partitions: " + sideBySide +
			". Give all producers one partitioner, say murmur2: " + strings.Join(j.remedies(), "; "))
	case unknown:
		log.Warn("requests do not stand where their keys belong: " + seen + ". Their producers ignore the keys (kafka-go does unless it has a Balancer), or have a partitioner of their own. Unless all share that one, requests of one order may stand in two partitions: " + sideBySide +
			". Give all producers one partitioner, say murmur2: kafka.Murmur2Balancer in kafka-go, partitioner=murmur2_random in clients on librdkafka")
	case grown:
		log.Info("requests from before partitions were added: " + seen + ". Of one order some may stand in another partition than later ones: " + sideBySide + ". It ends with the old requests")
	}
}

func (j judgement) text() string {
	var parts []string
	for i, f := range j.found {
		of, where := "", "does"
		if i > 0 {
			of = " of the others"
		} else {
			where = "puts them"
		}
		if f.of != j.partitions {
			where = fmt.Sprintf("puts them among %d", f.of)
		}
		parts = append(parts, fmt.Sprintf("%d%s stand where %s %s", f.keys, of, f.by.name, where))
	}
	switch {
	case len(j.found) == 0:
		return fmt.Sprintf("of %d keys no known partitioner puts more than chance would where they stand", j.keys)
	case j.rest > 0:
		parts = append(parts, fmt.Sprintf("%d where none of these does", j.rest))
	}
	return fmt.Sprintf("of %d keys %s", j.keys, strings.Join(parts, ", "))
}

func (j judgement) remedies() (all []string) {
	for _, f := range j.found {
		if f.by.remedy != "" {
			all = append(all, f.by.remedy)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
