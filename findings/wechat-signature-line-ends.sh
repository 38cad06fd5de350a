#!/usr/bin/env bash
# Expected: whether a message of WeChat Pay V2 with a line end in a field is rightly signed does not depend on the SDK that reads it.
# Happens: it does, and no signature is right for all. tenpay reads CR LF as it stands, and refuses a signature over LF.
#   wechatpay-axios-plugin and wechatpy read it as XML does, as LF, and refuse a signature over CR LF. One message each way, in
#   both forms, the same for all three.
# Versions: tenpay 2.1.18, wechatpay-axios-plugin 0.9.6 (npm), wechatpy 1.8.18 (PyPI).
# Seen:
#   signed over   written as   tenpay    axios-plugin   wechatpy
#   CR LF         CDATA        good      refused        refused
#   CR LF         text         good      refused        refused
#   LF            CDATA        refused   good           good
#   LF            text         refused   good           good
# Why it matters: attach is the shop's own words and comes back in the answer to a query. With a line end of Windows in it
#   "paid" is a "bad signature" for some readers, for ever. Let a signature count under either reading of line ends, or let no
#   attach have one.
# Sources: XML 1.0, section 2.11 "End-of-Line Handling" (a processor hands on LF alone); pay.weixin.qq.com, V2 "signature
#   algorithm" (values as they are). xml2js 0.4, under tenpay, parses by sax, which has no such handling.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check wechatpy==1.8.18 cryptography setuptools
npm install --silent --no-audit --no-fund --ignore-scripts tenpay@2.1.18 wechatpay-axios-plugin@0.9.6
# The key is the one of the public signature example.
cat >sign.py <<'EOF'
import hashlib

key = "192006250b4c09247ec02edce69f6a2d"
known = {"return_code": "SUCCESS", "result_code": "SUCCESS", "appid": "wx8888888888888888", "mch_id": "1900000109",
         "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS", "out_trade_no": "PRODUCER1", "total_fee": "1"}
number = 0
for end in ("\r\n", "\n"):
    fields = dict(known, attach="table 7" + end + "window")
    text = "&".join("%s=%s" % (k, fields[k]) for k in sorted(fields)) + "&key=" + key
    fields["sign"] = hashlib.md5(text.encode()).hexdigest().upper()
    fields["attach"] = "table 7\r\nwindow"
    for form in ("<%s><![CDATA[%s]]></%s>", "<%s>%s</%s>"):
        number += 1
        message = "<xml>%s</xml>" % "".join(form % (k, v, k) for k, v in fields.items())
        open("message%d" % number, "wb").write(message.encode())
EOF
cat >tenpay.js <<'EOF'
const fs = require("fs");
const Tenpay = require("tenpay");
const read = new Tenpay({ appid: "wx8888888888888888", mchid: "1900000109", partnerKey: "192006250b4c09247ec02edce69f6a2d",
  notify_url: "http://127.0.0.1/" }).middlewareForExpress("pay");
(async () => {
  for (let number = 1; number <= 4; number++) {
    let said = "refused";
    const response = { header() {}, send() {} };
    await read({ body: fs.readFileSync("message" + number, "utf8") }, response, () => (said = "good"));
    console.log(said);
  }
})();
EOF
cat >axios.js <<'EOF'
const fs = require("fs");
const { Transformer, Hash } = require("wechatpay-axios-plugin");
for (let number = 1; number <= 4; number++) {
  const { sign, ...fields } = Transformer.toObject(fs.readFileSync("message" + number, "utf8"));
  console.log(Hash.sign("MD5", fields, "192006250b4c09247ec02edce69f6a2d") === sign ? "good" : "refused");
}
EOF
cat >verify.py <<'EOF'
from wechatpy.pay import WeChatPay

pay = WeChatPay("wx8888888888888888", "192006250b4c09247ec02edce69f6a2d", "1900000109")
for number in range(1, 5):
    try:
        pay.parse_payment_result(open("message%d" % number, "rb").read())
        print("good")
    except Exception as e:
        print("refused" if type(e).__name__ == "InvalidSignatureException" else repr(e))
EOF
python3 sign.py
node tenpay.js >tenpay
node axios.js >axios
py/bin/python -W ignore verify.py >wechatpy
cat >names <<'EOF'
CR LF         CDATA
CR LF         text
LF            CDATA
LF            text
EOF
{
  echo "signed over   written as   tenpay    axios-plugin   wechatpy"
  paste names tenpay axios wechatpy | awk -F '\t' '{printf "%-26s %-9s %-14s %s\n", $1, $2, $3, $4}'
} >seen
cat >want <<'EOF'
signed over   written as   tenpay    axios-plugin   wechatpy
CR LF         CDATA        good      refused        refused
CR LF         text         good      refused        refused
LF            CDATA        refused   good           good
LF            text         refused   good           good
EOF
echo "versions: tenpay 2.1.18, wechatpay-axios-plugin 0.9.6 (npm), wechatpy 1.8.18 (PyPI)"
echo "expected: three times the same in each line"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
