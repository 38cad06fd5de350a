package events

import (
	"encoding/json"
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
	var b strings.Builder
	for i, f := range e.Fields {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Field)
		b.WriteString(": ")
		b.WriteString(f.Problem)
	}
	return b.String()
}

const problemRequired = "is required"

// problems collects what is wrong.
type problems []FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, FieldError{field, fmt.Sprintf(format, args...)})
}

func (p problems) has(field string) bool {
	for _, f := range p {
		if f.Field == field {
			return true
		}
	}
	return false
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

// Validate checks r as [DecodeRequest] does. The error is a *[ValidationError]
// that names every bad field.
func (r Request) Validate() error {
	var p problems
	r.check(&p)
	p.sort()
	return p.err()
}

// check adds what is wrong with r. A field that has a problem already is left
// alone: one thing wrong with a field is enough to say.
func (r Request) check(p *problems) {
	checkOutTradeNo("out_trade_no", r.OutTradeNo, true, p)
	checkMchID("mch_id", r.MchID, true, p)
	checkAppID("appid", r.AppID, p)
	checkMchID("sub_mch_id", r.SubMchID, false, p)
	checkAppID("sub_appid", r.SubAppID, p)
	if r.SubAppID != "" && r.SubMchID == "" && !p.has("sub_mch_id") && !p.has("sub_appid") {
		p.add("sub_appid", "needs sub_mch_id beside it")
	}
	checkRequestID("request_id", r.RequestID, p)
	switch {
	case p.has("reason"):
	case len(r.Reason) > MaxReason:
		p.add("reason", "has %d bytes, at most %d are allowed", len(r.Reason), MaxReason)
	case !utf8.ValidString(r.Reason):
		p.add("reason", "is not UTF-8")
	}
	if !r.NotBefore.IsZero() && !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(r.NotBefore) && !p.has("expires_at") {
		p.add("expires_at", "is %s, must be after not_before %s", formatTime(r.ExpiresAt), formatTime(r.NotBefore))
	}
	checkYears("order_created_at", r.OrderCreatedAt, p)
	checkYears("not_before", r.NotBefore, p)
	checkYears("expires_at", r.ExpiresAt, p)
	checkOutTradeNo("replacement_out_trade_no", r.ReplacementOutTradeNo, false, p)
	if r.ReplacementOutTradeNo != "" && r.ReplacementOutTradeNo == r.OutTradeNo && !p.has("replacement_out_trade_no") {
		p.add("replacement_out_trade_no", "is the same as out_trade_no")
	}
	checkMetadata(r.Metadata, p)
	if (r.Replay < 0 || r.Replay > maxCount) && !p.has(HeaderReplay) {
		p.add(HeaderReplay, "is %d, want 0 to %d", r.Replay, maxCount)
	}
}

func checkOutTradeNo(field, s string, required bool, p *problems) {
	p.check(field, s, required, func() error { return checkNamed(s, MaxOutTradeNo, "_-|*@") })
}

func checkMchID(field, s string, required bool, p *problems) {
	p.check(field, s, required, func() error { return CheckMchID(s) })
}

func checkAppID(field, s string, p *problems) {
	p.check(field, s, false, func() error { return checkNamed(s, MaxAccountID, "_-") })
}

// check adds what a rule says about a field that is there, and that a required
// one is not. A field that has a problem already is left alone.
func (p *problems) check(field, s string, required bool, rule func() error) {
	switch {
	case p.has(field):
	case s == "":
		if required {
			p.add(field, problemRequired)
		}
	default:
		if err := rule(); err != nil {
			p.add(field, "%v", err)
		}
	}
}

func checkRequestID(field, s string, p *problems) {
	switch {
	case p.has(field):
	case len(s) > MaxRequestID:
		p.add(field, "has %d bytes, at most %d are allowed", len(s), MaxRequestID)
	case !isPrintable(s):
		p.add(field, "has characters that cannot be printed: %s", quote(s))
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
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
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
