package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encoding/json takes "Mch_Id" for mch_id and the last of duplicate members,
// either of which lets one record mean two orders to two readers. So objects
// are read here: exact names, each once, the rest ignored.

// object is a JSON object as far as its members have known names.
type object struct {
	names []string
	raw   [][]byte // by position in names; nil where absent or null
	twice []bool   // by position in names
	near  []string // by position in names: a member that differs in case alone; may be nil
}

// readObject reads the JSON object doc. Beside an error stands what could be
// read before the trouble.
func readObject(doc []byte, names []string) (object, error) {
	o := object{names: names, raw: make([][]byte, len(names)), twice: make([]bool, len(names))}
	seen := make([]bool, len(names))
	err := checkText(doc)
	o.each(doc, err == nil, func(i int, raw []byte) {
		o.twice[i] = seen[i]
		seen[i] = true
		if kindOf(raw) != "null" {
			o.raw[i] = raw
		}
	})
	return o, err
}

// each calls f for every member with a known name. When doc is not known to
// be valid it stops where doc breaks, and passes whole values only.
func (o *object) each(doc []byte, valid bool, f func(i int, raw []byte)) {
	doc = bytes.TrimPrefix(doc, byteOrderMark)
	at := skipSpace(doc, 0)
	if at >= len(doc) || doc[at] != '{' {
		return
	}
	for {
		at = skipSpace(doc, at+1)
		if at >= len(doc) || doc[at] != '"' {
			return
		}
		end := skipString(doc, at)
		if end < 0 {
			return
		}
		quoted := doc[at:end]
		at = skipSpace(doc, end)
		if at >= len(doc) || doc[at] != ':' {
			return
		}
		at = skipSpace(doc, at+1)
		end = skipValue(doc, at)
		if end < 0 {
			return
		}
		raw := doc[at:end:end]
		if !valid && !json.Valid(raw) {
			return
		}
		if i := o.index(quoted); i >= 0 {
			f(i, raw)
		}
		at = skipSpace(doc, end)
		if at >= len(doc) || doc[at] != ',' {
			return
		}
	}
}

// index returns the position of a quoted member name, -1 if it is not known.
func (o *object) index(quoted []byte) int {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var s string
		if json.Unmarshal(quoted, &s) != nil {
			return -1
		}
		name = []byte(s)
	}
	for i, known := range o.names {
		if string(name) == known {
			return i
		}
	}
	for i, known := range o.names {
		if strings.EqualFold(string(name), known) {
			if o.near == nil {
				o.near = make([]string, len(o.names))
			}
			o.near[i] = string(name)
		}
	}
	return -1
}

// get returns the value of a member, nil where it is absent, null, occurs
// twice or is not of the wanted kind. The latter two are problems.
func (o *object) get(name, kind string, p *problems) []byte {
	for i, known := range o.names {
		switch {
		case known != name:
		case o.twice[i]:
			p.add(name, "occurs more than once")
			return nil
		case o.raw[i] == nil:
			return nil
		case kindOf(o.raw[i]) != kind:
			p.add(name, "is %s, want %s", article(kindOf(o.raw[i])), article(kind))
			return nil
		default:
			return o.raw[i]
		}
	}
	return nil
}

// nearTo returns a member of the document that is name but for its case.
func (o *object) nearTo(name string) string {
	for i, known := range o.names {
		if known == name && o.near != nil {
			return o.near[i]
		}
	}
	return ""
}

func article(kind string) string {
	if kind == "object" || kind == "array" {
		return "an " + kind
	}
	return "a " + kind
}

func (o *object) text(name string, p *problems) string {
	raw := o.get(name, "string", p)
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

// time reads an RFC 3339 time and returns it in UTC; zero where there is none.
func (o *object) time(name string, p *problems) time.Time {
	return parseTime(name, o.text(name, p), p)
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

func (o *object) boolean(name string, p *problems) bool {
	return string(o.get(name, "boolean", p)) == "true"
}
