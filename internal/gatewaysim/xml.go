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
	if err := skipToRoot(d); err != nil {
		return nil, err
	}
	fields := make(map[string]string, 8)
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, errMalformed
		}
		switch tok := tok.(type) {
		case xml.CharData:
			if !isSpace(tok) {
				return nil, errMalformed
			}
		case xml.StartElement:
			name := tok.Name.Local
			value, err := readValue(d, tok)
			if _, twice := fields[name]; err != nil || twice {
				return nil, errMalformed
			}
			fields[name] = value
		case xml.EndElement:
			if err := nothingMore(d); err != nil {
				return nil, err
			}
			return fields, nil
		default:
			return nil, errMalformed
		}
	}
}

// skipToRoot reads up to and with <xml>; an XML declaration may stand before.
func skipToRoot(d *xml.Decoder) error {
	for {
		tok, err := d.Token()
		if err != nil {
			return errMalformed
		}
		switch tok := tok.(type) {
		case xml.ProcInst:
		case xml.CharData:
			if !isSpace(tok) {
				return errMalformed
			}
		case xml.StartElement:
			if !plain(tok) || tok.Name.Local != "xml" {
				return errMalformed
			}
			return nil
		default:
			return errMalformed
		}
	}
}

func readValue(d *xml.Decoder, start xml.StartElement) (string, error) {
	if !plain(start) {
		return "", errMalformed
	}
	var value strings.Builder
	for {
		tok, err := d.Token()
		if err != nil {
			return "", errMalformed
		}
		switch tok := tok.(type) {
		case xml.CharData:
			value.Write(tok)
		case xml.EndElement:
			return value.String(), nil
		default:
			return "", errMalformed
		}
	}
}

// plain: without attributes and name spaces.
func plain(e xml.StartElement) bool { return len(e.Attr) == 0 && e.Name.Space == "" }

func nothingMore(d *xml.Decoder) error {
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if text, ok := tok.(xml.CharData); err != nil || !ok || !isSpace(text) {
			return errMalformed
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
