package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a request, in bytes. The lengths of identity fields and the
// characters of out_trade_no are those of WeChat Pay V2, "Close Order"; there
// is no minimum length, as a stricter check makes a real order unclosable.
const (
	MaxRequest    = 64 << 10 // the whole value of a record
	MaxMetadata   = 4 << 10
	MaxRequestID  = 128
	MaxReason     = 256
	MaxOutTradeNo = 32
	MaxAccountID  = 32 // mch_id, appid, sub_mch_id, sub_appid
)

// FieldError is one thing wrong with a record. Field is the name on the wire:
// a field, a header, or "value" for the value as a whole. Where a name is
// misspelt it is the right one; Problem has both.
type FieldError struct {
	Field   string
	Problem string
}

// ValidationError names everything that is wrong with a record. Its text is
// bounded and shows at most a short, escaped piece of any value.
type ValidationError struct {
	Fields []FieldError
}

func (e *ValidationError) Error() string {
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Field+": "+f.Problem)
	}
	return strings.Join(all, "; ")
}

const problemRequired = "is required"

// problems collects what is wrong.
type problems []FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, FieldError{field, fmt.Sprintf(format, args...)})
}

func (p problems) has(field string) bool {
	return slices.ContainsFunc(p, func(f FieldError) bool { return f.Field == field })
}

// sort puts the problems of fields in the order of the fields, after those of
// headers.
func (p problems) sort() {
	slices.SortStableFunc(p, func(a, b FieldError) int {
		return slices.Index(requestNames, a.Field) - slices.Index(requestNames, b.Field)
	})
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &ValidationError{p}
}

func checkOutTradeNo(s string) error { return checkNamed(s, MaxOutTradeNo, "_-|*@") }

func checkAppID(s string) error { return checkNamed(s, MaxAccountID, "_-") }

func checkReason(s string) error {
	err := checkLength(s, MaxReason)
	if err == nil && !utf8.ValidString(s) {
		err = errors.New("is not UTF-8")
	}
	return err
}

func checkRequestID(s string) error {
	err := checkLength(s, MaxRequestID)
	if err == nil && !isPrintable(s) {
		err = errors.New("has characters that cannot be printed: " + quote(s))
	}
	return err
}

func checkLength(s string, max int) error {
	if len(s) > max {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), max)
	}
	return nil
}

// check adds what a rule says about a field that is there, and that a required
// one is not. A field that has a problem already is left alone.
func (p *problems) check(field, s string, required bool, rule func(string) error) {
	switch {
	case p.has(field):
	case s == "":
		if required {
			p.add(field, problemRequired)
		}
	default:
		if err := rule(s); err != nil {
			p.add(field, "%v", err)
		}
	}
}

func checkMetadata(raw json.RawMessage, p *problems) {
	switch {
	case raw == nil || p.has("metadata"):
	case len(raw) > MaxMetadata:
		p.add("metadata", "has %d bytes, at most %d are allowed", len(raw), MaxMetadata)
	case !isJSONObject(raw):
		p.add("metadata", "is not a JSON object")
	}
}

// isJSONObject reports whether raw is one JSON object with nothing round it.
func isJSONObject(raw []byte) bool {
	return len(raw) > 0 && raw[0] == '{' && raw[len(raw)-1] == '}' && utf8.Valid(raw) && json.Valid(raw)
}

// isPrintable reports whether s is UTF-8 made of characters that can be
// printed, the space included.
func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0
}

// quote returns the beginning of s, escaped, for an error text.
func quote(s string) string { return quoteTo(s, 40) }

func quoteTo(s string, most int) string {
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(cut(s, most)) + "..."
}

// cut shortens s to max bytes, between two characters.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := max
	for end > max-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
