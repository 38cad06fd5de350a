package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const publicKey = "192006250b4c09247ec02edce69f6a2d" // of WeChat Pay's own documents

func TestSign(t *testing.T) {
	fields := strings.Fields("appid=wxd930ea5d5a258f4f mch_id=10000100 device_info=1000 body=test nonce_str=ibuaiVcKdpRxkhJA")
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(publicKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const md5, hmac = "9A0A8659F005D6984697E2CA0A9CF3B7\n", "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6\n"
	xml := "<xml><appid>wxd930ea5d5a258f4f</appid><body><![CDATA[test]]></body><device_info>1000</device_info>" +
		"<mch_id>10000100</mch_id><nonce_str>ibuaiVcKdpRxkhJA</nonce_str><empty></empty><sign>X</sign></xml>"
	for _, tt := range []struct {
		what  string
		flags []string
		args  []string
		stdin string
		want  string
	}{
		{"MD5 is the default", []string{"--key", publicKey}, fields, "", md5},
		{"HMAC-SHA256 when asked for", []string{"--key", publicKey, "--type", "HMAC-SHA256"}, fields, "", hmac},
		{"the key from the environment", []string{"--key-env", "KEY"}, fields, "", md5},
		{"the key from a file with a newline at its end", []string{"--key-file", file}, fields, "", md5},
		{"XML from standard input", []string{"--key-env", "KEY"}, []string{"-"}, xml, md5},
	} {
		t.Run(tt.what, func(t *testing.T) {
			args := append(append([]string{"sign"}, tt.flags...), tt.args...)
			code, stdout, stderr := call(t, []string{"KEY=" + publicKey}, tt.stdin, args...)
			if code != exitDone || stdout != tt.want || stderr != "" {
				t.Errorf("exit code %d, printed %q, %q", code, stdout, stderr)
			}
		})
	}
	_, stdout, stderr := call(t, nil, "", append([]string{"sign", "--explain", "--key", publicKey}, fields...)...)
	if stdout != md5 || !strings.Contains(stderr, "nonce_str=ibuaiVcKdpRxkhJA&key=******") || strings.Contains(stderr, publicKey) {
		t.Errorf("--explain printed %q, %q", stdout, stderr)
	}
}

// Whoever gives the key where its place is asked for is not shown it again.
func TestSignShowsNoKeyInAWrongPlace(t *testing.T) {
	for _, flag := range []string{"--key-env", "--key-file"} {
		for _, name := range []string{publicKey, "/run/secrets/" + publicKey} {
			code, stdout, stderr := call(t, nil, "", "sign", flag, name, "a=1")
			if code != exitUsage || stdout != "" || strings.Contains(stderr, publicKey) || !strings.Contains(stderr, flag) {
				t.Errorf("%s %s: exit code %d, printed %q, %q", flag, name, code, stdout, stderr)
			}
		}
	}
}

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
