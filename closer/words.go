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

	wordsLimited   = regexp.MustCompile(`频率|频繁|频次|限流|限频|过快|太快|次数(过多|超限|超过|限制|上限|已达)|请求过多|qps|frequen|(rate|rule)limit|rate(is)?(too|exceed)|(limit|quota|qps)[a-z]{0,8}exceed|exceed[a-z]{0,20}(limit|quota|rate)|toofast|toom(any|uch)|throttl|flowcontrol`)
	wordsSignature = regexp.MustCompile(`签名|验签|[密秘]钥|(api|secret|pay|v2)key|signature|signtype|sign(is|was|do|does)?(not|err|invalid|wrong|incorrect|fail|check|verif|mismatch|bad)|(error|invalid|wrong|incorrect|bad|check|verify)sign|sign(错误|有误|无效|不|校验|验证)`)
	// What will be over soon by its own words. "Check, and try again" is no such word.
	wordsSoon = regexp.MustCompile(`稍后|稍候|繁忙|(系统|未知的?)(未知)?(错误|异常|超时)|超时|busy|later|timeout|timedout|system(error|failure)|internal[a-z]{0,8}error|unknown(merchant|system|server)?(error|exception)`)

	// Whom or what a refusal is about when it is not about the merchant.
	wordsOrder = regexp.MustCompile(`订单|单号|交易|退款|账单|流水|分账|[金余]额|币种|汇率|手续费|费[率用]|代金券|优惠券|红包|outtradeno|order|trade|transaction|refund|(^|[^a])bill|coupon|amount|balance|currency|fee|exchangerate`)
	wordsBuyer = regexp.MustCompile(`用户|买家|付款(人|方|码)|支付者|openid|user|buyer|payer`)
	// Calls, products, web sites and turns of speech that have the order or the
	// merchant in their names.
	wordsNames = regexp.MustCompile(`status|previous|inorder(to|that|for)|(cross)?border|(限制|暂停|禁止|停止)交易|交易(权限|功能|产品|能力)|noncestr|notifyurl|(close|query|unified|reverse)(the|this|an|a)?orders?|order(query|close)|(关闭|查询|撤销)订单|订单(关闭|查询|撤销)(接口|产品|功能|api|失败)|(商户|服务商)平台|商家助手|merchantplatform`)

	wordsSubAppID = regexp.MustCompile(`sub(wx)?appid|子(商户)?的?(公众账?号|应用|小程序)(app)?(id)?|(子商户|特约商户)的?(appid|公众账?号|应用|小程序)`)
	wordsSubMchID = regexp.MustCompile(`sub(mch|merchant)(id|number|no|code)?|(子|特约|二级|下级)(子)?商户(编?号|id|代码|账[号户])?`)
	wordsAppID    = regexp.MustCompile(`app(lication)?id|公众账?号(app)?(id)?|应用(编号|id)|小程序(app)?(id)?`)
	// A merchant by the name of the field, or only in general.
	wordsMchID    = regexp.MustCompile(`mch(id|number|no|code)?|merchant(id|number|code|account|no([^a-z]|$|is|does|invalid|error|format))|商户(编?号|id|代码|账[号户])|服务商(编?号|id)`)
	wordsMerchant = regexp.MustCompile(`merchant|商户|商家|服务商|(受理|渠道)(机构|商)|机构(编?号|代码)|^账[号户]|^account|serviceprovider|partner|institution`)

	wordsMissing = regexp.MustCompile(`缺少|缺失|必须(传|填|有|提供|包含)|必(传|填)|(不能|不可|不得|不允许)为?空|为空|未(传|填|上送)|没有(传|填|上送)|(^|[^b])lack|missing|required|(be|is|are)(empty|null|blank)|not(empty|null|blank|present|supplied|provided)|must(be)?(present|set|given|passed|supplied|contain|have)`)
	// What a merchant may do, and from where. It needs no subject.
	wordsPermission = regexp.MustCompile(`权限|无权|授权(已|被)?(失败|过期|失效|取消|不足|异常)|需要?(先|获得)?授权|不允许(调用|访问|使用|请求)|(限制|暂停|禁止|停止)(交易|收款|支付)|(禁止|拒绝)(调用|访问|使用|请求)|白名单|whitelist|allowlist|(未|没有?|无|不)(被|获得?|经|得到)?(授权|开通|签约|启用)|permission|privilege|noauth|authori[sz]ation|forbidden|(no|without)(the)?right|notentitled|notallowedto|noaccess|(not|un)(been|yet|be)?(authori[sz]|permitted|opened|enabled|activated)|accessdenied`)
	wordsProduct    = regexp.MustCompile(`(接口|产品|api|支付|功能|服务)的?权限|权限(未开通|不足)|(api|interface|product|feature|service)(permission|privilege)|permission(denied)?(for|of|to)(the|this)?(api|interface|product|feature|service)`)
	wordsRelation   = regexp.MustCompile(`(服务商|受理|商户|绑定|授权|归属|从属).{0,6}关系|关系(不存在|异常|未|已)|relation`)
	wordsBinding    = regexp.MustCompile(`绑定|bind|bound`)

	// Troubles that say enough of a merchant in general.
	wordsTrouble = regexp.MustCompile(`(不|未|没|无).{0,12}(匹配|一致|相?符|对应|绑定|关联|存在|找到|查到|注册|建立|生效|激活|认证|实名|识别|归属|属于)` +
		`|[找查]不到|查无|无[此该]|没有?[此该]|未知|不是|并非|解绑|解除|冻结|注销|封禁|被封|停用|停止|(已|被).{0,6}关闭|违规|处罚|风控|审核|限制|失效|受限|无效|非法|不合法|异常|黑名单` +
		`|(no|(is|are|was|were|do|does|did|has|have|can?|could|wo)nt|never)[a-z]{0,14}(match|exist|bound|bind|link|associat|regist|found|find|correspond|belong|consist|known|recogni[sz]|enabled|active|valid|open|under|relat|provider)` +
		`|(un|non|mis|in)(match|exist|bound|bind|link|associat|regist|consist|known|recogni[sz]|enabled|active|valid)` +
		`|nosuch|abnormal|closed|deactivated|terminated|accounterror|invalid|illegal|frozen|disabled|suspended|blocked|revoked|expired|blacklist`)
	// And those that do with the name of a field.
	wordsWrong = regexp.MustCompile(`是否正确|有误|错|不正确|不对|不支持|不允许|不能|格式|长度|[超过]长|过短|过期|应[为以是]|必须[为以是]|只能|incorrect|wrong|error|malformed|format|length|bad|notallowed|unsupported|notsupport|notcorrect|notright|too(long|short)|(must|should)(be|have|start|begin|only)`)

	// What a merchant sends, which is not the merchant.
	wordsParts = regexp.MustCompile(`参数|字段|报文|请求|地址|域名|回调|param|field|request|url|domain|address|noncestr|body|xml`)

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
	case wordsPermission.MatchString(text) && (!order || wordsProduct.MatchString(text)):
		return hintMerchant, who | aboutPermission
	case order:
	case wordsRelation.MatchString(rest):
		if who&(aboutAppID|aboutSubAppID) == 0 || !wordsBinding.MatchString(rest) {
			who |= aboutRelation
		}
		return hintMerchant, who
	case missing:
	case named && (wordsTrouble.MatchString(rest) || wordsWrong.MatchString(rest)):
		return hintMerchant, who
	case who != 0 && wordsTrouble.MatchString(rest) && !wordsParts.MatchString(text):
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
// Hong Kong and Taiwan, whose merchants have gateways of their own, and the
// words that are other ones there. Each is followed by what stands for it.
var simplified = strings.NewReplacer(append([]string{
	"許可權", "权限", "介面", "接口", "金鑰", "密钥", "引數", "参数", "欄位", "字段", "繫結", "绑定", "小程式", "小程序", "使用者", "用户", "支援", "支持",
}, strings.Split(""+
	"為为爲为買买於于產产産产從从眾众衆众優优傳传餘余關关冊册凍冻則则別别製制務务單单參参檯台臺台號号後后啓启啟启迴回處处實实審审對对屬属幣币並并併并應应開开異异歸归"+
	"戶户報报據据數数無无時时暫暂機机權权構构査查覈核匯汇滙汇沒没註注碼码確确種种祕秘簽签籤签係系繫系紅红約约級级經经綁绑結结絕绝絶绝統统續续編编罰罚聯联獲获穫获規规"+
	"訂订認认許许訪访証证證证識识詢询該该誤误請请調调敗败賬账費费輸输達达過过違违鈅钥鑰钥銷销錯错長长閉闭問问須须鬚须頻频額额風风驗验帳账帐账", "")...)...)
