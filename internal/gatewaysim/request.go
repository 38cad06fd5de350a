package gatewaysim

import (
	"errors"
	"hash/maphash"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// maxRequest is the most bytes a request may have.
const maxRequest = 64 << 10

// Texts of return_msg. Those for the signature, missing fields and the rate,
// and the last three, are as merchants have published them.
const (
	msgMethod    = "请使用post方法"
	msgEmpty     = "post数据为空"
	msgXML       = "XML格式错误"
	msgUTF8      = "编码格式错误"
	msgLack      = "缺少参数"
	msgSignType  = "sign_type错误"
	msgMerchant  = "商户号不存在"
	msgSignature = "签名错误"
	msgFrequency = "频率限制"

	msgMismatch   = "appid和mch_id不匹配，请检查后再试"
	msgPermission = "商户号该产品权限未开通，请前往商户平台>产品中心检查后重试"
	msgInput      = "输入源“/body/xml/out_trade_no”映射到字段“商户订单号”字符串规则校验失败，字符串必须匹配规则"
)

// request is a call that was accepted: well formed, complete, of a known
// merchant, with a valid signature.
type request struct {
	order    Order
	merchant merchant
	signType signing.Type
	fields   map[string]string
	nonce    uint64 // a hash of nonce_str
}

// refusal is why a request was not accepted. With req set the reply is signed
// and has the code; else it is return_code=FAIL, unsigned, with the message.
type refusal struct {
	req       *request
	code, msg string
}

var (
	errMethod    = &refusal{code: "REQUIRE_POST_METHOD", msg: msgMethod}
	errEmpty     = &refusal{code: "POST_DATA_EMPTY", msg: msgEmpty}
	errXML       = &refusal{code: "XML_FORMAT_ERROR", msg: msgXML}
	errUTF8      = &refusal{code: "NOT_UTF8", msg: msgUTF8}
	errLack      = &refusal{code: "LACK_PARAMS", msg: msgLack}
	errSignType  = &refusal{code: "PARAM_ERROR", msg: msgSignType}
	errMerchant  = &refusal{code: "MCHID_NOT_EXIST", msg: msgMerchant}
	errSignature = &refusal{code: "SIGNERROR", msg: msgSignature}
	errFrequency = &refusal{code: "FREQUENCY_LIMITED", msg: msgFrequency}
)

var required = map[Op][]string{
	CloseOrder:   {"appid", "mch_id", "nonce_str", "sign", "out_trade_no"},
	OrderQuery:   {"appid", "mch_id", "nonce_str", "sign", "out_trade_no"},
	UnifiedOrder: {"appid", "mch_id", "nonce_str", "sign", "out_trade_no", "body", "total_fee", "spbill_create_ip", "notify_url", "trade_type"},
}

var nonceSeed = maphash.MakeSeed()

// read checks a request, in the order in which the real gateway is seen to
// complain.
func (s *Simulator) read(method string, op Op, body []byte) (*request, *refusal) {
	switch {
	case method != http.MethodPost:
		return nil, errMethod
	case len(body) == 0:
		return nil, errEmpty
	case len(body) > maxRequest:
		return nil, errXML
	}
	fields, err := parseFields(body)
	switch {
	case errors.Is(err, errNotUTF8):
		return nil, errUTF8
	case err != nil:
		return nil, errXML
	}
	for _, name := range required[op] {
		if fields[name] == "" {
			return nil, errLack
		}
	}
	signType, err := signing.ParseType(fields["sign_type"])
	if err != nil {
		return nil, errSignType
	}
	m, ok := s.merchantNow(fields["mch_id"])
	switch {
	case !ok:
		return nil, errMerchant
	case m.Institution && fields["sub_mch_id"] == "":
		return nil, errLack
	case m.SignType != "" && m.SignType != signType, signing.Verify(fields, m.Key, signType) != nil:
		return nil, errSignature
	case m.tooFast(time.Now()):
		return nil, errFrequency
	}
	req := &request{
		order:    Order{MchID: m.MchID, SubMchID: fields["sub_mch_id"], OutTradeNo: fields["out_trade_no"]},
		merchant: m, signType: signType, fields: fields,
		nonce: maphash.String(nonceSeed, fields["nonce_str"]),
	}
	if code := req.check(op); code != "" {
		return nil, &refusal{req: req, code: code}
	}
	return req, nil
}

// check returns the code of what is wrong with a request whose signature is
// valid, or "".
func (q *request) check(op Op) string {
	m := q.merchant
	switch {
	case m.refused != "":
		return m.refused
	case q.fields["appid"] != m.AppID:
		return "APPID_MCHID_NOT_MATCH"
	case !m.Institution && (q.order.SubMchID != "" || q.fields["sub_appid"] != ""):
		return "INVALID_REQUEST"
	case m.Institution && len(q.order.SubMchID) > 32:
		return "MCH_NOT_EXISTS"
	case !outTradeNo.MatchString(q.order.OutTradeNo), len(q.fields["nonce_str"]) > 32:
		return "PARAM_ERROR"
	case op == UnifiedOrder && (parseFee(q.fields["total_fee"]) == 0 || len(q.fields["attach"]) > maxAttach):
		return "PARAM_ERROR"
	}
	return ""
}

// outTradeNo: 1 to 32 letters, digits and _-|*@ ("Close Order", request
// parameters).
var outTradeNo = regexp.MustCompile(`\A[A-Za-z0-9_|*@-]{1,32}\z`)

// maxAttach is the most bytes of attach ("Unified Order", request parameters).
const maxAttach = 127

// parseFee reads an amount in fen: 1 to 9 digits, more than 0; else 0.
func parseFee(s string) int64 {
	fee, err := strconv.ParseUint(s, 10, 32)
	if err != nil || len(s) > 9 {
		return 0
	}
	return int64(fee)
}
