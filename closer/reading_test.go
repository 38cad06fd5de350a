package closer

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/closeorder/closeorder/signing"
)

// readingID is who the replies of these tests are about.
var readingID = identity{appID: "wx1", mchID: "M", outTradeNo: "T1"}

// fieldsIn reads "a=1; b=2" as fields.
func fieldsIn(t testing.TB, text string) map[string]string {
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, "; ") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			t.Fatalf("%q is no field", part)
		}
		fields[name] = value
	}
	return fields
}

func TestOtherReadings(t *testing.T) {
	const (
		head   = "return_code=SUCCESS; return_msg=OK; appid=wx1; nonce_str=n; "
		closed = head + "mch_id=M; result_code=SUCCESS"
		query  = head + "mch_id=M; result_code=SUCCESS; out_trade_no=T1; "
		open   = query + "trade_state=NOTPAY; trade_state_desc=订单未支付; "
		paid   = query + "trade_state=SUCCESS; trade_type=JSAPI; bank_type=CMC; total_fee=1; cash_fee=1; fee_type=CNY; openid=o; is_subscribe=N; transaction_id=42; time_end=20260102030405; "
	)
	for sentence, tt := range map[string]struct {
		call   Call
		fields string
		want   string // the field with another meaning
	}{
		"no value with an ampersand has one reading": {CallClose, closed, ""},

		// attach is the merchant's own text.
		"a fee in a query string is out of its place":       {CallQuery, paid + "attach=a=1&total_fee=100", ""},
		"and of an open order":                              {CallQuery, open + "attach=a=1&total_fee=100", ""},
		"an appid stands before attach":                     {CallQuery, open + "attach=a=1&appid=wx2", ""},
		"a mch_id before something that is no field":        {CallQuery, open + "attach=uid=5&mch_id=999&type=2", ""},
		"a mch_id right before the real one":                {CallQuery, open + "attach=uid=5&mch_id=999", ""},
		"a mch_id before an attach that goes on":            {CallQuery, paid + "attach=mch_id=999&b=2", ""},
		"our own number":                                    {CallQuery, paid + "attach=foo=1&out_trade_no=T1&p=2", ""},
		"another number":                                    {CallQuery, open + "attach=foo=1&out_trade_no=T2&p=2", ""},
		"another number at the end":                         {CallQuery, open + "attach=foo=1&out_trade_no=T2", ""},
		"a result":                                          {CallQuery, paid + "attach=x&result_code=FAIL", ""},
		"a result and a message that would have to swallow": {CallQuery, open + "attach=x&mch_id=9&result_code=SUCCESS&result_msg=y", ""},
		"a state": {CallQuery, open + "attach=x&trade_state=SUCCESS", ""},
		"an err_code means nothing beside the result of a query": {CallQuery, open + "attach=x&err_code=ORDERNOTEXIST", ""},
		"a name twice":             {CallQuery, paid + "attach=attach=1&attach=2&total_fee=3", ""},
		"ampersands without names": {CallQuery, paid + "attach=&&=&a&=b&", ""},
		"a whole reply":            {CallQuery, paid + "attach=x&mch_id=M&nonce_str=n&out_trade_no=T1&result_code=SUCCESS&return_code=SUCCESS&trade_state=CLOSED", ""},
		"a whole reply with a field of no known name at the end":  {CallQuery, paid + "attach=x&mch_id=M&nonce_str=n&out_trade_no=T1&result_code=SUCCESS&return_code=SUCCESS&trade_state=CLOSED&zzz=1", ""},
		"a detail and a device_info with query strings":           {CallQuery, paid + `detail={"url":"https://x?a=1&mch_id=2"}; device_info=x&total_fee=5`, ""},
		"a name of goods in promotion_detail":                     {CallQuery, paid + `promotion_detail={"name":"a&result_code=FAIL"}`, ""},
		"a message that repeats a field":                          {CallClose, closed + "; err_code_des=bad&appid=wx2", ""},
		"the text of a field of ours, in its place, changes none": {CallClose, head + "device_info=x&mch_id=M; result_code=SUCCESS", ""},
		"an identity that was not sent is no contradiction":       {CallClose, closed + "; return_msg=OK&sub_mch_id=5", ""},

		// A field is missing, and its text stands where it would be.
		"a hidden err_code":                               {CallClose, closed + "; attach=x&err_code=ORDERPAID", "another err_code"},
		"of a query that failed":                          {CallQuery, head + "mch_id=M; result_code=FAIL; attach=x&err_code=ORDERNOTEXIST", "another err_code"},
		"behind a longer name":                            {CallClose, closed + "; attach=x&err_code_zz=1&err_code=ORDERPAID", "another err_code"},
		"before a field that nobody knows":                {CallClose, closed + "; attach=x&err_code=ORDERPAID&extra=1&further=2", "another err_code"},
		"in lower case, as a gateway might spell it":      {CallClose, closed + "; attach=x&err_code=order-paid", "another err_code"},
		"a hidden mch_id of somebody else":                {CallClose, head + "device_info=x&mch_id=999; result_code=SUCCESS", "another mch_id"},
		"a hidden number of another order":                {CallQuery, head + "mch_id=M; openid=o&out_trade_no=T2; result_code=FAIL", "another out_trade_no"},
		"behind a field that was melted as well":          {CallQuery, head + "mch_id=M; nonce_str=n&openid=o&out_trade_no=T2; result_code=FAIL", "another out_trade_no"},
		"a hidden result":                                 {CallClose, "return_code=SUCCESS; appid=wx1; err_code=ORDERPAID; nonce_str=n&result_code=FAIL", "another result_code"},
		"a hidden transaction":                            {CallQuery, open + "trade_type=JSAPI&transaction_id=42", "another transaction_id"},
		"a hidden time":                                   {CallQuery, query + "sub_is_subscribe=N&time_end=20260102030405&total_fee=1; trade_state=SUCCESS", "another time_end"},
		"a state that was made longer by what follows it": {CallQuery, query + "trade_state=SUCCESS&trade_state_desc=x", "another trade_state"},
		"a code that was made longer":                     {CallClose, head + "mch_id=M; result_code=FAIL; err_code=ORDERCLOSED&err_code_des=x", "another err_code"},

		// Fields that were made of a text, and swallow the real ones.
		"a whole reply cut out of attach": {CallQuery, "appid=wx1; attach=x; mch_id=M; nonce_str=n; out_trade_no=T1; result_code=SUCCESS; return_code=SUCCESS; trade_state=CLOSED; " +
			"zzz=1&bank_type=CMC&mch_id=M&nonce_str=n&out_trade_no=T1&result_code=SUCCESS&return_code=SUCCESS&return_msg=OK&total_fee=1&trade_state=SUCCESS&transaction_id=42", "another total_fee"},
		"with its end in a documented field": {CallQuery, "appid=wx1; attach=x; mch_id=M; nonce_str=n; out_trade_no=T1; result_code=SUCCESS; return_code=SUCCESS; trade_state=CLOSED; " +
			"trade_state_desc=1&bank_type=CMC&mch_id=M&nonce_str=n&out_trade_no=T1&result_code=SUCCESS&return_code=SUCCESS&return_msg=OK&total_fee=1&trade_state=SUCCESS&transaction_id=42", "another total_fee"},

		"more text than can be looked at": {CallQuery, open + "attach=x" + strings.Repeat("&a=1", maxTokens+1), "more fields than can be looked at"},
		"just as much as can be":          {CallQuery, open + "attach=x" + strings.Repeat("&a=1", maxTokens), ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := otherReading(fieldsOf(fieldsIn(t, tt.fields)), tt.call, readingID)
			if (got == "") != (tt.want == "") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A search that somebody makes as long as he can is over soon.
func TestReadingTakesNoTime(t *testing.T) {
	var names []string
	for i := range maxTokens {
		names = append(names, fmt.Sprintf("n%03d", i))
	}
	// Each name is one that anything can follow, and all of them rise.
	fields := fieldsIn(t, "return_code=SUCCESS; appid=wx1; mch_id=M; result_code=SUCCESS; attach=x&"+strings.Join(names, "=1&")+"=1")
	for i := range 200 {
		fields[fmt.Sprintf("zz%03d", i)] = "1&a"
	}
	start := time.Now()
	otherReading(fieldsOf(fields), CallClose, readingID)
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

// genuine draws a reply that the gateway can have sent.
func genuine(t *rapid.T, call Call) map[string]string {
	f := map[string]string{
		"return_code": "SUCCESS", "return_msg": "OK", "appid": "wx1", "mch_id": "M",
		"nonce_str": rapid.StringMatching(`[0-9A-Za-z]{1,32}`).Draw(t, "nonce_str"),
	}
	some := func(name string, values ...string) {
		if rapid.Bool().Draw(t, "has "+name) {
			f[name] = rapid.SampledFrom(values).Draw(t, name)
		}
	}
	some("new_field", "1", "任意")
	some("zz", "1")
	some("sub_mch_id", "S")
	some("sub_appid", "wx2")
	fails := rapid.Bool().Draw(t, "fails")
	if fails {
		f["result_code"] = "FAIL"
		f["err_code"] = rapid.SampledFrom([]string{"ORDERPAID", "ORDERCLOSED", "ORDERNOTEXIST", "SYSTEMERROR", "PARAM_ERROR", "Order-Odd"}).Draw(t, "err_code")
		some("err_code_des", "订单已支付", "x")
	} else {
		f["result_code"] = "SUCCESS"
	}
	some("result_msg", "OK")
	if call == CallClose {
		return f
	}
	some("device_info", "pos 1")
	if fails {
		return f
	}
	f["out_trade_no"] = "T1"
	f["trade_state"] = rapid.SampledFrom([]string{"SUCCESS", "REFUND", "NOTPAY", "CLOSED", "USERPAYING"}).Draw(t, "trade_state")
	some("trade_state_desc", "支付成功")
	some("attach", "x", "order 5")
	if f["trade_state"] == "SUCCESS" || f["trade_state"] == "REFUND" {
		maps.Copy(f, map[string]string{
			"trade_type": "JSAPI", "bank_type": "CMC", "total_fee": "1", "cash_fee": "1", "fee_type": "CNY", "openid": "o",
			"is_subscribe": "N", "transaction_id": "4200", "time_end": "20260102030405",
		})
		some("coupon_count", "1")
		some("coupon_id_0", "1")
		some("detail", `{"goods":1}`)
		some("promotion_detail", `{"promotion":[]}`)
	}
	return f
}

// meaning is all that a reply is believed for.
func meaning(fields map[string]string, call Call) string {
	a := answer{fields: fieldsOf(fields), verified: true}
	if call == CallClose {
		d := decide(a)
		return fmt.Sprint(d.class, d.code)
	}
	state, code, _ := decideQuery(a)
	if state != tradePaid {
		return fmt.Sprint(state, code)
	}
	return fmt.Sprint(state, code, fields["transaction_id"], fields["total_fee"], fields["time_end"])
}

// checked reads fields as a signed reply.
func checked(fields map[string]string, call Call, key signing.Key) answer {
	var b bytes.Buffer
	appendXML(&b, fields, signing.Sign(fields, key, signing.MD5))
	return checkReply(nil, b.Bytes(), call, readingID, []signing.Key{key}, signing.MD5)
}

var bothCalls = rapid.SampledFrom([]Call{CallClose, CallQuery})

// Whoever melts fields into the values before them does not get another answer
// out of a reply.
func TestMeltedFieldsChangeNoMeaning(t *testing.T) {
	key := mustKey(t, testKey)
	rapid.Check(t, func(t *rapid.T) {
		call := bothCalls.Draw(t, "call")
		real := genuine(t, call)
		if rapid.Bool().Draw(t, "about another merchant") {
			real["mch_id"] = "M2" // and so it must stay
		}
		melted := map[string]string{}
		last := ""
		for i, name := range slices.Sorted(maps.Keys(real)) {
			if i > 0 && rapid.IntRange(0, 2).Draw(t, "melt "+name) == 0 {
				melted[last] += "&" + name + "=" + real[name]
				continue
			}
			melted[name], last = real[name], name
		}
		if signing.Sign(melted, key, signing.MD5) != signing.Sign(real, key, signing.MD5) {
			t.Fatal("the signature has changed")
		}
		a := checked(melted, call, key)
		switch {
		case !a.verified, a.failure != "":
		case real["mch_id"] != "M":
			t.Fatalf("%v was believed, which is about another merchant", melted)
		case meaning(byName(a.fields), call) != meaning(real, call):
			t.Fatalf("%v was believed as %s, and is %s", melted, meaning(byName(a.fields), call), meaning(real, call))
		}
	})
}

// queryString draws a text that is one, with names of fields among others.
func queryString(t *rapid.T, label string) string {
	names := slices.Sorted(maps.Keys(replyFields))
	name := rapid.OneOf(rapid.SampledFrom(names), rapid.StringMatching(`[a-z_]{1,8}`))
	value := rapid.OneOf(rapid.SampledFrom([]string{"SUCCESS", "FAIL", "CLOSED", "NOTPAY", "M", "M2", "T1", "T2", "wx2", "100", ""}), rapid.StringMatching(`[ -%'-~一-龥]{0,6}`))
	text := rapid.StringMatching(`[a-z=]{0,3}`).Draw(t, label)
	n := rapid.IntRange(0, 12).Draw(t, "parts")
	parts := make([]string, n)
	for i := range parts {
		parts[i] = name.Draw(t, "name") + "=" + value.Draw(t, "value")
	}
	if rapid.Bool().Draw(t, "sorted") { // else hardly any would come near a reading
		slices.Sort(parts)
	}
	for _, part := range parts {
		text += "&" + part
	}
	return strings.ToValidUTF8(text, "?")
}

// Whatever a merchant writes into attach, his orders are answered.
func TestAnyTextInAttachIsBelieved(t *testing.T) {
	key := mustKey(t, testKey)
	rapid.Check(t, func(t *rapid.T) {
		real := genuine(t, CallQuery)
		if real["result_code"] != "SUCCESS" {
			t.Skip("attach comes with orders that are there")
		}
		real["attach"] = queryString(t, "attach")
		a := checked(real, CallQuery, key)
		if a.failure != "" {
			t.Fatalf("%v was refused: %v", real, a.err)
		}
	})
}

// Whoever makes fields of a merchant's text, and lets the last one swallow the
// real ones, gets no other answer.
func TestFieldsMadeOfTextChangeNoMeaning(t *testing.T) {
	key := mustKey(t, testKey)
	cut, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		real := genuine(t, CallQuery)
		if real["result_code"] != "SUCCESS" {
			t.Skip("attach comes with orders that are there")
		}
		real["attach"] = "x&mch_id=M&nonce_str=n&out_trade_no=T1&result_code=SUCCESS&return_code=SUCCESS&trade_state=" +
			rapid.SampledFrom([]string{"SUCCESS", "NOTPAY", "CLOSED"}).Draw(t, "false state")
		if rapid.Bool().Draw(t, "with a transaction") {
			real["attach"] += "&transaction_id=9"
		}
		if rapid.Bool().Draw(t, "with an end") {
			real["attach"] += "&" + rapid.SampledFrom([]string{"zzz", "transactions", "wx"}).Draw(t, "end") + "=1"
		}
		if rapid.Bool().Draw(t, "any text") {
			real["attach"] = queryString(t, "attach")
		}
		signed := strings.TrimSuffix(signing.Explain(real), "&key=******")
		// Any choice of tokens whose names rise is what somebody could present.
		made, last := map[string]string{}, ""
		for i, part := range strings.Split(signed, "&") {
			name, value, ok := strings.Cut(part, "=")
			if i > 0 && (!ok || name == signing.FieldSign || !fieldName.MatchString(name) || value == "" || name <= last || rapid.IntRange(0, 3).Draw(t, "skip "+part) == 0) {
				made[last] += "&" + part
				continue
			}
			made[name], last = value, name
		}
		if signing.Sign(made, key, signing.MD5) != signing.Sign(real, key, signing.MD5) {
			t.Fatal("the signature has changed")
		}
		cut++
		a := checked(made, CallQuery, key)
		if !a.verified || a.failure != "" { // an unsigned FAIL is a hint to whoever makes it
			refused++
			return
		}
		if meaning(byName(a.fields), CallQuery) != meaning(real, CallQuery) {
			t.Fatalf("%v was believed as %s, and is %s", made, meaning(byName(a.fields), CallQuery), meaning(real, CallQuery))
		}
	})
	if cut == 0 || refused == 0 {
		t.Errorf("%d replies were cut, %d refused: nothing was tried", cut, refused)
	}
}
