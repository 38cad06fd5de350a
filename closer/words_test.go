package closer

import (
	"strings"
	"testing"
)

// The sentences are those that merchants have shown in public, and what they
// would look like in other words.
func TestWords(t *testing.T) {
	const (
		app, mch, sub, subApp, rel, may = aboutAppID, aboutMchID, aboutSubMchID, aboutSubAppID, aboutRelation, aboutPermission
	)
	type want struct {
		hint  hint
		about about
	}
	for msg, w := range map[string]want{
		// mch_id and appid do not belong together.
		"appid和mch_id不匹配":                           {hintMerchant, app | mch},
		"appid和mch_id不匹配，请检查后再试":                    {hintMerchant, app | mch},
		"appid与mch_id不匹配":                           {hintMerchant, app | mch},
		"APPID 与 MCHID 不一致":                         {hintMerchant, app | mch},
		"商户号mch_id与appid不匹配":                        {hintMerchant, app | mch},
		"mchid不匹配":                                  {hintMerchant, mch},
		"商户号与appid没有绑定":                             {hintMerchant, app | mch},
		"商户号未绑定该AppID":                              {hintMerchant, app | mch},
		"该商户号还没有和公众号绑定":                             {hintMerchant, app | mch},
		"商户号和公众账号ID无绑定关系":                           {hintMerchant, app | mch},
		"應用ID與商戶號不匹配":                               {hintMerchant, app | mch},
		"ａｐｐｉｄ和ｍｃｈ＿ｉｄ不匹配":                           {hintMerchant, app | mch},
		"appid and mch_id not match":                {hintMerchant, app | mch},
		"mch_id does not match appid":               {hintMerchant, app | mch},
		"The appid doesn't match the merchant ID.":  {hintMerchant, app | mch},
		"APPID_MCHID_NOT_MATCH":                     {hintMerchant, app | mch},
		"mch id and app id mismatch":                {hintMerchant, app | mch},
		"mch_id is not bound to appid":              {hintMerchant, app | mch},
		"the merchant id isn't linked to the appid": {hintMerchant, app | mch},
		"sub_mch_id与sub_appid不匹配":                   {hintMerchant, sub | subApp},
		"sub_appid and sub_mch_id not match":        {hintMerchant, sub | subApp},
		"appid与sub_mch_id未关联":                       {hintMerchant, app | sub},
		"mch_id与sub_mch_id不对应":                      {hintMerchant, mch | sub},
		"子商户号与子商户公众账号ID不匹配":                         {hintMerchant, sub | subApp},
		"商户号mch_id与appid的绑定关系不存在":                   {hintMerchant, app | mch},

		// Unknown ones.
		"appid不存在":                          {hintMerchant, app},
		"appid不存在(-2)":                      {hintMerchant, app},
		"invalid appid(wx8888888888888888)": {hintMerchant, app},
		"invalid appid(40013)":              {hintMerchant, app},
		"invalid appid [rid: 65f1-1f2e]":    {hintMerchant, app},
		"AppID不存在,请检查后再试":                   {hintMerchant, app},
		"应用ID不存在":                           {hintMerchant, app},
		"公众账号ID不存在":                         {hintMerchant, app},
		"appid 或者 mch_id 不存在":               {hintMerchant, app | mch},
		"商户号mch_id或sub_mch_id不存在":           {hintMerchant, mch | sub},
		"商戶號mch_id或sub_mch_id不存在":           {hintMerchant, mch | sub},
		"mch_id不存在":                         {hintMerchant, mch},
		"MCHID不存在(10001)":                   {hintMerchant, mch},
		"MCHID_NOT_EXIST":                   {hintMerchant, mch},
		"MCH_NOT_EXISTS":                    {hintMerchant, mch},
		"mch_id does not exist":             {hintMerchant, mch},
		"unknown merchant id 1900000109":    {hintMerchant, mch},
		"no such merchant":                  {hintMerchant, mch},
		"merchant not found":                {hintMerchant, mch},
		"商户不存在":                             {hintMerchant, mch},
		"服务商不存在":                            {hintMerchant, mch},
		"子商户号不存在":                           {hintMerchant, sub},
		"特约商户不存在":                           {hintMerchant, sub},
		"sub_mch_id not found":              {hintMerchant, sub},
		"sub_appid不存在":                      {hintMerchant, subApp},
		"invalid sub_appid":                 {hintMerchant, subApp},
		"商户号已注销":                            {hintMerchant, mch},
		"商户号异常":                             {hintMerchant, mch},
		"商户已被冻结":                            {hintMerchant, mch},
		"the merchant is disabled":          {hintMerchant, mch},
		"mch_id不是服务商商户号":                    {hintMerchant, mch},

		// Ones of a wrong form.
		"mch_id参数格式错误":                    {hintMerchant, mch},
		"sub_mch_id参数格式错误":                {hintMerchant, sub},
		"appid参数长度有误":                     {hintMerchant, app},
		"appid格式不正确":                      {hintMerchant, app},
		"商户传入的appid参数不正确,请联系商户处理":         {hintMerchant, app | mch},
		"请确认请求参数是否正确param mch_id invalid": {hintMerchant, mch},
		"mch id error":                    {hintMerchant, mch},
		"mch_id format error":             {hintMerchant, mch},
		"malformed sub_mch_id":            {hintMerchant, sub},
		"wrong length of appid":           {hintMerchant, app},
		"商户号格式错误":                         {hintMerchant, mch},
		"子商户号错误":                          {hintMerchant, sub},
		"普通商户不允许传sub_mch_id":              {hintMerchant, mch | sub},

		"mch_id必须为数字":             {hintMerchant, mch},
		"mch_id must be a number": {hintMerchant, mch},
		"appid too long":          {hintMerchant, app},

		// No permission.
		"没有权限":                               {hintMerchant, may},
		"You have no right to call this API": {hintMerchant, may},
		"未获得授权":                              {hintMerchant, may},
		"无权限":                                {hintMerchant, may},
		"权限不足":                               {hintMerchant, may},
		"您没有app支付权限":                         {hintMerchant, may},
		"支付权限检查失败":                           {hintMerchant, may},
		"產品權限驗證失敗":                           {hintMerchant, may},
		"商户号该产品权限未开通，请前往商户平台>产品中心检查后重试": {hintMerchant, mch | may},
		"商户无此接口权限":    {hintMerchant, mch | may},
		"该商户支付权限已被取消": {hintMerchant, mch | may},
		"特约子商户商户号未授权服务商的产品权限，请联系特约商户授权后重试": {hintMerchant, mch | sub | may},
		"该子商户尚未开通此功能":       {hintMerchant, sub | may},
		"no permission":     {hintMerchant, may},
		"NO_AUTH":           {hintMerchant, may},
		"NOAUTH":            {hintMerchant, may},
		"Permission denied": {hintMerchant, may},
		"merchant is not authorised to use this API": {hintMerchant, mch | may},
		"not authorized":                     {hintMerchant, may},
		"the product has not been activated": {hintMerchant, may},
		"no permission to close orders":      {hintMerchant, may},
		"商户没有关闭订单接口权限":                       {hintMerchant, mch | may},
		"缺少接口权限":                             {hintMerchant, may},

		// No relation.
		"受理关系不存在":                                   {hintMerchant, rel},
		"服务商与特约商户受理关系不存在":                           {hintMerchant, mch | sub | rel},
		"商户号与子商户号没有受理关系":                            {hintMerchant, mch | sub | rel},
		"no relation between mch_id and sub_mch_id": {hintMerchant, mch | sub | rel},
		"acceptance relationship not found":         {hintMerchant, rel},
		"sub_mch_id does not belong to mch_id":      {hintMerchant, mch | sub},
		"子商户号不属于该服务商":                               {hintMerchant, mch | sub},

		// A request that cannot work.
		"输入源“/body/xml/appid”映射到字段“公众号ID”必填性规则校验失败，此字段为必填项":                     {hintRequest, 0},
		"输入源“/body/xml/mch_id”映射到字段“商户号”字符串规则校验失败，字符串长度不能大于32":                  {hintRequest, 0},
		"无法将输入源“/body/xml/out_trade_no”映射到目标字段“商户订单号”中，此字段需要一个合法的 64 位有符号整数":    {hintRequest, 0},
		"無法將輸入源“/body/xml/sign”映射到目標字段“簽名”中":                                    {hintRequest, 0},
		`input source "/body/xml/mch_id" could not be mapped to field "mch_id"`: {hintRequest, 0},
		"缺少参数":                     {hintRequest, 0},
		"缺少参数mch_id":               {hintRequest, 0},
		"缺少参数 appid 或 mch_id":      {hintRequest, 0},
		"mch_id不能为空":               {hintRequest, 0},
		"受理机构必须传入sub_mch_id":       {hintRequest, 0},
		"sub_mch_id is required":   {hintRequest, 0},
		"missing parameter mch_id": {hintRequest, 0},
		"LACK_PARAMS":              {hintRequest, 0},
		"参数错误":                     {hintRequest, 0},
		"请求参数有误":                   {hintRequest, 0},
		"PARAM_ERROR":              {hintRequest, 0},
		"nonce_str参数格式错误":          {hintRequest, 0},
		"out_trade_no参数格式错误":       {hintRequest, 0},
		"商户订单号参数格式错误":              {hintRequest, 0},
		"XML格式错误":                  {hintRequest, 0},
		"XML_FORMAT_ERROR":         {hintRequest, 0},
		"编码格式错误":                   {hintRequest, 0},
		"post数据为空":                 {hintRequest, 0},
		"请使用post方法":                {hintRequest, 0},
		"INVALID_REQUEST":          {hintRequest, 0},

		// These keep their meaning, whoever is named.
		"频率限制":                     {hintLimited, 0},
		"商户号调用频率超限":                {hintLimited, 0},
		"请求过于频繁，请稍后再试":             {hintLimited, 0},
		"mch_id frequency limited": {hintLimited, 0},
		"FREQUENCY_LIMITED":        {hintLimited, 0},
		"too many requests":        {hintLimited, 0},
		"签名错误":                     {hintSignature, 0},
		"签名错误，请检查后再试":              {hintSignature, 0},
		"簽名錯誤":                     {hintSignature, 0},
		"商户号签名错误":                  {hintSignature, 0},
		"SIGNERROR":                {hintSignature, 0},
		"sign error":               {hintSignature, 0},
		"invalid signature":        {hintSignature, 0},
		"sign_type错误":              {hintSignature, 0},
		"验签失败":                     {hintSignature, 0},
		"sign does not match":      {hintSignature, 0},

		// False friends: not the merchant's.
		"订单不存在":                       {hintNone, 0},
		"商户订单号不存在":                    {hintNone, 0},
		"该商户的订单不存在":                   {hintNone, 0},
		"order not exist":             {hintNone, 0},
		"out_trade_no does not exist": {hintNone, 0},
		"merchant order not found":    {hintNone, 0},
		"订单已关闭":                       {hintNone, 0},
		"ORDERCLOSED":                 {hintNone, 0},
		"商户订单已支付":                     {hintNone, 0},
		"订单与商户号不匹配":                   {hintNone, 0},
		"没有权限操作该订单":                   {hintNone, 0},
		"appid和openid不匹配":             {hintNone, 0},
		"appid and openid not match":  {hintNone, 0},
		"该用户没有支付权限":                   {hintNone, 0},
		"user not found":              {hintNone, 0},
		"商户系统繁忙，请稍后重试":                {hintNone, 0},
		"系统错误":                        {hintNone, 0},
		"system error":                {hintNone, 0},
		"merchant service timeout":    {hintNone, 0},
		"请联系商户":                       {hintNone, 0},
		"不存在":                         {hintNone, 0},
		"not found":                   {hintNone, 0},
		"OK":                          {hintNone, 0},
		"":                            {hintNone, 0},
		"whatever":                    {hintNone, 0},
	} {
		h, a := readWords(msg)
		if (want{h, a}) != w {
			t.Errorf("%s: got %d about %v, want %d about %v", msg, h, a, w.hint, w.about)
		}
	}
}

// What is said of other things than the merchant, the request or a limit, with
// a merchant beside it, holds nobody; and what is said of him with an order
// beside it does. The hint alone is looked at here.
func TestFalseFriends(t *testing.T) {
	for want, sentences := range map[hint][]string{
		hintNone: {
			"商户号下无此订单", "商户号1900000109下无此交易", "该商户下没有找到此交易", "商户交易不存在", "交易不存在", "该笔交易不存在(appid:wx8888)",
			"商户退款单不存在", "商户流水号不存在", "商户账单不存在", "商户代金券不存在", "商户金额异常", "商户余额异常", "商户汇率不存在", "商户费率异常", "商户的币种无效",
			"商戶金額異常", "商戶匯率不存在", "商戶的幣種無效",
			"merchant transaction not found", "mch_id 1900000109 has no such transaction", "no such order for merchant id 1900000109", "merchant bill does not exist",
			"merchant refund not found", "invalid amount for merchant", "merchant exchange rate not found", "merchant fee rate invalid", "invalid total_fee", "无效的total_fee",
			"transaction_id and mch_id not match", "merchant currency invalid", "merchant url not found", "沙箱支付金额不正确，请确认验收case", "消费超过该商户支持的限额",
			"openid不属于该appid", "openid does not belong to appid", "sub_appid and sub_openid not match", "用户与appid不匹配", "用户账户异常", "user is not authorized",
			"merchant already exists", "merchant notified", "unknown merchant error", "商户系统未知错误", "商户号校验系统异常", "upstream request timeout",
			"no permission to operate this order", "商户订单状态不允许关闭",
		},
		hintRequest: {
			"商户请求参数无效", "商户传入的参数无效", "invalid parameter from merchant", "merchant sent invalid parameters", "金额参数错误", "total_fee参数格式错误",
			"spbill_create_ip参数长度有误", "out_trade_no参数长度有误(1)", "参数缺失: sub_mch_id", "參數不能為空: mch_id", "lack param appid", "输入请求参数xml格式错误",
			"输入源“/body/xml/nonce_str”映射到值字段“随机字符串”字符串规则校验失败，字节数 0，小于最小值 1",
			`Failed to map the input source "/body/xml/mch_id" to the target field "Merchant ID". A valid 64-bit signed integer is required.`,
		},
		hintLimited: {
			"接口调用次数超过限制", "QPS超限", "Rate exceeded", "request rate too high", "request limit exceeded", "quota exceeded", "INVALID_REQ_TOO_MUCH", "RULELIMIT",
			"商户请求频率超过限制",
		},
		hintSignature: {
			"沙箱验证签名失败，请确认沙箱签名key是否正确（通过getsignkey调用生成）", "商户未设置APIv2密钥", "商戶未設置API密鑰", "请先设置API密钥", "api key not set", "sign err",
			"sign not match (1005)", "签名错误[1]", "CHECK_SIGN_FAIL",
		},
		hintMerchant: {
			"appid不存在[40013]", "40013:invalid appid", "【10003】appid和mch_id不匹配", "10003: mch_id is not bound to appid", "Appid(wx8888888888888888) and mchid(1900000109) do not match",
			"关闭订单失败：商户号不存在", "订单关闭失败，appid和mch_id不匹配", "Close order failed: merchant does not exist", "Failed to close this order: invalid appid",
			"Bind the appid to the mch_id in order to call this API: appid and mch_id not match", "cross-border merchant ID invalid",
			"商户号该产品权限预开通中，请等待产品开通后重试", "商家暂时没有此类交易权限，请联系商家客服", "该商户已被限制交易", "商户没有关闭订单的权限，API权限未开通",
			"此IP地址不允许调用接口，如有需要请登录微信支付商户平台更改配置", "此IP地址不允許調用該接口", "ip not in whitelist", "授权已过期", "Authorization failed", "FORBIDDEN", "no access", "無此介面許可權",
			"缺少appid和mch_id的绑定关系", "sub merchant is not under this merchant", "sub_mch_id is not related to mch_id", "mch_id is not the service provider of sub_mch_id",
			"商户被风控", "商戶號已被凍結", "merchant status abnormal", "MCH_STATUS_ERROR", "merchant closed", "账户异常", "ACCOUNT_ERROR", "机构号不存在",
			"请确认请求参数是否正确sub_mch_id", "商戶號必須為10位數字", "公眾號appid未繫結商戶號", "不識別的商戶號",
		},
	} {
		for _, msg := range sentences {
			if got, _ := readWords(msg); got != want {
				t.Errorf("%s: got %d, want %d", msg, got, want)
			}
		}
	}
}

// Every subject with every trouble, in every order that a language has.
func TestSubjectsAndTroubles(t *testing.T) {
	type subject struct {
		words string
		about about
	}
	chinese := []subject{
		{"appid", aboutAppID}, {"AppID", aboutAppID}, {"应用ID", aboutAppID}, {"公众账号ID", aboutAppID}, {"公众号", aboutAppID},
		{"mch_id", aboutMchID}, {"mchid", aboutMchID}, {"商户号", aboutMchID}, {"商户号mch_id", aboutMchID}, {"服务商商户号", aboutMchID},
		{"sub_mch_id", aboutSubMchID}, {"子商户号", aboutSubMchID}, {"特约商户号", aboutSubMchID}, {"子商户号sub_mch_id", aboutSubMchID},
		{"sub_appid", aboutSubAppID}, {"子商户appid", aboutSubAppID},
	}
	english := []subject{
		{"appid", aboutAppID}, {"app_id", aboutAppID}, {"application id", aboutAppID},
		{"mch_id", aboutMchID}, {"merchant id", aboutMchID}, {"merchant number", aboutMchID}, {"MCHID", aboutMchID},
		{"sub_mch_id", aboutSubMchID}, {"sub-merchant", aboutSubMchID}, {"sub merchant id", aboutSubMchID}, {"sub_appid", aboutSubAppID},
	}
	for _, behind := range []string{"", "(10012)", "[123456]", "，请检查后再试", ": wx8888888888888888", "（错误码：40013）"} {
		for _, s := range chinese {
			for _, trouble := range []string{"不存在", "无效", "参数格式错误", "格式不正确", "长度有误", "未注册", "未绑定", "已注销", "不合法", "错误", "没有找到"} {
				tryWords(t, s.words+trouble+behind, s.about)
			}
		}
		for _, s := range english {
			for _, sentence := range []string{"invalid %", "unknown %", "% not exist", "% does not exist", "% is invalid", "% not found", "illegal %", "% format error", "wrong %", "% is not registered", "no such %", "% error", "% is not bound", "the % can't be found"} {
				tryWords(t, strings.ReplaceAll(sentence, "%", s.words)+behind, s.about)
			}
		}
	}
}

func tryWords(t *testing.T, msg string, want about) {
	t.Helper()
	if h, a := readWords(msg); h != hintMerchant || a != want {
		t.Errorf("%s: got %d about %v, want about %v", msg, h, a, want)
	}
}

// Only what is named is held, and what the order brought is held alone.
func TestBlameOfWords(t *testing.T) {
	const none, foreignApp, ownSub, ownSubApp = 0, 1, 2, 4
	for sentence, tt := range map[string]struct {
		msg        string
		own        int
		want       Scope
		unworkable bool
	}{
		"a pair that does not match holds the merchant":            {"appid和mch_id不匹配", none, Scope{MchID: "M"}, false},
		"an appid that the order brought is held alone":            {"appid和mch_id不匹配", foreignApp, Scope{MchID: "M", AppID: "wx2"}, false},
		"so is an unknown one":                                     {"invalid appid(40013)", foreignApp, Scope{MchID: "M", AppID: "wx2"}, false},
		"but not for a mch_id":                                     {"mch_id参数格式错误", foreignApp | ownSub, Scope{MchID: "M"}, false},
		"a sub_mch_id of the merchant holds the merchant":          {"受理关系不存在", none, Scope{MchID: "M"}, false},
		"one that the order brought is held alone":                 {"受理关系不存在", ownSub, Scope{MchID: "M", SubMchID: "S2"}, false},
		"also where mch_id is named beside it":                     {"商户号mch_id或sub_mch_id不存在", ownSub, Scope{MchID: "M", SubMchID: "S2"}, false},
		"and both where both are named":                            {"appid与sub_mch_id未关联", foreignApp | ownSub, Scope{MchID: "M", AppID: "wx2", SubMchID: "S2"}, false},
		"a permission that nobody is named for is the sub's alone": {"没有权限", ownSub, Scope{MchID: "M", SubMchID: "S2"}, false},
		"as NOAUTH is, or else the merchant's":                     {"没有权限", foreignApp, Scope{MchID: "M"}, false},
		"a permission of the merchant is his":                      {"商户号该产品权限未开通", ownSub, Scope{MchID: "M"}, false},
		"a sub_appid that the order brought makes it unworkable":   {"sub_appid不存在", ownSubApp, Scope{}, true},
		"with its sub_mch_id that is held":                         {"sub_mch_id与sub_appid不匹配", ownSub | ownSubApp, Scope{MchID: "M", SubMchID: "S2"}, false},
		"a sub_appid of the merchant holds the merchant":           {"sub_appid不存在", none, Scope{MchID: "M"}, false},
	} {
		m := Merchant{MchID: "M", AppID: "wx1", Institution: true, SubMchID: "S1", SubAppID: "wxs1"}
		o := Order{MchID: "M", OutTradeNo: "T1"}
		if tt.own&foreignApp != 0 {
			o.AppID = "wx2"
		}
		if tt.own&ownSub != 0 {
			o.SubMchID = "S2"
		}
		if tt.own&ownSubApp != 0 {
			o.SubAppID = "wxs2"
		}
		id, err := identify(&o, &m)
		if err != nil {
			t.Fatal(err)
		}
		d, scope := decideUnsigned(tt.msg).blame(id)
		class := MerchantRefused
		if tt.unworkable {
			class = Temporary
		}
		if d.class != class || scope != tt.want || d.unworkable != tt.unworkable {
			t.Errorf("%s: got %v %+v, unworkable %v, want %v %+v", sentence, d.class, scope, d.unworkable, class, tt.want)
		}
	}
}
