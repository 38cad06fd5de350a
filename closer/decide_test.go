package closer

import (
	"errors"
	"testing"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// signedAnswer is an answer that passed every check.
func signedAnswer(result, code string) answer {
	return answer{verified: true, fields: fieldsOf(map[string]string{"return_code": "SUCCESS", "result_code": result, "err_code": code})}
}

func TestDecide(t *testing.T) {
	ok := func(code string) answer { return signedAnswer("FAIL", code) }
	fail := func(msg string) answer {
		return answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "return_msg": msg})}
	}
	none := func(f Failure) answer { return answer{failure: f, err: errors.New("detail")} }
	type want struct {
		class      Class
		queryFirst bool
		wait       time.Duration
		limit      int
	}
	var (
		closed   = want{class: Closed}
		limited  = want{class: Temporary, queryFirst: true, wait: 5 * time.Second}
		merchant = want{class: MerchantRefused}
		refused  = want{class: Failed}
		unknown  = want{class: Unknown, limit: 3}
		nothing  = want{class: NoAnswer}
	)
	for sentence, tt := range map[string]struct {
		in   answer
		want want
	}{
		"SUCCESS closes":                                     {signedAnswer("SUCCESS", ""), closed},
		"ORDERCLOSED is closed already":                      {ok("ORDERCLOSED"), closed},
		"ORDER_CLOSED is the same code":                      {ok("ORDER_CLOSED"), closed},
		"order_closed is the same code":                      {ok("order_closed"), closed},
		"ORDERCLOSED counts also beside result_code SUCCESS": {signedAnswer("SUCCESS", "ORDERCLOSED"), closed},
		"ORDERPAID is paid":                                  {ok("ORDERPAID"), want{class: Paid}},
		"ORDER_PAID is the same code":                        {ok("ORDER_PAID"), want{class: Paid}},
		"ORDERNOTEXIST leaves nothing to close":              {ok("ORDERNOTEXIST"), closed},
		"ORDER_NOT_EXIST is the same code":                   {ok("ORDER_NOT_EXIST"), closed},

		"SYSTEMERROR: same order again":                            {ok("SYSTEMERROR"), want{class: Temporary}},
		"FREQUENCY_LIMITED waits 5 s and queries":                  {ok("FREQUENCY_LIMITED"), limited},
		"FREQUENCYLIMITED is the same code":                        {ok("FREQUENCYLIMITED"), limited},
		"USERPAYING waits and queries":                             {ok("USERPAYING"), limited},
		"TRADE_STATE_ERROR waits and queries":                      {ok("TRADE_STATE_ERROR"), limited},
		"BANKERROR waits and queries":                              {ok("BANKERROR"), limited},
		"BIZERR_NEED_RETRY waits and queries":                      {ok("BIZERR_NEED_RETRY"), limited},
		"RULELIMIT waits and queries":                              {ok("RULELIMIT"), limited},
		"RATELIMIT waits and queries":                              {ok("RATELIMIT"), limited},
		"SIGNERROR holds the merchant":                             {ok("SIGNERROR"), merchant},
		"NOAUTH holds the merchant":                                {ok("NOAUTH"), merchant},
		"APPID_NOT_EXIST holds the merchant":                       {ok("APPID_NOT_EXIST"), merchant},
		"MCHID_NOT_EXIST holds the merchant":                       {ok("MCHID_NOT_EXIST"), merchant},
		"MCH_NOT_EXISTS holds the merchant":                        {ok("MCH_NOT_EXISTS"), merchant},
		"APPID_MCHID_NOT_MATCH holds the merchant":                 {ok("APPID_MCHID_NOT_MATCH"), merchant},
		"ACCOUNT_ERROR holds the merchant":                         {ok("ACCOUNT_ERROR"), merchant},
		"XML_FORMAT_ERROR is our request's fault":                  {ok("XML_FORMAT_ERROR"), refused},
		"REQUIRE_POST_METHOD is our request's fault":               {ok("REQUIRE_POST_METHOD"), refused},
		"LACK_PARAMS is our request's fault":                       {ok("LACK_PARAMS"), refused},
		"PARAM_ERROR is our request's fault":                       {ok("PARAM_ERROR"), refused},
		"POST_DATA_EMPTY is our request's fault":                   {ok("POST_DATA_EMPTY"), refused},
		"NOT_UTF8 is our request's fault":                          {ok("NOT_UTF8"), refused},
		"INVALID_REQUEST is our request's fault":                   {ok("INVALID_REQUEST"), refused},
		"a code in no table is unknown":                            {ok("SOMETHING_NEW"), unknown},
		"FAIL without a code says nothing":                         {ok(""), unknown},
		"result_code neither SUCCESS nor FAIL is unknown":          {signedAnswer("MAYBE", ""), unknown},
		"result_code success in lower case is unknown":             {signedAnswer("success", ""), unknown},
		"result_code is not read over a known code":                {signedAnswer("MAYBE", "ORDERPAID"), want{class: Paid}},
		"SUCCESS beside ORDERPAID contradicts itself":              {signedAnswer("SUCCESS", "ORDERPAID"), unknown},
		"SUCCESS beside an unknown code contradicts itself":        {signedAnswer("SUCCESS", "SOMETHING"), unknown},
		"SUCCESS as a code of a FAIL is not a success":             {ok("SUCCESS"), unknown},
		"a time-out may have closed":                               {none(FailTimeout), nothing},
		"a reset may have closed":                                  {none(FailLost), nothing},
		"no connection is no answer":                               {none(FailConnect), nothing},
		"5xx is no answer":                                         {none(FailStatus), nothing},
		"HTML is no answer":                                        {none(FailFormat), nothing},
		"a missing signature is no answer":                         {none(FailUnsigned), nothing},
		"a wrong signature is no answer":                           {none(FailSignature), nothing},
		"another identity is no answer":                            {none(FailIdentity), nothing},
		"a reply without result_code is no answer":                 {none(FailIncomplete), nothing},
		"unsigned 频率限制 is a rate limit, later":                     {fail("频率限制"), want{class: Temporary, wait: 5 * time.Second}},
		"unsigned 签名错误 hints at the merchant's key":                {fail("签名错误"), want{class: MerchantRefused, limit: 2}},
		"unsigned 缺少参数 concludes nothing":                          {fail("缺少参数"), want{class: Temporary, limit: 1}},
		"unsigned appid和mch_id不匹配 hints at the configuration":      {fail("appid和mch_id不匹配"), want{class: MerchantRefused, limit: 2}},
		"unsigned 没有权限 hints at the configuration":                 {fail("没有权限"), want{class: MerchantRefused, limit: 2}},
		"unsigned 订单不存在 is about the order, and concludes nothing": {fail("订单不存在"), want{class: Temporary}},
		"unsigned anything concludes nothing":                      {fail("whatever"), want{class: Temporary}},
		"unsigned ORDERCLOSED in words does not close":             {fail("ORDERCLOSED"), want{class: Temporary}},
		"unsigned FAIL without words concludes nothing":            {fail(""), want{class: Temporary}},
		"unsigned FAIL with a paid code in it is not paid":         {answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "result_code": "FAIL", "err_code": "ORDERPAID"})}, want{class: Temporary}},
		"the sandbox's words stand in retmsg":                      {answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "retmsg": "appid不存在", "retcode": "1"})}, want{class: MerchantRefused, limit: 2}},
		"others' in fields of other names":                         {answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "return_msg": "FAIL", "error_code": "SIGN_ERROR"})}, want{class: MerchantRefused, limit: 2}},
		"unsigned FAIL with result_code SUCCESS is no closed":      {answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "result_code": "SUCCESS"})}, want{class: Temporary}},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := decide(tt.in)
			got := want{d.class, d.queryFirst, d.wait, d.limit}
			if got != tt.want {
				t.Errorf("decide: got %+v, want %+v", got, tt.want)
			}
			if d.reason == "" {
				t.Error("no reason given")
			}
			if d.unsigned != (!tt.in.verified && tt.in.failure == "") {
				t.Errorf("unsigned is %v", d.unsigned)
			}
		})
	}
}

func TestDecideQuery(t *testing.T) {
	found := func(state string) answer {
		a := signedAnswer("SUCCESS", "")
		a.fields = append(a.fields, signing.Field{Name: "trade_state", Value: state})
		return a
	}
	for sentence, tt := range map[string]struct {
		in   answer
		want trade
	}{
		"SUCCESS is paid":                             {found("SUCCESS"), tradePaid},
		"REFUND is paid":                              {found("REFUND"), tradePaid},
		"CLOSED is closed":                            {found("CLOSED"), tradeClosed},
		"REVOKED is closed":                           {found("REVOKED"), tradeClosed},
		"NOTPAY is open":                              {found("NOTPAY"), tradeOpen},
		"USERPAYING is open":                          {found("USERPAYING"), tradeOpen},
		"PAYERROR is open":                            {found("PAYERROR"), tradeOpen},
		"a state that nobody knows is open":           {found("ACCEPT"), tradeOpen},
		"no state is no answer":                       {found(""), unanswered},
		"ORDERNOTEXIST is unknown to the gateway":     {signedAnswer("FAIL", "ORDERNOTEXIST"), tradeUnknown},
		"ORDER_NOT_EXIST is the same code":            {signedAnswer("FAIL", "ORDER_NOT_EXIST"), tradeUnknown},
		"SYSTEMERROR is no answer":                    {signedAnswer("FAIL", "SYSTEMERROR"), unanswered},
		"NOAUTH is no answer: the close decides that": {signedAnswer("FAIL", "NOAUTH"), unanswered},
		"a failed query with a state in it says nothing": {
			answer{verified: true, fields: fieldsOf(map[string]string{"result_code": "FAIL", "trade_state": "CLOSED"})}, unanswered},
		"an unsigned FAIL is no answer": {
			answer{fields: fieldsOf(map[string]string{"return_code": "FAIL", "trade_state": "CLOSED", "result_code": "SUCCESS"})}, unanswered},
		"a time-out is no answer": {answer{failure: FailTimeout, err: errors.New("t")}, unanswered},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got, _, reason := decideQuery(tt.in); got != tt.want || reason == "" {
				t.Errorf("decideQuery: got %v (%s), want %v", got, reason, tt.want)
			}
		})
	}
}

func TestBlame(t *testing.T) {
	m := Merchant{MchID: "M", AppID: "A", Institution: true, SubMchID: "S"}
	own := Order{MchID: "M", OutTradeNo: "T"}
	for sentence, tt := range map[string]struct {
		code  string
		order Order
		m     Merchant
		class Class
		scope Scope
	}{
		"a wrong signature is the merchant's":                       {"SIGNERROR", own, m, MerchantRefused, Scope{MchID: "M"}},
		"NOAUTH is the merchant's":                                  {"NOAUTH", own, m, MerchantRefused, Scope{MchID: "M"}},
		"the configured appid is the merchant's":                    {"APPID_NOT_EXIST", own, m, MerchantRefused, Scope{MchID: "M"}},
		"an appid that only the order names is the request's fault": {"APPID_NOT_EXIST", Order{MchID: "M", OutTradeNo: "T", AppID: "B"}, m, Failed, Scope{}},
		"the same for APPID_MCHID_NOT_MATCH":                        {"APPID_MCHID_NOT_MATCH", Order{MchID: "M", OutTradeNo: "T", AppID: "B"}, m, Failed, Scope{}},
		"the merchant's own appid named by the order as well":       {"APPID_NOT_EXIST", Order{MchID: "M", OutTradeNo: "T", AppID: "A"}, m, MerchantRefused, Scope{MchID: "M"}},
		"without a configured appid it alone is held":               {"APPID_NOT_EXIST", Order{MchID: "M", OutTradeNo: "T", AppID: "B"}, Merchant{MchID: "M"}, MerchantRefused, Scope{MchID: "M", AppID: "B"}},
		"another sub-merchant is held alone":                        {"NOAUTH", Order{MchID: "M", OutTradeNo: "T", SubMchID: "S2"}, m, MerchantRefused, Scope{MchID: "M", SubMchID: "S2"}},
		"a wrong signature is the merchant's also then":             {"SIGN_ERROR", Order{MchID: "M", OutTradeNo: "T", SubMchID: "S2"}, m, MerchantRefused, Scope{MchID: "M"}},
		"other classes blame nobody":                                {"SYSTEMERROR", own, m, Temporary, Scope{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			id, err := identify(&tt.order, &tt.m)
			if err != nil {
				t.Fatal(err)
			}
			d, scope := decide(signedAnswer("FAIL", tt.code)).blame(id)
			if d.class != tt.class || scope != tt.scope {
				t.Errorf("got %v %+v, want %v %+v", d.class, scope, tt.class, tt.scope)
			}
		})
	}
}
