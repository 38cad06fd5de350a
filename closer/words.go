package closer

import (
	"regexp"
	"strings"
	"unicode"
)

// hint is what the words of an unsigned refusal read like. Anybody can have
// written them, so they conclude nothing: a hint only says what to do next.
type hint int

const (
	hintNone      hint = iota
	hintLimited        // too many calls, or the buyer is paying
	hintSignature      // our signature is found wrong
	hintMerchant       // the merchant's identities, or what he may do, are refused
	hintRequest        // the request as it stands cannot work
)

// about says which identities the words name.
type about int

const (
	aboutAppID about = 1 << iota
	aboutMchID
	aboutSubMchID
	aboutSubAppID
	aboutRelation   // between a provider and a sub-merchant
	aboutPermission // whatever it is that the merchant may not do
)

// String says what to look at, such as "appid and mch_id".
func (a about) String() string {
	var names []string
	for _, n := range [...]struct {
		bit  about
		name string
	}{
		{aboutAppID, "appid"}, {aboutMchID, "mch_id"}, {aboutSubMchID, "sub_mch_id"}, {aboutSubAppID, "sub_appid"},
		{aboutRelation, "the relation to the sub-merchant"}, {aboutPermission, "the permissions of the merchant"},
	} {
		if a&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " and ")
}

// The words come in Chinese and in English, with and without underscores,
// blanks, brackets and advice behind them, and new ones are made up at any
// time. So there is no list of sentences: a sentence is read as a subject and
// a trouble. The samples that it was made from are those of merchants who asked
// in public what to do about them; TestWords has them.
var (
	// The newer check of parameters names the place in the request ("输入源",
	// input source), the field that it maps to, and the rule that was broken.
	// Its sentences can have any of the words below in them.
	wordsInput = regexp.MustCompile(`输入源|映射|规则校验|inputsource|map(s|ped|ping)?(it)?to|(validation|check)rule|rule(validation|check)`)

	wordsLimited   = regexp.MustCompile(`频率|频繁|频次|限流|限频|过快|太快|次数(过多|超限)|请求过多|frequen|ratelimit|toofast|toomany|throttl|flowcontrol`)
	wordsSignature = regexp.MustCompile(`签名|验签|signature|signtype|sign(is|was|do|does)?(not|error|invalid|wrong|incorrect|fail|check|verif|mismatch|bad)|(error|invalid|wrong|incorrect|bad|check|verify)sign|sign(错误|有误|无效|不|校验|验证)`)
	// What will be over soon by its own words. "Check, and try again" is no such word.
	wordsSoon = regexp.MustCompile(`稍后|稍候|繁忙|系统(错误|异常|超时)|超时|busy|later|timeout|timedout|system(error|failure)|internalerror`)

	// Whom or what a refusal is about when it is not about the merchant.
	wordsOrder = regexp.MustCompile(`订单|单号|交易单|outtradeno|transactionid|order|trade`)
	wordsBuyer = regexp.MustCompile(`用户|买家|付款(人|方|码)|支付者|openid|user|buyer|payer`)
	// Calls, products and web sites that have the order or the merchant in
	// their names.
	wordsNames = regexp.MustCompile(`(close|query|unified|reverse)(the|an|a)?orders?|order(query|close)|(关闭|查询|撤销)订单|订单(关闭|查询|撤销)(接口|产品|功能|api)|(商户|服务商)平台|商家助手|merchantplatform`)

	wordsSubAppID = regexp.MustCompile(`sub(wx)?appid|子(商户)?的?(公众账?号|应用|小程序)(app)?(id)?|(子商户|特约商户)的?(appid|公众账?号|应用|小程序)`)
	wordsSubMchID = regexp.MustCompile(`sub(mch|merchant)(id|number|no|code)?|(子|特约|二级|下级)(子)?商户(编?号|id|代码|账[号户])?`)
	wordsAppID    = regexp.MustCompile(`app(lication)?id|公众账?号(app)?(id)?|应用(编号|id)|小程序(app)?(id)?`)
	// A merchant by the name of the field, or only in general.
	wordsMchID    = regexp.MustCompile(`mch(id|number|no|code)?|merchant(id|number|no|code|account)|商户(编?号|id|代码|账[号户])|服务商(编?号|id)`)
	wordsMerchant = regexp.MustCompile(`merchant|商户|商家|服务商|受理(机构|商)|渠道商|serviceprovider|partner|institution`)

	wordsMissing = regexp.MustCompile(`缺少|缺失|必须(传|填|有|提供|包含)|必(传|填)|(不能|不可|不得|不允许)为?空|为空|未(传|填|上送)|没有(传|填|上送)|(^|[^b])lack|missing|required|(be|is|are)(empty|null|blank)|not(empty|null|blank|present|supplied|provided)|must(be)?(present|set|given|passed|supplied|contain|have)`)
	// What a merchant may do. It needs no subject.
	wordsPermission = regexp.MustCompile(`权限|无权|(未|没有?|无|不)(被|获得?|经|得到)?(授权|开通|签约|启用)|permission|privilege|noauth|(no|without)(the)?right|notentitled|notallowedto|(not|un)(been|yet|be)?(authori[sz]|permitted|opened|enabled|activated)|accessdenied`)
	wordsProduct    = regexp.MustCompile(`(接口|产品|api|支付|功能|服务)的?权限|权限(未开通|不足)|(api|interface|product|feature|service)(permission|privilege)|permission(denied)?(for|of|to)(the|this)?(api|interface|product|feature|service)`)
	wordsRelation   = regexp.MustCompile(`(服务商|受理|商户|绑定|授权|归属|从属).{0,6}关系|关系(不存在|异常|未|已)|relation`)
	wordsBinding    = regexp.MustCompile(`绑定|bind|bound`)

	// Troubles that say enough of a merchant in general.
	wordsTrouble = regexp.MustCompile(`(不|未|没|无).{0,12}(匹配|一致|相?符|对应|绑定|关联|存在|找到|查到|注册|建立|生效|激活|认证|实名|识别|归属|属于)` +
		`|[找查]不到|查无|无[此该]|没有?[此该]|未知|不是|并非|解绑|解除|冻结|注销|封禁|被封|停用|停止|(已|被).{0,6}关闭|违规|处罚|限制|失效|受限|无效|非法|不合法|异常|黑名单` +
		`|(no|nt|never)[a-z]{0,14}(match|exist|bound|bind|link|associat|regist|found|find|correspond|belong|consist|known|recogni[sz]|enabled|active|valid|open)` +
		`|(un|non|mis|in)(match|exist|bound|bind|link|associat|regist|consist|known|recogni[sz]|enabled|active|valid)` +
		`|nosuch|invalid|illegal|frozen|disabled|suspended|blocked|revoked|expired|blacklist`)
	// And those that do with the name of a field.
	wordsWrong = regexp.MustCompile(`有误|错|不正确|不对|不支持|不允许|不能|格式|长度|[超过]长|过短|过期|应[为以是]|必须[为以是]|只能|incorrect|wrong|error|malformed|format|length|bad|notallowed|unsupported|notsupport|notcorrect|notright|too(long|short)|(must|should)(be|have|start|begin|only)`)

	wordsRequest = regexp.MustCompile(`参数|格式|字段|编码|长度|数据|请使用post|param|field|format|malformed|xml|json|utf8|encoding|post(method|data|方法)|(illegal|invalid|bad)request|非法请求|无效请求`)
)

// readWords reads the words of an unsigned refusal. It is pure.
func readWords(msg string) (hint, about) {
	text := folded(msg)
	if wordsInput.MatchString(text) {
		return hintRequest, 0
	}
	switch {
	case wordsLimited.MatchString(text):
		return hintLimited, 0
	case wordsSignature.MatchString(text):
		return hintSignature, 0
	case wordsSoon.MatchString(text):
		return hintNone, 0
	}

	rest := wordsNames.ReplaceAllString(text, ",")
	order, buyer := wordsOrder.MatchString(rest), wordsBuyer.MatchString(rest)
	who, named := subjects(rest)
	missing := wordsMissing.MatchString(rest)
	switch {
	case buyer:
	case wordsPermission.MatchString(rest) && (!order || wordsProduct.MatchString(rest)):
		return hintMerchant, who | aboutPermission
	case order || missing:
	case wordsRelation.MatchString(rest):
		if who&(aboutAppID|aboutSubAppID) == 0 || !wordsBinding.MatchString(rest) {
			who |= aboutRelation
		}
		return hintMerchant, who
	case named && (wordsTrouble.MatchString(rest) || wordsWrong.MatchString(rest)):
		return hintMerchant, who
	case who != 0 && wordsTrouble.MatchString(rest):
		return hintMerchant, who
	}
	if missing || wordsRequest.MatchString(rest) {
		return hintRequest, 0
	}
	return hintNone, 0
}

// subjects says whom the folded text is about. named: by the name of a field,
// not only as some merchant.
func subjects(text string) (who about, named bool) {
	for _, s := range [...]struct {
		words *regexp.Regexp
		about about
		named bool
	}{ // the longer names first
		{wordsSubAppID, aboutSubAppID, true},
		{wordsSubMchID, aboutSubMchID, true},
		{wordsAppID, aboutAppID, true},
		{wordsMchID, aboutMchID, true},
		{wordsMerchant, aboutMchID, false},
	} {
		if !s.words.MatchString(text) {
			continue
		}
		text = s.words.ReplaceAllString(text, ",")
		who |= s.about
		named = named || s.named
	}
	return who, named
}

// folded brings a text into the one form in which it is read: simplified
// characters, narrow ones, lower case, and nothing but letters and digits.
func folded(msg string) string {
	const most = 1024 // bytes; real ones have less than 200
	if len(msg) > most {
		msg = strings.ToValidUTF8(msg[:most], "")
	}
	var b strings.Builder
	for _, r := range simplified.Replace(msg) {
		if '！' <= r && r <= '～' { // the wide forms of ASCII
			r -= '！' - '!'
		}
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// simplified are the characters above that are written in another way in
// Hong Kong and Taiwan, whose merchants have gateways of their own.
var simplified = strings.NewReplacer(
	"號", "号", "戶", "户", "參", "参", "數", "数", "錯", "错", "誤", "误", "權", "权", "關", "关", "係", "系", "統", "统",
	"綁", "绑", "應", "应", "無", "无", "沒", "没", "頻", "频", "訂", "订", "單", "单", "輸", "输", "開", "开", "啟", "启",
	"簽", "签", "驗", "验", "對", "对", "註", "注", "冊", "册", "聯", "联", "結", "结", "異", "异", "後", "后",
	"賬", "账", "帳", "账", "帐", "账", "眾", "众", "約", "约", "級", "级", "務", "务", "規", "规", "則", "则", "編", "编", "碼", "码",
	"屬", "属", "於", "于", "傳", "传", "認", "认", "證", "证", "識", "识", "過", "过", "買", "买", "長", "长", "據", "据",
	"時", "时", "請", "请", "檢", "检", "試", "试", "經", "经", "獲", "获", "構", "构", "機", "机", "產", "产", "歸", "归",
)
