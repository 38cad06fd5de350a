package console

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// visible makes seen what hides in a page: control characters, those that turn the
// direction of a text or have no width, and bytes that are no text. It is the one
// way out for all pages, so that no template can forget it; templates themselves
// have none of them. Markup is none of its business: html/template escapes that.
func visible(page []byte) []byte {
	if bytes.IndexFunc(page, hidden) < 0 {
		return page
	}
	out := make([]byte, 0, len(page)+64)
	for len(page) > 0 {
		r, size := utf8.DecodeRune(page)
		switch {
		case r == utf8.RuneError && size <= 1:
			out = fmt.Appendf(out, `\x%02x`, page[0])
		case hidden(r):
			out = fmt.Appendf(out, `\u{%04x}`, r)
		default:
			out = append(out, page[:size]...)
		}
		page = page[size:]
	}
	return out
}

// blankBraille is the one symbol without a dot.
const blankBraille = '\u2800'

// hidden reports whether a rune is not seen, or moves others; blanks are.
func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r == utf8.RuneError || r == blankBraille:
		return true
	case r < unicode.MaxASCII:
		return r < ' '
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return true // some are letters, by their category, and look like nothing
	}
	return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r)
}
