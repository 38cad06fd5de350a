package events

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckMchID says what is wrong with a mch_id or a sub_mch_id, nil when it is
// right: 1 to [MaxAccountID] letters, digits, _ and -, all ASCII, no number in
// another notation, and no missing value as text (null, undefined, None).
// Spreadsheets, YAML and floating point turn 1900000112 into 1.9e+09,
// 1900000112.0 or 1_900_000_112; whatever they made, the digits may not be
// those that somebody typed.
//
// The error is made for a sentence that begins with the name of the field. It
// shows at most a short, escaped piece of s.
func CheckMchID(s string) error {
	switch {
	case s == "":
		return errors.New(problemRequired)
	case isRewritten(s):
		return fmt.Errorf("is %s, %s", quote(s), looksRewritten)
	}
	return checkNamed(s, MaxAccountID, "_-")
}

const looksRewritten = "looks like a number that something has rewritten; write the digits in quotes"

// problemNumber says what is wrong with a JSON number in place of a text.
func problemNumber(raw string) string {
	if isDigits(raw) {
		return "is a number, want a string: write it in quotes"
	}
	return "is the number " + cut(raw, 40) + ", want a string; it " + looksRewritten
}

// isRewritten reports whether s is a number, and not digits alone: with a sign,
// a point, an exponent, marks between groups of digits, or in base 16, 8 or 2.
func isRewritten(s string) bool { return !isDigits(s) && rewritten.MatchString(s) }

var rewritten = regexp.MustCompile(`(?i)^[+-]?(0x[\da-f_]+|0o[0-7_]+|0b[01_]+|(\d|\.[.,_']*\d)[\d.,_']*(e[+-]*\d+)?)$`)

// checkNamed checks for at most max letters, digits and marks, all ASCII, and
// for no missing value as text.
func checkNamed(s string, max int, marks string) error {
	if isNoName(s) {
		return fmt.Errorf("is %s, which is how a program writes a missing value; send the value itself", quote(s))
	}
	if where := outerSpace(s); where != "" {
		return fmt.Errorf("has %s (%s), write it without", where, quote(s))
	}
	if err := checkLength(s, max); err != nil {
		return err
	}
	for i, c := range s {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.ContainsRune(marks, c) {
			continue
		}
		if isRewritten(s) {
			return fmt.Errorf("is %s, %s", quote(s), looksRewritten)
		}
		return fmt.Errorf("has %s at byte %d, allowed are letters, digits and %s", quote(string(c)), i+1, marks)
	}
	return nil
}

// isNoName reports whether s is what Java, JavaScript, Python and pandas write
// as text where there is no value. WeChat Pay knows no order of such a number,
// and its ORDERNOTEXIST would answer for the one that was meant.
func isNoName(s string) bool {
	return len(s) <= len("undefined") && slices.ContainsFunc([]string{"null", "undefined", "none", "nil", "nan"}, func(nothing string) bool {
		return strings.EqualFold(s, nothing)
	})
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
