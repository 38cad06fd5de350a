package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// byteOrderMark is what some editors and libraries put before UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

// checkText says why doc is not one JSON object in UTF-8; nil when it is.
func checkText(doc []byte) error {
	if err := checkJSON(doc); err != nil {
		return err
	}
	switch kind := kindOf(doc[skipSpace(doc, 0):]); kind {
	case "object":
	case "array":
		return errors.New("is a JSON array, want an object; send one in each record")
	default:
		return fmt.Errorf("is a JSON %s, want an object", kind)
	}
	return nil
}

// checkJSON says why doc is not one JSON value in UTF-8; nil when it is.
func checkJSON(doc []byte) error {
	switch {
	case len(doc) == 0:
		return errors.New("is empty")
	case skipSpace(doc, 0) == len(doc):
		return errors.New("is blank")
	case bytes.HasPrefix(doc, byteOrderMark):
		return errors.New("starts with more than one byte order mark, want JSON")
	}
	if !utf8.Valid(doc) {
		return fmt.Errorf("is not UTF-8 (byte %d)", firstInvalidUTF8(doc)+1)
	}
	if !json.Valid(doc) {
		var any json.RawMessage
		err := json.Unmarshal(doc, &any)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("is not JSON: %s (byte %d)", syntax.Error(), syntax.Offset)
		}
		return errors.New("is not JSON")
	}
	return nil
}

// eachMember calls f for every member of the object doc. When doc is not known
// to be valid it stops where doc breaks: the last value is then handed over as
// far as it goes, and not whole.
func eachMember(doc []byte, valid bool, f func(quoted, raw []byte, whole bool)) {
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
			f(quoted, doc[at:], false)
			return
		}
		raw := doc[at:end:end]
		if !valid && !json.Valid(raw) {
			f(quoted, raw, false)
			return
		}
		f(quoted, raw, true)
		at = skipSpace(doc, end)
		if at >= len(doc) || doc[at] != ',' {
			return
		}
	}
}

// eachElement calls f for every element of the array doc, the last one as far
// as it goes where doc breaks off.
func eachElement(doc []byte, f func(raw []byte)) {
	at := skipSpace(doc, 0)
	for at < len(doc) && (doc[at] == '[' || doc[at] == ',') {
		at = skipSpace(doc, at+1)
		end := skipValue(doc, at)
		if end < 0 {
			f(doc[at:])
			return
		}
		f(doc[at:end:end])
		at = skipSpace(doc, end)
	}
}

func firstInvalidUTF8(b []byte) int {
	for i, r := range string(b) {
		if r == utf8.RuneError && !bytes.HasPrefix(b[i:], []byte("\ufffd")) {
			return i
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

func isStructural(c byte) bool { return bytes.IndexByte([]byte(" \t\r\n,:{}[]\""), c) >= 0 }

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
