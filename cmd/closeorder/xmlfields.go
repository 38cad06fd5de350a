package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const maxXML = 64 << 10

// readXML reads the fields of a V2 request or reply: one <xml> root with one
// element per field. It is as strict as the worker is with replies: what is
// verified here must not mean something else there.
func readXML(data []byte) (map[string]string, error) {
	if len(data) > maxXML {
		return nil, fmt.Errorf("has more than %d bytes", maxXML)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8")
	}
	dec := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	fields := map[string]string{}
	depth, ended, name, text := 0, false, "", strings.Builder{}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("is not XML: %w", err)
		}
		line, _ := dec.InputPos()
		switch t := token.(type) {
		case xml.StartElement:
			switch {
			case len(t.Attr) > 0, t.Name.Space != "":
				return nil, fmt.Errorf("line %d: <%s> has attributes or a name space, which a gateway never sends", line, t.Name.Local)
			case ended, depth == 0 && t.Name.Local != "xml":
				return nil, fmt.Errorf("line %d: the root must be one <xml>, there is <%s>", line, t.Name.Local)
			case depth == 2:
				return nil, fmt.Errorf("line %d: <%s> stands inside <%s>; fields hold text alone", line, t.Name.Local, name)
			case depth == 1:
				name = t.Name.Local
				text.Reset()
				if _, twice := fields[name]; twice {
					return nil, fmt.Errorf("line %d: <%s> is there twice", line, name)
				}
			}
			depth++
		case xml.EndElement:
			if depth--; depth == 1 {
				fields[name] = text.String()
			}
			ended = depth == 0
		case xml.CharData:
			if depth == 2 {
				text.Write(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, fmt.Errorf("line %d: text outside of a field", line)
			}
		case xml.ProcInst:
			if depth > 0 || ended || t.Target != "xml" {
				return nil, fmt.Errorf("line %d: an instruction, which a gateway never sends", line)
			}
		default:
			return nil, fmt.Errorf("line %d: a comment or directive, which a gateway never sends", line)
		}
	}
	if !ended {
		return nil, errors.New("holds no <xml> root")
	}
	return fields, nil
}
