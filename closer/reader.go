package closer

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/closeorder/closeorder/signing"
)

// MaxDocument bounds what is read of a document, in bytes. Real replies have
// less than 2 KiB.
const MaxDocument = 64 << 10

// ReadFields reads a V2 request or reply: one <xml> root whose children are the
// fields, each once, each with text or CDATA alone. An empty field is kept as
// "". Line ends in a value are read as XML 1.0 has them, section 2.11: CR LF
// and CR are LF. The error goes on after the document's name, as in "reply.xml
// has ...", and shows no signature.
//
// It is stricter than XML: comments, processing instructions but for the
// declaration, directives, attributes, name spaces, nesting and a second field
// of a name are refused, and so is whatever follows the root. Each of these
// lets a reply say one thing to the signature check and another to the reader.
func ReadFields(document []byte) (map[string]string, error) {
	read, _, err := readFields(nil, document, asXML)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(read))
	for _, f := range read {
		all[f.Name] = f.Value
	}
	return all, nil
}

// lineEnds says how line ends in values are read. V2 SDKs sign both.
type lineEnds bool

const (
	asXML       lineEnds = false // CR LF and CR are LF (XML 1.0, section 2.11)
	asTheyStand lineEnds = true
)

// readFields is ReadFields into room, which it overwrites: in one pass, with
// one allocation for all that it returns, where no value has references or
// several pieces. returns: there is a carriage return in a value, so that
// another reading of line ends gives another text.
func readFields(room fields, document []byte, ends lineEnds) (read fields, returns bool, err error) {
	if len(document) > MaxDocument {
		return nil, false, fmt.Errorf("is longer than %d bytes", MaxDocument)
	}
	text := strings.TrimPrefix(string(document), "\uFEFF")
	if !utf8.ValidString(text) {
		return nil, false, errors.New("is not valid UTF-8")
	}
	r := reader{text: text, ends: ends, read: room[:0]}
	if err := r.document(); err != nil {
		return nil, false, err
	}
	return r.read, r.returns, nil
}

// reader reads one document. Its grammar, in the words of XML 1.0:
//
//	document    = [declaration] S* "<xml" S* (">" (field | S)* "</xml" S* ">" | "/>") S*
//	field       = "<" name S* (">" value "</" name S* ">" | "/>")
//	name        = [A-Za-z_] [A-Za-z0-9_.-]*
//	value       = (text | reference | "<![CDATA[" text "]]>")*
//	declaration = "<?xml" (S+ ("version" = 1.0 | "encoding" = utf-8 | "standalone" = yes or no))* S* "?>"
type reader struct {
	text    string
	at      int // what is behind it is read
	ends    lineEnds
	read    fields
	returns bool
	// names are those in read, once they are too many to be compared with each.
	names map[string]bool
	// one and pieces are the value that is being read: the text of pieces, or,
	// while that is empty, one, which is a part of the document itself.
	one    string
	pieces []byte
}

const cdata = "<![CDATA["

func (r *reader) document() error {
	if err := r.declaration(); err != nil {
		return err
	}
	r.blanks()
	if r.at == len(r.text) {
		if strings.TrimSpace(r.text) == "" {
			return errors.New("is empty")
		}
		return errors.New("has no root element <xml>")
	}
	start := r.at
	root, empty, err := r.startTag()
	switch {
	case err != nil:
		return err
	case root != "xml":
		return r.has(start, "the root element %.40q, not \"xml\",", maskHex(root))
	}
	for !empty {
		r.blanks()
		if strings.HasPrefix(r.text[r.at:], "</") {
			if err := r.endTag(root); err != nil {
				return err
			}
			break
		}
		if err := r.field(); err != nil {
			return err
		}
	}
	r.blanks()
	if r.at == len(r.text) {
		return nil
	}
	start = r.at
	name, _, err := r.startTag()
	if err != nil {
		return err
	}
	return r.has(start, "another element %.40q after its end", maskHex(name))
}

// manyFields is how many fields are compared with a new one by their names.
const manyFields = 64

// field reads one field.
func (r *reader) field() error {
	start := r.at
	name, empty, err := r.startTag()
	if err != nil {
		return err
	}
	if r.known(name) {
		return r.has(start, "the element %.40q a second time", maskHex(name))
	}
	value := ""
	if !empty {
		if value, err = r.value(name); err != nil {
			return err
		}
		if err := r.endTag(name); err != nil {
			return err
		}
	}
	if len(r.text) > longDocument {
		name, value = strings.Clone(name), strings.Clone(value)
	}
	r.read = append(r.read, signing.Field{Name: name, Value: value})
	return nil
}

// longDocument is from where on a value is copied, so that the code that is
// kept of a reply does not keep all of it.
const longDocument = 4 << 10

// known reports whether there was a field of this name.
func (r *reader) known(name string) bool {
	if len(r.read) < manyFields {
		for i := range r.read {
			if r.read[i].Name == name {
				return true
			}
		}
		return false
	}
	if r.names == nil {
		r.names = make(map[string]bool)
		for _, f := range r.read {
			r.names[f.Name] = true
		}
	}
	known := r.names[name]
	r.names[name] = true
	return known
}

// startTag reads "<name>" or "<name/>", and says what else is there.
func (r *reader) startTag() (name string, empty bool, err error) {
	start := r.at
	rest := r.text[r.at:]
	switch {
	case rest == "":
		return "", false, r.unfinished()
	case rest[0] != '<':
		return "", false, r.has(start, "text outside of a field")
	case len(rest) > 1 && (rest[1] == '!' || rest[1] == '?'):
		return "", false, r.markup()
	}
	r.at++
	if name, err = r.name(); err != nil {
		return "", false, err
	}
	r.blanks()
	rest = r.text[r.at:]
	switch {
	case rest == "":
		return "", false, r.unfinished()
	case rest[0] == '>':
		r.at++
		return name, false, nil
	case strings.HasPrefix(rest, "/>"):
		r.at += 2
		return name, true, nil
	case rest[0] == '/':
		return "", false, r.isNot(r.at, "there is a / that does not end the element %.40q", maskHex(name))
	}
	return "", false, r.has(start, "attributes on the element %.40q", maskHex(name))
}

// endTag reads "</name>".
func (r *reader) endTag(name string) error {
	start := r.at
	r.at += len("</")
	ended, err := r.name()
	if err != nil {
		return err
	}
	if ended != name {
		return r.isNot(start, "the element %.40q is closed by %.40q", maskHex(name), maskHex(ended))
	}
	r.blanks()
	if r.at == len(r.text) {
		return r.unfinished()
	}
	if r.text[r.at] != '>' {
		return r.isNot(r.at, "there is more than a name in the end of the element %.40q", maskHex(name))
	}
	r.at++
	return nil
}

// name reads the name of an element.
func (r *reader) name() (string, error) {
	start, text, at := r.at, r.text, r.at
	for at < len(text) && kinds[text[at]]&inName != 0 {
		at++
	}
	name := text[start:at]
	r.at = at
	switch {
	case r.at == len(r.text):
		return "", r.unfinished()
	case r.text[r.at] == ':':
		return "", r.has(start, "an element with a name space")
	case r.text[r.at] >= utf8.RuneSelf:
		return "", r.has(start, "an element with a name that is not of letters, digits and _.- of ASCII")
	case name == "" || kinds[name[0]]&beginsName == 0:
		return "", r.isNot(start, "there is no name of an element where one must be")
	}
	return name, nil
}

// value reads the value of a field up to its end tag.
func (r *reader) value(name string) (string, error) {
	r.one, r.pieces = "", r.pieces[:0]
	start, quoted := r.at, false // quoted: in CDATA
	for {
		text, at := r.text, r.at
		for at < len(text) && kinds[text[at]]&plain != 0 {
			at++
		}
		r.at = at
		if r.at == len(r.text) {
			return "", r.unfinished()
		}
		switch c := r.text[r.at]; {
		case c == '<' && !quoted:
			r.add(r.text[start:r.at])
			rest := r.text[r.at:]
			switch {
			case strings.HasPrefix(rest, "</"):
				if len(r.pieces) > 0 {
					return string(r.pieces), nil
				}
				return r.one, nil
			case strings.HasPrefix(rest, cdata):
				r.at += len(cdata)
				quoted = true
			default:
				at := r.at
				inner, _, err := r.startTag()
				if err != nil {
					return "", err
				}
				return "", r.has(at, "the element %.40q inside of %.40q", maskHex(inner), maskHex(name))
			}
			start = r.at
		case c == ']' && strings.HasPrefix(r.text[r.at:], "]]>"):
			if !quoted {
				return "", r.isNot(r.at, "there is a ]]> outside of CDATA")
			}
			r.add(r.text[start:r.at])
			r.at += len("]]>")
			start, quoted = r.at, false
		case c == '&' && !quoted:
			r.add(r.text[start:r.at])
			if err := r.reference(); err != nil {
				return "", err
			}
			start = r.at
		case c == '\r':
			r.returns = true
			r.at++
			if r.ends == asTheyStand {
				continue
			}
			r.add(r.text[start : r.at-1])
			if r.at < len(r.text) && r.text[r.at] == '\n' {
				start = r.at // the LF of a CR LF is its line end
			} else {
				r.add("\n")
				start = r.at
			}
		default:
			char, size := utf8.DecodeRuneInString(r.text[r.at:])
			if !isChar(char) {
				return "", r.isNot(r.at, "the character %U is none of XML", char)
			}
			r.at += size
		}
	}
}

// add puts a piece behind what there is of the value.
func (r *reader) add(piece string) {
	switch {
	case piece == "":
	case r.one == "":
		r.one = piece
	default:
		if len(r.pieces) == 0 {
			r.pieces = append(r.pieces, r.one...)
		}
		r.pieces = append(r.pieces, piece...)
	}
}

// reference reads &name; or &#number; into the value.
func (r *reader) reference() error {
	start := r.at
	end := start + 1
	for end < len(r.text) && (kinds[r.text[end]]&inName != 0 || r.text[end] == '#') {
		end++
	}
	if end == len(r.text) || r.text[end] != ';' {
		return r.isNot(start, "there is an & that begins no reference, write it as &amp;")
	}
	char, ok := referred(r.text[start+1 : end])
	if !ok {
		return r.isNot(start, "the reference %.20q is to no character", maskHex(r.text[start:end+1]))
	}
	if !isChar(char) {
		return r.isNot(start, "the character %U is none of XML", char)
	}
	r.at = end + 1
	// Half of a surrogate pair, as some serializers write what is outside of the
	// basic plane, becomes U+FFFD, as in encoding/xml: an order with such a text
	// proves nothing, and does not speak against the host.
	var room [utf8.UTFMax]byte
	r.add(string(utf8.AppendRune(room[:0], char)))
	return nil
}

// referred returns the character of a reference: one of the five names that XML
// has, or a number.
func referred(name string) (char rune, ok bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, numbered := strings.CutPrefix(name, "#")
	if !numbered {
		return 0, false
	}
	base := rune(10)
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	for i := range len(digits) {
		digit := rune(16)
		switch c := digits[i]; {
		case '0' <= c && c <= '9':
			digit = rune(c - '0')
		case 'a' <= c && c <= 'f':
			digit = rune(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			digit = rune(c - 'A' + 10)
		}
		if digit >= base {
			return 0, false
		}
		if char = char*base + digit; char > utf8.MaxRune {
			return 0, false
		}
	}
	return char, digits != ""
}

// isChar reports whether XML has a character (XML 1.0, section 2.2).
func isChar(c rune) bool {
	return c >= 0x20 && c != 0xFFFE && c != 0xFFFF || c == '\t' || c == '\n' || c == '\r'
}

// declaration reads the XML declaration, if there is one. The version is taken
// for 1.0 where it is not said.
func (r *reader) declaration() error {
	const opens = "<?xml"
	rest, ok := strings.CutPrefix(r.text, opens)
	if !ok || rest == "" || kinds[rest[0]]&inName != 0 || rest[0] == ':' || rest[0] >= utf8.RuneSelf {
		return nil // none, or <?xml-stylesheet and the like
	}
	inside, _, ended := strings.Cut(rest, "?>")
	if !ended {
		return r.unfinished()
	}
	r.at = len(opens) + len(inside) + len("?>")
	said := make(map[string]string)
	for {
		left := strings.TrimLeft(inside, blanks)
		if left == "" {
			break
		}
		name, behind, found := strings.Cut(left, "=")
		name, behind = strings.TrimRight(name, blanks), strings.TrimLeft(behind, blanks)
		_, twice := said[name]
		if !found || twice || left == inside || behind == "" || behind[0] != '"' && behind[0] != '\'' {
			return r.has(0, "an XML declaration that is none")
		}
		value, more, closed := strings.Cut(behind[1:], behind[:1])
		if !closed {
			return r.has(0, "an XML declaration that is none")
		}
		said[name] = value
		switch {
		case name == "version" && value != "1.0":
			return r.has(0, "the version %.20q, not 1.0,", maskHex(value))
		case name == "encoding" && !strings.EqualFold(value, "utf-8"):
			return errors.New("declares another encoding than utf-8")
		case name != "version" && name != "encoding" && (name != "standalone" || value != "yes" && value != "no"):
			return r.has(0, "an XML declaration that is none")
		}
		inside = more
	}
	return nil
}

// blanks are white space (XML 1.0, production 3).
const blanks = " \t\r\n"

// blanks reads over white space.
func (r *reader) blanks() {
	for r.at < len(r.text) && kinds[r.text[r.at]]&blank != 0 {
		r.at++
	}
}

// What a byte can be.
const (
	plain      = 1 << iota // in a value, for itself
	inName                 // in the name of an element
	beginsName             // at its beginning
	blank
	escaped // written as a reference
)

var kinds = func() (k [256]uint8) {
	for c := range k {
		if c >= 0x20 && c != 0xEF { // U+FFFE and U+FFFF begin with that
			k[c] = plain
		}
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if letter {
			k[c] |= beginsName | inName
		}
		if '0' <= c && c <= '9' || c == '.' || c == '-' {
			k[c] |= inName
		}
	}
	for _, c := range []byte(blanks) {
		k[c] |= blank
	}
	for _, c := range []byte("\t\n") {
		k[c] |= plain
	}
	for _, c := range []byte("<&]\r") {
		k[c] &^= plain
	}
	for _, c := range []byte("&<>\"'\t\n\r") {
		k[c] |= escaped
	}
	return k
}()

// markup says what it is that a document may not have at r.at.
func (r *reader) markup() error {
	switch rest := r.text[r.at:]; {
	case strings.HasPrefix(rest, "<?"):
		return r.has(r.at, "a processing instruction")
	case strings.HasPrefix(rest, "<!--"):
		return r.has(r.at, "a comment")
	case strings.HasPrefix(rest, cdata):
		return r.has(r.at, "text outside of a field")
	}
	return r.has(r.at, "a directive, such as a DOCTYPE,")
}

// has is the error about what stands at a place and must not.
func (r *reader) has(at int, format string, args ...any) error {
	return fmt.Errorf("has "+format+" %s", append(args, r.place(at))...)
}

// isNot is the error about what is no XML.
func (r *reader) isNot(at int, format string, args ...any) error {
	return fmt.Errorf("is not XML: "+format+" %s", append(args, r.place(at))...)
}

// unfinished is the error about a document that ends too early.
func (r *reader) unfinished() error { return r.isNot(len(r.text), "it ends too early,") }

// place is where an offset is, for people.
func (r *reader) place(at int) string {
	before := r.text[:at]
	return fmt.Sprintf("at line %d, column %d", strings.Count(before, "\n")+1, at-strings.LastIndexByte(before, '\n'))
}
