package events

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// A misspelt optional field that is silently ignored costs money: an order
// whose expires_at is written expire_at is closed after its expiry. So what is
// nearly a known name, while that name itself is absent, is refused with it.
// Anything further away is somebody else's field, and allowed.

// vocabulary is the known names of one kind of object, and how near to one of
// them another name is taken for a slip.
type vocabulary struct {
	names    []string
	required int // how many of them, the first ones, must be there
	ofLength [][]int
	folded   []folded
	limits   []int // edits; 0 is another case or other separators alone
	at       []int // where each one stands in its type, if it has one
}

// newVocabulary makes the vocabulary of an object. limit says how many edits
// away from a name, which is absent, another one is near. A required name is
// looked for further away: without it the record is refused anyway.
func newVocabulary(names []string, required int, limit func(letters int) int) *vocabulary {
	v := &vocabulary{names: names, required: required}
	for i, name := range names {
		f := fold([]byte(name))
		most := limit(f.n)
		if i < required && most > 0 {
			most = 2
		}
		v.folded, v.limits = append(v.folded, f), append(v.limits, most)
		for len(v.ofLength) <= len(name) {
			v.ofLength = append(v.ofLength, nil)
		}
		v.ofLength[len(name)] = append(v.ofLength[len(name)], i)
	}
	return v
}

// vocabularyOf makes the vocabulary of a type's fields, by their names on the
// wire.
func vocabularyOf[T any](required int, limit func(letters int) int) *vocabulary {
	var names []string
	var at []int
	for i, field := range slices.Collect(reflect.TypeFor[T]().Fields()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
			names, at = append(names, name), append(at, i)
		}
	}
	v := newVocabulary(names, required, limit)
	v.at = at
	return v
}

// slips is how many edits are a slip of the pen: two in a name of more than
// six letters, one in a shorter one. Two edits make paid, region or match_id
// of appid, reason and mch_id.
func slips(letters int) int {
	if letters > 6 {
		return 2
	}
	return 1
}

// casing counts another case and other separators alone.
func casing(int) int { return 0 }

// exact counts nothing: any other name is another field.
func exact(int) int { return -1 }

// index returns the position of a name, -1 if it is not known.
func (v *vocabulary) index(name []byte) int {
	if len(name) >= len(v.ofLength) {
		return -1
	}
	for _, i := range v.ofLength[len(name)] {
		if v.names[i] == string(name) {
			return i
		}
	}
	return -1
}

// nearest returns the position of the name that is nearest to name among those
// that absent holds for, -1 if none is near.
func (v *vocabulary) nearest(name string, absent func(i int) bool) int {
	f := fold([]byte(name))
	best, least := -1, maxLetters
	for i := range v.names {
		if !absent(i) {
			continue
		}
		if d := distance(&f, &v.folded[i], v.limits[i]); d <= v.limits[i] && d < least {
			best, least = i, d
		}
	}
	return best
}

// notKnown says which names, one or two, were written in place of the right one.
func notKnown(right string, written ...string) string {
	text, verb := quoteTo(written[0], 32), "is"
	if len(written) > 1 {
		text, verb = text+" and "+quoteTo(written[1], 32), "are"
	}
	return fmt.Sprintf("%s %s not known, did you mean %s?", text, verb, right)
}

// maxLetters is the room for a name without its separators. The longest known
// one has 20 letters, and at most two edits.
const maxLetters = 24

// folded is a name without what people write differently: case, separators,
// blanks and characters that cannot be seen. Full-width forms, as a Chinese
// keyboard makes them, are their ASCII.
type folded struct {
	letters [maxLetters]rune
	n       int // more than maxLetters for a longer name, which is near to nothing
}

func fold(name []byte) folded {
	var f folded
	if len(name) > 8*maxLetters {
		f.n = maxLetters + 1
		return f
	}
	for _, r := range string(name) {
		if r = foldRune(r); r < 0 {
			continue
		}
		if f.n < maxLetters {
			f.letters[f.n] = r
		}
		f.n++
	}
	return f
}

// foldRune returns -1 for what does not count.
func foldRune(r rune) rune {
	if 0xff01 <= r && r <= 0xff5e {
		r -= 0xff01 - '!'
	}
	switch {
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return r
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r == '_' || r == '-' || r == '.' || r == ':' || unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf):
		return -1
	}
	return unicode.ToLower(r)
}

// distance counts the insertions, deletions, substitutions and transpositions
// of neighbours between a and b, most+1 where there are more than most, of
// which there are at most 2.
func distance(a, b *folded, most int) int {
	if a.n > maxLetters || b.n > maxLetters {
		return most + 1
	}
	return edits(a.letters[:a.n], b.letters[:b.n], most)
}

func edits(a, b []rune, most int) int {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	if most <= 0 || len(a)+len(b) == 0 || max(len(a), len(b))-min(len(a), len(b)) > most {
		return min(len(a)+len(b), most+1)
	}
	least := most + 1
	// try counts cost edits that make i letters of a into j of b.
	try := func(cost, i, j int) {
		if cost <= most && i <= len(a) && j <= len(b) {
			least = min(least, cost+edits(a[i:], b[j:], most-cost))
		}
	}
	try(1, 0, 1)
	try(1, 1, 0)
	try(1, 1, 1)
	// Two that changed places, also with a third one in between that is new or gone.
	for _, swap := range [][2]int{{2, 2}, {2, 3}, {3, 2}} {
		if i, j := swap[0], swap[1]; i <= len(a) && j <= len(b) && a[0] == b[j-1] && a[i-1] == b[0] {
			try(i+j-3, i, j)
		}
	}
	return least
}

// nearHeader returns the header that a producer meant by another name for one
// that we go by: another case (CE_ID), other separators (ce-id, as in HTTP),
// the prefix of other bindings (cloudEvents:id, cloudEvents_id), and for our
// own closeorder-replay a slip of the pen. Extension attributes are free, so
// that ce_ids is one.
func nearHeader(key string) string {
	if len(key) < len("ceid") || key[0]|0x20 != 'c' {
		return ""
	}
	f := fold([]byte(key))
	if distance(&f, &foldedReplay, 2) <= 2 && (key == HeaderReplay || !OfReplay(key)) {
		return HeaderReplay
	}
	switch string(f.letters[:min(f.n, maxLetters)]) {
	case "ceid", "cloudeventid", "cloudeventsid":
		return headerID
	case "cetype", "cloudeventtype", "cloudeventstype":
		return headerType
	case "contenttype":
		return headerContentType
	}
	return ""
}

var foldedReplay = fold([]byte(HeaderReplay))
