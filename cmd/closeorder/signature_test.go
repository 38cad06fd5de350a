package main

import (
	"strings"
	"testing"
)

const publicKey = "192006250b4c09247ec02edce69f6a2d" // of WeChat Pay's own documents

func TestVerify(t *testing.T) {
	const signed = "<xml><return_code>SUCCESS</return_code><return_msg>OK</return_msg><appid>wx2421b1c4370ec43b</appid>" +
		"<mch_id>10000100</mch_id><nonce_str>BFK89FC6rxKCOjLX</nonce_str><result_code>SUCCESS</result_code><result_msg>OK</result_msg>" +
		"<sign>808C1D11E84411F8DF1DF1ADC960B491</sign></xml>"
	for _, tt := range []struct {
		what  string
		xml   string
		flags []string
		code  int
		says  string
	}{
		{"a valid reply", signed, nil, exitDone, "valid MD5 signature"},
		{"a changed value", strings.Replace(signed, "wx24", "wx25", 1), nil, exitBad, "not valid"},
		{"an added field", strings.Replace(signed, "<sign>", "<more>1</more><sign>", 1), nil, exitBad, "not valid"},
		{"another algorithm", signed, []string{"--type", "HMAC-SHA256"}, exitBad, "--type"},
		{"no signature", strings.Replace(signed, "sign>", "sing>", 2), nil, exitBad, "not valid"},
		{"a field twice", strings.Replace(signed, "<sign>", "<appid>x</appid><sign>", 1), nil, exitBad, `standard input has the element "appid" a second time at line 1, column`},
		{"something behind the root", signed + "<xml></xml>", nil, exitBad, `another element "xml" after its end`},
		{"an element inside a field", strings.Replace(signed, "OK<", "<b>OK</b><", 1), nil, exitBad, `the element "b" inside of "return_msg"`},
		{"a declaration of another encoding", `<?xml version="1.0" encoding = "gbk"?>` + signed, nil, exitBad, "another encoding than utf-8"},
		{"a declaration after a line", "\n<?xml version=\"1.0\"?>" + signed, nil, exitBad, "a processing instruction"},
		{"without end", strings.Repeat("x", 1<<20), nil, exitBad, "is longer than 65536 bytes"},
		{"an attribute", strings.Replace(signed, "<appid>", "<appid a=\"1\">", 1), nil, exitBad, "attributes"},
		{"a document type", "<!DOCTYPE xml>" + signed, nil, exitBad, "a directive, such as a DOCTYPE"},
		{"no XML", "hello", nil, exitBad, "standard input "},
		{"nothing", "", nil, exitBad, "standard input is empty"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			args := append([]string{"verify", "--key", publicKey}, tt.flags...)
			code, stdout, stderr := call(t, nil, tt.xml, append(args, "-")...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("exit code %d, printed %q, %q; want %d and %q", code, stdout, stderr, tt.code, tt.says)
			}
			if strings.Contains(stdout+stderr, publicKey) {
				t.Error("the key is shown")
			}
		})
	}
}
