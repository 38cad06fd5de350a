package gatewaysim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

var (
	errNotUTF8   = errors.New("not UTF-8 of 1 to 3 bytes")
	errMalformed = errors.New("not one flat <xml> document")
)

// parseFields reads <xml><name>value</name>...</xml>: one level, no
// attributes, no field twice, nothing but white space around. Values are
// taken as they are, with or without CDATA. V2 knows UTF-8 characters of at
// most 3 bytes.
func parseFields(body []byte) (map[string]string, error) {
	for rest := body; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 || n > 3 {
			return nil, errNotUTF8
		}
		rest = rest[n:]
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	fields := make(map[string]string, 8)
	var path []string // the elements that are open
	var value string
	rooted := false
	for {
		tok, err := d.Token()
		if err == io.EOF && rooted {
			return fields, nil
		}
		ok := false
		switch tok := tok.(type) {
		case xml.ProcInst: // an XML declaration
			ok = !rooted
		case xml.CharData:
			ok = len(path) == 2 || isSpace(tok)
			value += string(tok)
		case xml.StartElement:
			name := tok.Name.Local
			_, twice := fields[name]
			root := len(path) == 0 && !rooted && name == "xml"
			ok = (root || len(path) == 1 && !twice) && len(tok.Attr) == 0 && tok.Name.Space == ""
			path, value, rooted = append(path, name), "", true
		case xml.EndElement:
			ok = true
			if len(path) == 2 {
				fields[path[1]] = value
			}
			path = path[:len(path)-1]
		}
		if !ok {
			return nil, errMalformed
		}
	}
}

func isSpace(text []byte) bool { return len(bytes.Trim(text, " \t\r\n")) == 0 }

// appendField appends <name><![CDATA[value]]></name>.
func appendField(b []byte, name, value string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, "><![CDATA["...)
	b = append(b, strings.ReplaceAll(value, "]]>", "]]]]><![CDATA[>")...)
	b = append(b, "]]></"...)
	b = append(b, name...)
	return append(b, ">\n"...)
}
