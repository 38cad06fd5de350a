package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// byteOrderMark is what some editors and libraries put before UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

// checkText says why doc is not one JSON object in UTF-8; nil when it is.
func checkText(doc []byte) error {
	text := bytes.TrimLeft(doc, " \t\r\n")
	switch {
	case len(doc) == 0:
		return errors.New("is empty")
	case len(text) == 0:
		return errors.New("is blank")
	case bytes.HasPrefix(doc, byteOrderMark):
		return errors.New("starts with a byte order mark, want JSON")
	}
	if at := firstInvalidUTF8(doc); at >= 0 {
		return fmt.Errorf("is not UTF-8 (byte %d)", at+1)
	}
	if !json.Valid(doc) {
		var any json.RawMessage
		err := json.Unmarshal(doc, &any)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("is not JSON: %s (byte %d)", syntax.Error(), syntax.Offset)
		}
		return errors.New("is not JSON")
	}
	if kind := kindOf(text); kind != "object" {
		return fmt.Errorf("is a JSON %s, want an object", kind)
	}
	return nil
}

func firstInvalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
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

func skipSpace(doc []byte, at int) int {
	for at < len(doc) && (doc[at] == ' ' || doc[at] == '\n' || doc[at] == '\t' || doc[at] == '\r') {
		at++
	}
	return at
}

// skipString returns the position after the string that starts at at, or -1.
func skipString(doc []byte, at int) int {
	for i := at + 1; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns the position after the value that starts at at, or -1.
// It finds the ends of values, it does not check them.
func skipValue(doc []byte, at int) int {
	for depth, i := 0, at; i < len(doc); {
		switch doc[i] {
		case '"':
			if i = skipString(doc, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		default:
			start := i
			for i < len(doc) && !isStructural(doc[i]) {
				i++
			}
			if i == start {
				i++ // white space or a separator inside a bracket
			}
			if depth == 0 && i == len(doc) {
				return -1 // 12 of what may have been 123
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return -1
}

func isStructural(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// kindOf names the JSON type of a value by its first byte.
func kindOf(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
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

func parseTime(name, s string, p *problems) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || !isRFC3339(s) {
		p.add(name, "is %s, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00", quote(s))
		return time.Time{}
	}
	t = t.UTC()
	if !isWritable(t) {
		p.add(name, "is %s, outside the years 1 to 9999", quote(s))
		return time.Time{}
	}
	return t
}

// isRFC3339 refuses what time.Parse lets pass (go.dev/issue/54580): an hour of
// one digit, a comma before the fraction, a zone beyond 23:59.
func isRFC3339(s string) bool {
	if len(s) < len("2006-01-02T15:04:05Z") || s[len("2006-01-02T15")] != ':' || strings.Contains(s, ",") {
		return false
	}
	if strings.HasSuffix(s, "Z") {
		return true
	}
	zone := s[len(s)-len("15:04"):]
	return zone[:2] <= "23" && zone[3:] <= "59"
}

// marshal encodes v, which must leave its metadata out, and puts metadata in
// byte for byte. json.Marshal would escape <, > and & and drop its white space.
func marshal(v any, metadata json.RawMessage) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(metadata) == 0 {
		return out, nil
	}
	out = append(out[:len(out)-1], `,"metadata":`...)
	out = append(out, metadata...)
	return append(out, '}'), nil
}
