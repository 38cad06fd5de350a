package events

import (
	"bytes"
	"fmt"
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
	required []bool
	folded   []folded
	most     []int // edits; 0 is another case or other separators alone
}

// newVocabulary makes the vocabulary of an object whose first names, as many
// as required says, must be there. most says how many edits away from a name
// is still near.
func newVocabulary(names []string, required int, most func(letters int) int) *vocabulary {
	v := &vocabulary{names: names}
	for i, name := range names {
		f := fold([]byte(name))
		v.folded = append(v.folded, f)
		v.most = append(v.most, most(f.n))
		v.required = append(v.required, i < required)
	}
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

// limit is how many edits away from name i, which is absent, is near. A
// required name is looked for further away: without it the record is refused
// anyway.
func (v *vocabulary) limit(i int) int {
	if v.required[i] && v.most[i] > 0 {
		return 2
	}
	return v.most[i]
}

// index returns the position of a name, -1 if it is not known.
func (v *vocabulary) index(name []byte) int {
	for i, known := range v.names {
		if string(name) == known {
			return i
		}
	}
	return -1
}

// isNear reports whether name is near any known one.
func (v *vocabulary) isNear(name []byte) bool {
	f := fold(name)
	for i := range v.names {
		if limit := v.limit(i); distance(&f, &v.folded[i], limit) <= limit {
			return true
		}
	}
	return false
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
		limit := v.limit(i)
		if d := distance(&f, &v.folded[i], limit); d <= limit && d < least {
			best, least = i, d
		}
	}
	return best
}

// notKnown says which names were written in place of the right one.
func notKnown(right string, written ...string) string {
	var b strings.Builder
	for i, name := range written {
		if i > 0 {
			b.WriteString(" and ")
		}
		b.WriteString(quoteTo(name, 32))
	}
	verb := "is"
	if len(written) > 1 {
		verb = "are"
	}
	return fmt.Sprintf("%s %s not known, did you mean %s?", b.String(), verb, right)
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
// of neighbours between a and b, most+1 where there are more than most. most is
// at most 2: up to there optimal string alignment is all but the whole truth.
func distance(a, b *folded, most int) int {
	if most < 0 || a.n > maxLetters || b.n > maxLetters || max(a.n, b.n)-min(a.n, b.n) > most {
		return most + 1
	}
	if most == 0 {
		if a.letters == b.letters {
			return 0
		}
		return 1
	}
	var rows [3][maxLetters + 1]int
	for j := range b.n + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= a.n; i++ {
		row, above, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		least := i
		for j := 1; j <= b.n; j++ {
			d := above[j-1]
			if a.letters[i-1] != b.letters[j-1] {
				d++
			}
			d = min(d, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a.letters[i-1] == b.letters[j-2] && a.letters[i-2] == b.letters[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least > most+1 {
			return most + 1
		}
	}
	if d := rows[a.n%3][b.n]; d <= most {
		return d
	}
	if most == 2 && (areCrossed(a, b) || areCrossed(b, a)) {
		return 2
	}
	return most + 1
}

// areCrossed reports whether a and b differ in two letters that changed places
// and of which b has another one in between: the two edits that an alignment
// counts as three.
func areCrossed(a, b *folded) bool {
	if a.n+1 != b.n {
		return false
	}
	i := 0
	for i < a.n && a.letters[i] == b.letters[i] {
		i++
	}
	if i+2 > a.n || a.letters[i] != b.letters[i+2] || a.letters[i+1] != b.letters[i] {
		return false
	}
	return slices.Equal(a.letters[i+2:a.n], b.letters[i+3:b.n])
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
	if distance(&f, &foldedReplay, 2) <= 2 {
		return HeaderReplay
	}
	if f.n > maxLetters {
		return ""
	}
	var text [maxLetters]byte
	for i := range f.n {
		if f.letters[i] > unicode.MaxASCII {
			return ""
		}
		text[i] = byte(f.letters[i])
	}
	for _, prefix := range []string{"ce", "cloudevents", "cloudevent"} {
		switch attribute, ok := bytes.CutPrefix(text[:f.n], []byte(prefix)); {
		case !ok:
		case string(attribute) == "id":
			return HeaderID
		case string(attribute) == "type":
			return HeaderType
		}
	}
	if string(text[:f.n]) == "contenttype" {
		return HeaderContentType
	}
	return ""
}

var foldedReplay = fold([]byte(HeaderReplay))
