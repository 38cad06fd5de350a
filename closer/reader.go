package closer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxReply bounds what is read of a reply. Real ones have less than 2 KiB.
const maxReply = 64 << 10

// readReply reads a V2 reply: one <xml> root whose children are the fields,
// each once, each with text or CDATA alone. An empty field is kept as "".
//
// It is stricter than encoding/xml, which keeps the last of two equal
// elements, ignores what follows the root and hands directives through: each
// of these lets a reply say one thing to the signature check and another to
// the reader. A comment or processing instruction, which the gateway never
// sends, could cut a value in two, so they are refused as well.
func readReply(body []byte) (map[string]string, error) {
	if len(body) > maxReply {
		return nil, fmt.Errorf("reply is longer than %d bytes", maxReply)
	}
	if !utf8.Valid(body) {
		return nil, errors.New("reply is not valid UTF-8")
	}
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("reply is empty")
	}

	var (
		dec    = xml.NewDecoder(bytes.NewReader(body))
		fields = make(map[string]string, 16)
		text   strings.Builder
		name   string // of the open field
		depth  int    // 0 outside, 1 in the root, 2 in a field
		ended  bool   // the root was closed
	)
	for {
		at := dec.InputOffset()
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reply is not XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			switch {
			case ended:
				return nil, fmt.Errorf("reply goes on after its end, at byte %d", at)
			case t.Name.Space != "" || strings.Contains(t.Name.Local, ":"):
				return nil, fmt.Errorf("element with a name space at byte %d", at)
			case len(t.Attr) > 0:
				return nil, fmt.Errorf("element %.40q has attributes", t.Name.Local)
			case depth == 0 && t.Name.Local != "xml":
				return nil, fmt.Errorf("root element is %.40q, not xml", t.Name.Local)
			case depth == 2:
				return nil, fmt.Errorf("element %.40q is nested in %.40q", t.Name.Local, name)
			}
			if depth == 1 {
				name = t.Name.Local
				if _, twice := fields[name]; twice {
					return nil, fmt.Errorf("element %.40q is there twice", name)
				}
				text.Reset()
			}
			depth++
		case xml.EndElement:
			depth--
			if depth == 1 {
				fields[name] = text.String()
			}
			ended = depth == 0
		case xml.CharData:
			if depth == 2 {
				text.Write(t)
			} else if len(bytes.Trim(t, " \t\r\n")) > 0 {
				return nil, fmt.Errorf("text outside of a field at byte %d", at)
			}
		case xml.ProcInst:
			// The XML declaration, and it alone, at the very start.
			if t.Target != "xml" || at != 0 {
				return nil, fmt.Errorf("processing instruction at byte %d", at)
			}
			if !declaresUTF8(string(t.Inst)) {
				return nil, errors.New("reply declares another encoding than utf-8")
			}
		case xml.Comment:
			return nil, fmt.Errorf("comment at byte %d", at)
		case xml.Directive:
			return nil, fmt.Errorf("directive, such as a DOCTYPE, at byte %d", at)
		}
	}
	if !ended {
		return nil, errors.New("reply has no root element")
	}
	return fields, nil
}

// declaresUTF8 reports whether an XML declaration names no encoding or
// utf-8. The decoder looks as well, but not at `encoding = "x"` with spaces.
func declaresUTF8(decl string) bool {
	decl = strings.ToLower(strings.Join(strings.Fields(decl), ""))
	switch strings.Count(decl, "encoding") {
	case 0:
		return true
	case 1:
		return strings.Contains(decl, `encoding="utf-8"`) || strings.Contains(decl, `encoding='utf-8'`)
	}
	return false
}
