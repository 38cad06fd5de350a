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

// referenceFields is the reader as it was over encoding/xml, which the one of
// this package is held against. It reads a V2 request or reply: one <xml> root whose children are the
// fields, each once, each with text or CDATA alone. An empty field is kept as
// "". The error goes on after the document's name, as in "reply.xml has ...",
// and shows no signature.
//
// It is stricter than encoding/xml, which keeps the last of two equal
// elements, ignores what follows the root and hands directives through: each
// of these lets a reply say one thing to the signature check and another to
// the reader. A comment or processing instruction, which the gateway never
// sends, could cut a value in two, so they are refused as well.
func referenceFields(document []byte) (map[string]string, error) {
	if len(document) > MaxDocument {
		return nil, fmt.Errorf("is longer than %d bytes", MaxDocument)
	}
	if !utf8.Valid(document) {
		return nil, errors.New("is not valid UTF-8")
	}
	document = bytes.TrimPrefix(document, []byte("\uFEFF"))
	if len(bytes.TrimSpace(document)) == 0 {
		return nil, errors.New("is empty")
	}

	var (
		dec    = xml.NewDecoder(bytes.NewReader(document))
		fields = make(map[string]string, 16)
		text   strings.Builder
		name   string // of the open field
		depth  int    // 0 outside, 1 in the root, 2 in a field
		ended  bool   // the root was closed
	)
	for {
		at := dec.InputOffset()
		line, column := dec.InputPos()
		has := func(format string, args ...any) (map[string]string, error) {
			return nil, fmt.Errorf("has "+format+" at line %d, column %d", append(args, line, column)...)
		}
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("is not XML: %s", maskHex(err.Error()))
		}
		switch t := tok.(type) {
		case xml.StartElement:
			switch local := maskHex(t.Name.Local); {
			case ended:
				return has("another element %.40q after its end", local)
			case t.Name.Space != "" || strings.Contains(t.Name.Local, ":"):
				return has("an element with a name space")
			case len(t.Attr) > 0:
				return has("attributes on the element %.40q", local)
			case depth == 0 && t.Name.Local != "xml":
				return has("the root element %.40q, not \"xml\",", local)
			case depth == 2:
				return has("the element %.40q inside of %.40q", local, maskHex(name))
			}
			if depth == 1 {
				name = t.Name.Local
				if _, twice := fields[name]; twice {
					return has("the element %.40q a second time", maskHex(name))
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
				return has("text outside of a field")
			}
		case xml.ProcInst:
			// The XML declaration, and it alone, at the very start.
			if t.Target != "xml" || at != 0 {
				return has("a processing instruction")
			}
			if !declaresUTF8(string(t.Inst)) {
				return nil, errors.New("declares another encoding than utf-8")
			}
		case xml.Comment:
			return has("a comment")
		case xml.Directive:
			return has("a directive, such as a DOCTYPE,")
		}
	}
	if !ended {
		return nil, errors.New("has no root element <xml>")
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
