#!/usr/bin/env bash
# Expected: the V2 signature of WeChat Pay is made over the text of the fields. Whether a field with a blank at its end verifies
#   does not depend on the SDK that reads the message, nor on how the XML is written.
# Happens: it depends on both. wechatpy's XML reader trims every value, so that a signed blank at either end is refused. The
#   Node SDK's trims text but not CDATA: the same message is good in one form and refused in the other. The Java SDK trims
#   nothing. All read the same three messages, each with a right signature.
# Versions: wechatpy 1.8.18 (PyPI), wechatpay-axios-plugin 0.9.6 (npm), weixin-java-pay 4.7.0 (Maven).
# Seen:
#   attach          written as   python    node      java
#   "table 7"       CDATA        good      good      good
#   "table 7"       text         good      good      good
#   "table 7 "      CDATA        refused   good      good
#   "table 7 "      text         refused   refused   good
#   " "             CDATA        refused   good      good
#   " "             text         refused   refused   good
# Why it matters: attach is the shop's own words and comes back in the answer to a query. An SDK that refuses it makes "paid" a
#   "bad signature" for that order, for ever, on one machine and not on the other. Verify the text as it stands, trim nothing.
# Sources: pay.weixin.qq.com, V2 "signature algorithm" (non-empty values, sorted, as they are); the XML readers' own options:
#   xmltodict "strip_whitespace", fast-xml-parser "trimValues" (both true unless told otherwise).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv py
py/bin/pip install --quiet --disable-pip-version-check wechatpy==1.8.18 cryptography setuptools
npm install --silent --no-audit --no-fund --ignore-scripts wechatpay-axios-plugin@0.9.6
cat >pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>com.github.binarywang</groupId><artifactId>weixin-java-pay</artifactId><version>4.7.0</version></dependency>
</dependencies></project>
EOF
# The key is the one of the public signature example.
cat >sign.py <<'EOF'
import hashlib

key = "192006250b4c09247ec02edce69f6a2d"
known = {"return_code": "SUCCESS", "result_code": "SUCCESS", "appid": "wx8888888888888888", "mch_id": "1900000109",
         "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS", "out_trade_no": "PRODUCER1", "total_fee": "1"}
number = 0
for attach in ("table 7", "table 7 ", " "):
    fields = dict(known, attach=attach)
    text = "&".join("%s=%s" % (k, fields[k]) for k in sorted(fields)) + "&key=" + key
    fields["sign"] = hashlib.md5(text.encode()).hexdigest().upper()
    for form in ("<%s><![CDATA[%s]]></%s>", "<%s>%s</%s>"):
        number += 1
        open("message%d" % number, "w").write("<xml>%s</xml>" % "".join(form % (k, v, k) for k, v in fields.items()))
EOF
cat >verify.py <<'EOF'
from wechatpy.pay import WeChatPay

pay = WeChatPay("wx8888888888888888", "192006250b4c09247ec02edce69f6a2d", "1900000109")
for number in range(1, 7):
    try:
        pay.parse_payment_result(open("message%d" % number).read())
        print("good")
    except Exception as e:
        print("refused" if type(e).__name__ == "InvalidSignatureException" else repr(e))
EOF
cat >verify.js <<'EOF'
const fs = require("fs");
const { Transformer, Hash } = require("wechatpay-axios-plugin");
for (let number = 1; number <= 6; number++) {
  const { sign, ...fields } = Transformer.toObject(fs.readFileSync("message" + number, "utf8"));
  console.log(Hash.sign("MD5", fields, "192006250b4c09247ec02edce69f6a2d") === sign ? "good" : "refused");
}
EOF
cat >Verify.java <<'EOF'
import com.github.binarywang.wxpay.bean.notify.WxPayOrderNotifyResult;
import com.github.binarywang.wxpay.util.SignUtils;
import java.nio.file.*;

public class Verify {
  public static void main(String[] args) throws Exception {
    for (int number = 1; number <= 6; number++) {
      WxPayOrderNotifyResult result = WxPayOrderNotifyResult.fromXML(Files.readString(Path.of("message" + number)));
      System.out.println(SignUtils.checkSign(result.toMap(), "MD5", "192006250b4c09247ec02edce69f6a2d") ? "good" : "refused");
    }
  }
}
EOF
mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib >/dev/null
javac -cp 'lib/*' Verify.java
py/bin/python sign.py
py/bin/python -W ignore verify.py >python
node verify.js >node
java -cp '.:lib/*' Verify >java 2>/dev/null
cat >names <<'EOF'
"table 7"       CDATA
"table 7"       text
"table 7 "      CDATA
"table 7 "      text
" "             CDATA
" "             text
EOF
{
  echo "attach          written as   python    node      java"
  paste names python node java | awk -F '\t' '{printf "%-28s %-9s %-9s %s\n", $1, $2, $3, $4}'
} >seen
cat >want <<'EOF'
attach          written as   python    node      java
"table 7"       CDATA        good      good      good
"table 7"       text         good      good      good
"table 7 "      CDATA        refused   good      good
"table 7 "      text         refused   refused   good
" "             CDATA        refused   good      good
" "             text         refused   refused   good
EOF
echo "versions: wechatpy 1.8.18 (PyPI), wechatpay-axios-plugin 0.9.6 (npm), weixin-java-pay 4.7.0 (Maven)"
echo "expected: good, 18 times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
