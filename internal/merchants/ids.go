package merchants

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/closeorder/closeorder/internal/slips"
)

// maxID is the length of mch_id, appid, sub_mch_id and sub_appid: string(32)
// in "Close Order" of WeChat Pay V2.
const maxID = 32

// CheckMchID says what is wrong with a mch_id or a sub_mch_id, nil when it is
// right: 1 to 32 letters, digits, _ and -, all ASCII, no number in another
// notation, and no missing value as text (null, undefined, None). Spreadsheets,
// YAML, Helm and floating point turn 1900000112 into 1.9e+09, 1900000112.0 or
// 1_900_000_112; whatever they made, the digits may not be those that somebody
// typed. Package events has the same rule for requests.
//
// The error is made for a sentence that begins with the name of the field. It
// shows at most a short, escaped piece of s.
func CheckMchID(s string) error {
	if isRewritten(s) {
		return rewritten(s)
	}
	return CheckAppID(s)
}

// CheckAppID is CheckMchID for an appid or a sub_appid, which may look like
// anything.
func CheckAppID(s string) error {
	if s == "" {
		return errors.New("is missing")
	}
	if _, quoted := slips.Unquote(s); quoted {
		return errors.New("is in quotes, leave them out")
	}
	if where := outerSpace(s); where != "" {
		return fmt.Errorf("has %s, write it without", where)
	}
	if isNoName(s) {
		return fmt.Errorf("is %q, which is how a program writes a missing value; write the value itself, or leave it out", s)
	}
	if len(s) > maxID {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxID)
	}
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-':
			continue
		case isRewritten(s):
			return rewritten(s)
		}
		problem := fmt.Sprintf("has %q at byte %d, allowed are letters, digits, _ and -", string(c), i+1)
		if wide := slips.Wide(s); wide != "" {
			problem += "; " + wide
		}
		return errors.New(problem)
	}
	return nil
}

func rewritten(s string) error {
	shown := strconv.Quote(s[:min(len(s), 40)])
	if slips.LooksLikeKey(s) {
		shown = "not shown"
	}
	return fmt.Errorf("is %s: it looks like a number that something has rewritten; write its digits, in YAML in quotes, in Helm with --set-string", shown)
}

// isRewritten reports whether s is a number, and not digits alone: with a sign,
// a point, an exponent, marks between groups of digits, or in base 16, 8 or 2.
func isRewritten(s string) bool {
	return strings.Trim(s, "0123456789") != "" && rewrittenForm.MatchString(s)
}

var rewrittenForm = regexp.MustCompile(`(?i)^[+-]?(0x[\da-f_]+|0o[0-7_]+|0b[01_]+|(\d|\.[.,_']*\d)[\d.,_']*(e[+-]*\d+)?)$`)

// isNoName reports whether s is what Java, JavaScript, Python and pandas write
// as text where there is no value.
func isNoName(s string) bool {
	return slices.ContainsFunc([]string{"null", "undefined", "none", "nil", "nan"}, func(nothing string) bool {
		return strings.EqualFold(s, nothing)
	})
}

// shownID is a mch_id for messages: not when it could be an API key, which
// somebody has put in its place.
func shownID(mchID string) string {
	if slips.LooksLikeKey(mchID) {
		return "(not shown: it looks like an API key)"
	}
	return mchID
}

// outerSpace names the white space at either end of s, "" where there is none.
func outerSpace(s string) string {
	name := func(r rune) string {
		switch r {
		case '\n', '\r', '\u2028', '\u2029':
			return "a line break"
		case '\t':
			return "a tab"
		}
		return "a blank"
	}
	if r, _ := utf8.DecodeRuneInString(s); unicode.IsSpace(r) {
		return name(r) + " at the beginning"
	}
	if r, _ := utf8.DecodeLastRuneInString(s); unicode.IsSpace(r) {
		return name(r) + " at the end"
	}
	return ""
}
