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
