package events

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encoding/json takes "Mch_Id" for mch_id and the last of duplicate members,
// either of which lets one record mean two orders to two readers. So objects
// are read here: exact names, each once, the rest ignored.

// object is a JSON object as far as its members have known names, or names
// that are near them.
type object struct {
	words   *vocabulary
	raw     [maxNames][]byte // by position in words; nil where absent or null
	seen    [maxNames]uint8  // how often the member occurs, at most 2
	strays  []stray
	members int // how many there are, known or not, at most 3
}

// maxNames is the most names that a vocabulary may have: an outcome has 20.
const maxNames = 24

// stray is a member whose name is near a known one.
type stray struct {
	name string
	raw  []byte
}

// maxStrays bounds what is kept of an object full of them.
const maxStrays = 16

// scanObject reads as far as doc is whole; valid says that all of it is.
func scanObject(doc []byte, words *vocabulary, valid bool) object {
	o := object{words: words}
	eachMember(doc, valid, func(quoted, raw []byte, whole bool) {
		if whole {
			o.take(quoted, raw)
		}
	})
	return o
}

func (o *object) take(quoted, raw []byte) {
	o.members = min(o.members+1, 3)
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var s string
		if json.Unmarshal(quoted, &s) != nil {
			return
		}
		name = []byte(s)
	}
	i := o.words.index(name)
	switch {
	case i >= 0:
		o.seen[i] = min(o.seen[i]+1, 2)
		if kindOf(raw) != "null" {
			o.raw[i] = raw
		}
	case len(o.strays) < maxStrays && !isNothing(raw) && o.words.nearest(string(name), func(int) bool { return true }) >= 0:
		o.strays = append(o.strays, stray{string(name), raw})
	}
}

// isNothing reports whether a value says nothing: null, or a text without
// characters.
func isNothing(raw []byte) bool {
	return raw == nil || kindOf(raw) == "null" || string(raw) == `""`
}

// has reports whether the object has the member, null or not.
func (o *object) has(name string) bool {
	return o.seen[o.words.index([]byte(name))] > 0
}

// isAbsent reports whether member i says nothing, so that another name may
// have been meant for it.
func (o *object) isAbsent(i int) bool { return o.seen[i] < 2 && isNothing(o.raw[i]) }

// saysNothingOf reports whether the object has no member of that name, nor one
// that was meant so.
func (o *object) saysNothingOf(name string) bool {
	return o.isAbsent(o.words.index([]byte(name))) && len(o.meant(name)) == 0
}

// meant returns the members that were nearly called name, where the exact one
// is absent.
func (o *object) meant(name string) []stray {
	var found []stray
	for _, s := range o.strays {
		if i := o.words.nearest(s.name, o.isAbsent); i >= 0 && o.words.names[i] == name {
			found = append(found, s)
		}
	}
	return found
}

// misspelt makes a problem of every member that was nearly called one of names.
// also says what is wrong with its value besides, so that one round is enough.
func (o *object) misspelt(p *problems, also func(name string, raw []byte) string, names ...string) {
	if len(o.strays) == 0 {
		return
	}
	for _, name := range names {
		found := o.meant(name)
		if len(found) == 0 {
			continue
		}
		var written []string
		for _, s := range found[:min(len(found), 2)] {
			written = append(written, s.name)
		}
		text := notKnown(name, written...)
		if o.words.index([]byte(name)) < o.words.required {
			text = problemRequired + "; " + text
		}
		if len(found) == 1 {
			if value := also(name, found[0].raw); value != "" {
				text += " Its value " + value
			}
		}
		p.add(name, "%s", text)
	}
}

// read fills the struct that to points to, of the type that o.words is made of,
// but for its fields that are structs themselves.
func (o *object) read(to any, p *problems) {
	fields := reflect.ValueOf(to).Elem()
	for i, name := range o.words.names {
		switch field := fields.Field(o.words.at[i]).Addr().Interface().(type) {
		case *string:
			*field = o.text(name, p)
		case *Result:
			*field = Result(o.text(name, p))
		case *bool:
			*field = string(o.get(name, "boolean", p)) == "true"
		case *int:
			*field = int(o.number(name, 0, maxCount, p))
		case *int64:
			least := int64(0)
			if name == "total_fee" { // whatever the gateway said
				least = math.MinInt64
			}
			*field = o.number(name, least, math.MaxInt64, p)
		case *time.Time:
			*field = o.time(name, p)
		case *json.RawMessage:
			*field = bytes.Clone(o.get(name, "object", p))
		}
	}
}

// get returns the value of a member, nil where it is absent, null, occurs
// twice or is not of the wanted kind. The latter two are problems.
func (o *object) get(name, kind string, p *problems) []byte {
	raw := o.any(name, p)
	if raw != nil && kindOf(raw) != kind {
		p.add(name, "is %s, want %s", article(kindOf(raw)), article(kind))
		return nil
	}
	return raw
}

// any returns the value of a member of whatever kind, nil where it is absent,
// null or occurs twice, which is a problem.
func (o *object) any(name string, p *problems) []byte {
	i := o.words.index([]byte(name))
	if o.seen[i] > 1 {
		p.add(name, "occurs more than once")
		return nil
	}
	return o.raw[i]
}

func article(kind string) string {
	if kind == "object" || kind == "array" {
		return "an " + kind
	}
	return "a " + kind
}

func (o *object) text(name string, p *problems) string {
	return textOf(o.get(name, "string", p))
}

// textOf returns the text of a JSON string, "" for nil.
func textOf(raw []byte) string {
	if raw == nil {
		return ""
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// identity reads a string that names something. Another value in its place is
// a problem, but what can be read of it is kept, and so is what stands under a
// name that is nearly the right one: a failed outcome names the order wherever
// it can be read.
func (o *object) identity(name string, p *problems) string {
	raw := o.any(name, p)
	switch {
	case raw != nil && kindOf(raw) == "number":
		p.add(name, "%s", problemNumber(string(raw)))
		return nameOf(raw)
	case raw != nil && kindOf(raw) != "string":
		p.add(name, "is %s, want a string", article(kindOf(raw)))
		return nameOf(raw)
	case !isNothing(raw) || len(o.strays) == 0:
		return textOf(raw)
	}
	kept := ""
	for i, s := range o.meant(name) {
		text := nameOf(s.raw)
		if i > 0 && text != kept {
			return ""
		}
		kept = text
	}
	return kept
}

// nameOf returns the name that a value of any kind has in it: a text, the
// digits of a number, and a text that stands alone in an object, as in the JSON
// encoding of an Avro union: {"string":"T2"}. Else "".
func nameOf(raw []byte) string {
	n, only := 0, raw
	switch kindOf(raw) {
	case "number":
		if isDigits(string(raw)) {
			return string(raw)
		}
	case "object":
		eachMember(raw, true, func(_, raw []byte, _ bool) { n, only = n+1, raw })
	}
	if n > 1 || kindOf(only) != "string" {
		return ""
	}
	return textOf(only)
}

// isDigits reports whether s is made of digits, one at least.
func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// time reads an RFC 3339 time and returns it in UTC; zero where there is none.
func (o *object) time(name string, p *problems) time.Time {
	return timeOf(name, o.any(name, p), p)
}

func timeOf(name string, raw []byte, p *problems) time.Time {
	switch {
	case raw == nil:
		return time.Time{}
	case kindOf(raw) == "string":
		return parseTime(name, textOf(raw), p)
	}
	p.add(name, "%s", problemNoTime(raw))
	return time.Time{}
}

// number reads an integer of at least min and at most max.
func (o *object) number(name string, min, max int64, p *problems) int64 {
	raw := o.get(name, "number", p)
	if raw == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < min || n > max {
		p.add(name, "is %s, want a whole number from %d to %d", quote(string(raw)), min, max)
		return 0
	}
	return n
}
