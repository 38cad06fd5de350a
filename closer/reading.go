package closer

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/signing"
)

// The string that is signed, n1=v1&n2=v2&..., does not escape & and =, so one
// signature stands for {a: "1&result_code=FAIL"} as for {a: "1", result_code:
// "FAIL"}: whoever can change a reply on its way could hide a field in the
// value before it, or make fields of a text. On the other hand attach is the
// merchant's own text in a query's reply, and often a query string.
//
// So the string is read again. Its tokens are the places where "name=" begins;
// a reading is a choice of tokens, the first one included, whose names rise:
// the signer has sorted them. The presented fields are one reading. A reply is
// ambiguous when there is another one that the gateway can have meant and that
// says something else. Text that stands out of its sorted place makes none,
// for whatever is between it and the next greater name would have to be part
// of its value.

// maxTokens bounds the search. Real replies have less than 40 fields, and
// attach has at most 128 characters.
const maxTokens = 256

// Who writes a value decides which texts can be in it.
const (
	codeField   = iota + 1 // a code, a number or an id: no "&name=" at all
	gatewayText            // the gateway's words: no "&name=" of a field that is documented
	othersText             // whatever the merchant has written
)

// replyFields are the fields that the gateway documents for the replies of
// "Close Order" and "Query Order" (WeChat Pay V2, both modes). A field that is
// not here counts as gatewayText: the document says that fields may be added.
var replyFields = map[string]int{
	"return_code": codeField, "return_msg": gatewayText,
	"result_code": codeField, "result_msg": gatewayText,
	"err_code": codeField, "err_code_des": gatewayText,
	"appid": codeField, "mch_id": codeField, "sub_appid": codeField, "sub_mch_id": codeField,
	"nonce_str": codeField, "sign_type": codeField,
	"out_trade_no": codeField, "transaction_id": codeField,
	"trade_state": codeField, "trade_state_desc": gatewayText, "trade_type": codeField,
	"time_end": codeField, "bank_type": codeField,
	"total_fee": codeField, "fee_type": codeField, "settlement_total_fee": codeField,
	"cash_fee": codeField, "cash_fee_type": codeField, "rate": codeField,
	"coupon_fee": codeField, "coupon_count": codeField,
	"openid": codeField, "is_subscribe": codeField, "sub_openid": codeField, "sub_is_subscribe": codeField,
	"attach": othersText, "detail": othersText, "device_info": othersText,
	"promotion_detail": gatewayText,
}

func kindOf(name string) int {
	if k := replyFields[name]; k != 0 {
		return k
	}
	for _, numbered := range [...]string{"coupon_id_", "coupon_type_", "coupon_fee_"} {
		if strings.HasPrefix(name, numbered) {
			return codeField
		}
	}
	return gatewayText
}

func documented(name string) bool {
	return replyFields[name] != 0 || kindOf(name) == codeField
}

// token is a place in the signed string where "name=" begins.
type token struct {
	name, value string // value ends where the next token begins
	presented   bool   // it begins one of the presented fields
}

// tokensOf cuts the signed string of a reply into its tokens. ok is false when
// there are too many of them to be looked at.
func tokensOf(read fields) (tokens []token, ok bool) {
	sorted := slices.SortedFunc(slices.Values(read), func(a, b signing.Field) int { return strings.Compare(a.Name, b.Name) })
	texts := 0
	for _, f := range sorted {
		name, value := f.Name, f.Value
		if value == "" || name == signing.FieldSign {
			continue
		}
		first := true
		for part := range strings.SplitSeq(value, "&") {
			if first {
				tokens = append(tokens, token{name: name, value: part, presented: true})
				first = false
				continue
			}
			n, v, found := strings.Cut(part, "=")
			if !found || n == signing.FieldSign || !fieldName.MatchString(n) {
				tokens[len(tokens)-1].value += "&" + part
				continue
			}
			if texts++; texts > maxTokens {
				return nil, false
			}
			tokens = append(tokens, token{name: n, value: v})
		}
	}
	return tokens, true
}

// fieldName is what a field can be named.
var fieldName = regexp.MustCompile(`^[A-Za-z_][\w.-]*$`)

// outcome is what a part of a reading, from a token to the end, has in it.
type outcome struct {
	returned bool // return_code SUCCESS
	result   byte // of result_code: 0 none, 's' SUCCESS, 'f' anything else that can be
	// differs: a field says something else than the presented one. errs: only
	// err_code does, which counts where result_code is not SUCCESS.
	differs, errs bool
}

// otherReading says what differs in another reading of the signed string of a
// verified reply, such as "another err_code"; "" when there is none.
func otherReading(read fields, call Call, id identity) string {
	if !slices.ContainsFunc(read, func(f signing.Field) bool { return strings.IndexByte(f.Value, '&') >= 0 }) {
		return ""
	}
	tokens, ok := tokensOf(read)
	if !ok {
		return "more fields than can be looked at"
	}
	// From the end to the beginning: what the readings come to that begin with
	// token i, each with the first field in it that differs.
	from := make([]map[outcome]string, len(tokens))
	for i := len(tokens) - 1; i >= 0; i-- {
		t := tokens[i]
		self, plausible := t.says(read, id)
		if !plausible {
			continue
		}
		name := ""
		if self.differs || self.errs {
			name = t.name
		}
		from[i] = map[outcome]string{}
		documentedBefore := false // between i and j
		for j := i + 1; j <= len(tokens); j++ {
			if j > i+1 {
				swallowed := tokens[j-1]
				documentedBefore = documentedBefore || documented(swallowed.name)
				if !t.mayHold(documentedBefore) {
					break
				}
			}
			empty := t.value == "" && j == i+1 // and empty fields are not signed
			switch {
			case empty:
				continue
			case j == len(tokens):
				add(from[i], self, name)
				continue
			case tokens[j].name <= t.name:
				continue
			}
			for rest, which := range from[j] {
				add(from[i], outcome{
					returned: self.returned || rest.returned,
					result:   max(self.result, rest.result),
					differs:  self.differs || rest.differs,
					errs:     self.errs || rest.errs,
				}, cmp.Or(name, which))
			}
		}
	}
	found := ""
	for o, name := range from[0] {
		counts := o.differs || o.errs && (call == CallClose || o.result != 's')
		if o.returned && o.result != 0 && counts && (found == "" || name < found) {
			found = name
		}
	}
	if found == "" {
		return ""
	}
	return "another " + found
}

// add keeps the least name, so that the same reply is always refused in the
// same words.
func add(to map[outcome]string, o outcome, name string) {
	if known, ok := to[o]; !ok || name < known {
		to[o] = name
	}
}

// mayHold reports whether the value of t can go on over the tokens behind it,
// among them one with a documented name or not.
func (t token) mayHold(documented bool) bool {
	kind := kindOf(t.name)
	return kind == othersText || kind == gatewayText && (t.presented || !documented)
}

// says is what t alone, as a field, has to say: whether its value is one that
// the gateway can have sent, and whether it is another than the presented one.
// Only what t ends in the string counts, never what it lacks: that a field is
// missing in a reading only means that somebody could have written its text.
func (t token) says(read fields, id identity) (o outcome, plausible bool) {
	if t.value == "" {
		return o, kindOf(t.name) != codeField
	}
	other := t.value != read.get(t.name)
	switch t.name {
	case "return_code":
		o.returned = t.value == "SUCCESS"
		return o, o.returned
	case "result_code":
		o.result, o.differs = 'f', other
		if t.value == "SUCCESS" {
			o.result = 's'
		}
		return o, t.value == "SUCCESS" || t.value == "FAIL" || !other
	case "err_code":
		o.errs = other
		return o, !other || isCode(t.value)
	case "trade_state", "transaction_id", "total_fee", "time_end":
		o.differs = other
		return o, !other || isCode(t.value)
	}
	if ours, asked := id.sent(t.name); asked {
		o.differs = other && t.value != ours
		return o, !other || isCode(t.value)
	}
	return o, true
}

// isCode reports whether a value looks like a code, a number or an id, the
// out_trade_no included: a short one in visible ASCII.
func isCode(value string) bool {
	return len(value) <= 128 && !strings.ContainsFunc(value, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '&' || c == '='
	})
}
