package gatewaysim

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// reply is what goes back, in the order of its fields.
type reply struct {
	fields []field
	// answer is what the book and the statistics note.
	answer string
}

type field struct{ name, value string }

// add appends a field; one without a value is left out.
func (p *reply) add(name, value string) {
	if value != "" {
		p.fields = append(p.fields, field{name, value})
	}
}

// set changes a field, or appends it.
func (p *reply) set(name, value string) {
	for i := range p.fields {
		if p.fields[i].name == name {
			p.fields[i].value = value
			return
		}
	}
	p.add(name, value)
}

// remove takes a field out.
func (p *reply) remove(name string) {
	p.fields = slices.DeleteFunc(p.fields, func(f field) bool { return f.name == name })
}

// sign sets the field sign, over all others.
func (p *reply) sign(key signing.Key, t signing.Type) {
	fields := make(map[string]string, len(p.fields))
	for _, f := range p.fields {
		fields[f.name] = f.value
	}
	p.set(signing.FieldSign, signing.Sign(fields, key, t))
}

func (p *reply) xml() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, "<xml>"...)
	for _, f := range p.fields {
		b = appendField(b, f.name, f.value)
	}
	b[len(b)-1] = '<' // the last line break
	return append(b, "/xml>"...)
}

// failReply is return_code=FAIL, which is never signed.
func failReply(msg string) *reply {
	p := &reply{answer: "FAIL: " + msg}
	p.add("return_code", "FAIL")
	p.add("return_msg", msg)
	return p
}

// newReply is the part that all signed replies have. The identity is echoed
// as it was sent, also where it is refused.
func (c *conversation) newReply(q *request) *reply {
	p := &reply{fields: make([]field, 0, 20)}
	p.add("return_code", "SUCCESS")
	p.add("return_msg", "OK")
	p.add("appid", q.fields["appid"])
	p.add("mch_id", q.merchant.MchID)
	p.add("sub_appid", q.fields["sub_appid"])
	p.add("sub_mch_id", q.order.SubMchID)
	p.add("nonce_str", c.s.draw(q.order, "nonce", c.call.N).text(32, "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"))
	return p
}

// success and fail add result_code and what comes with it.
func (p *reply) success() *reply {
	p.answer = "SUCCESS"
	p.add("result_code", "SUCCESS")
	p.add("result_msg", "OK")
	return p
}

func (p *reply) fail(code string) *reply {
	p.answer = code
	p.add("result_code", "FAIL")
	p.add("result_msg", "FAIL")
	p.add("err_code", code)
	p.add("err_code_des", cmp.Or(descriptions[code], code))
	return p
}

// queried adds what a query knows of an order in the state.
func (p *reply) queried(q *request, state State, fee int64, paidAt time.Time, transactionID string) *reply {
	p.success()
	trade := tradeStates[state]
	p.answer = trade.name
	p.add("out_trade_no", q.order.OutTradeNo)
	p.add("trade_state", trade.name)
	p.add("trade_state_desc", trade.text)
	if !state.WasPaid() {
		return p
	}
	p.add("trade_type", "NATIVE")
	p.add("bank_type", "OTHERS")
	p.add("total_fee", strconv.FormatInt(fee, 10))
	p.add("cash_fee", strconv.FormatInt(fee, 10))
	p.add("fee_type", "CNY")
	p.add("transaction_id", transactionID)
	p.add("time_end", paidAt.In(beijing).Format("20060102150405"))
	return p
}

var beijing = time.FixedZone("CST", 8*60*60)

// tradeStates are the names of trade_state ("Query Order").
var tradeStates = map[State]struct{ name, text string }{
	NotPay:     {"NOTPAY", "订单未支付"},
	UserPaying: {"USERPAYING", "用户支付中"},
	Paid:       {"SUCCESS", "支付成功"},
	Refunded:   {"REFUND", "转入退款"},
	Closed:     {"CLOSED", "已关闭"},
	Revoked:    {"REVOKED", "已撤销"},
	PayError:   {"PAYERROR", "支付失败"},
}

// descriptions are the err_code_des of codes ("Close Order", error codes).
var descriptions = map[string]string{
	"ORDERPAID":             "订单已支付",
	"ORDERCLOSED":           "订单已关闭",
	"ORDERNOTEXIST":         "订单不存在",
	"ORDERREVERSED":         "订单已撤销",
	"SYSTEMERROR":           "系统错误",
	"FREQUENCY_LIMITED":     "频率限制",
	"USERPAYING":            "用户支付中，需要输入密码",
	"TRADE_STATE_ERROR":     "订单状态错误",
	"BANKERROR":             "银行系统异常",
	"SIGNERROR":             "签名错误",
	"NOAUTH":                "商户无此接口权限",
	"APPID_NOT_EXIST":       "APPID不存在",
	"MCHID_NOT_EXIST":       "MCHID不存在",
	"MCH_NOT_EXISTS":        "商户号不存在",
	"APPID_MCHID_NOT_MATCH": "appid和mch_id不匹配",
	"ACCOUNT_ERROR":         "商户号异常",
	"XML_FORMAT_ERROR":      msgXML,
	"REQUIRE_POST_METHOD":   msgMethod,
	"LACK_PARAMS":           msgLack,
	"PARAM_ERROR":           "参数错误",
	"POST_DATA_EMPTY":       msgEmpty,
	"NOT_UTF8":              msgUTF8,
	"INVALID_REQUEST":       "无效请求",
}

// transactionID is WeChat Pay's own number of a payment.
func transactionID(seed uint64, key Order) string {
	return "4200" + newDraw(seed, key, "transaction", 0).text(24, "0123456789")
}
