package merchants

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/closer"
)

func TestParseHost(t *testing.T) {
	for s, want := range map[string]string{
		"https://api.mch.weixin.qq.com":                     "",
		"https://api.mch.weixin.qq.com/":                    "https://api.mch.weixin.qq.com",
		"https://api.mch.weixin.qq.com//":                   "https://api.mch.weixin.qq.com",
		"HTTPS://API.mch.weixin.qq.com:443":                 "https://api.mch.weixin.qq.com",
		"http://localhost:8080":                             "",
		"http://localhost:80":                               "http://localhost",
		"http://127.0.0.1:443":                              "",
		"https://[::1]:8443/a":                              "",
		"https://api.mch.weixin.qq.com/sandboxnew":          "",
		"https://api.mch.weixin.qq.com/xdc/apiv2sandbox/":   "https://api.mch.weixin.qq.com/xdc/apiv2sandbox",
		"https://gw.example/Wechat/pay":                     "", // somebody's own way to the gateway
		"https://gw.example/pay/wechat":                     "",
		"https://gw.example/a%20b":                          "",
		"https://gw.example/a+b,c":                          "",
		"https://xn--fiqs8s.example":                        "",
		"https://api.mch.weixin.qq.com/pay/closeorderproxy": "",
	} {
		if want == "" {
			want = s
		}
		if got, err := ParseHost(s); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"":                                    "must begin with https://",
		"api.mch.weixin.qq.com":               "write https://api.mch.weixin.qq.com",
		"api.mch.weixin.qq.com:443/a":         "write https://api.mch.weixin.qq.com:443/a",
		"//api.mch.weixin.qq.com":             "write https://api.mch.weixin.qq.com",
		"https:/api.mch.weixin.qq.com":        "write https://api.mch.weixin.qq.com",
		"https:api.mch.weixin.qq.com":         "write https://api.mch.weixin.qq.com",
		"ftp://a":                             "must begin with https://",
		"https://":                            "has no host name",
		"https://:443":                        "has no host name",
		"https:///a":                          "has no host name",
		"https://a:0":                         "port",
		"https://a:70000":                     "port",
		"https://a:b":                         "is not a URL",
		"https://u@a":                         "without user and password",
		"https://u:distinctive@a":             "without user and password",
		"https://u:distinctive/@a":            "without user and password",
		"https://u:distinct?ive@a":            "without user and password",
		"u:distinctive@a":                     "must begin with",
		"https://a?b=c":                       "without query or fragment; write https://a",
		"https://a/?":                         "without query or fragment; write https://a",
		"https://a/b#c":                       "without query or fragment; write https://a/b",
		"https://a#":                          "without query or fragment; write https://a",
		"https://a b":                         "white space at byte 10",
		" https://a":                          "white space at byte 1",
		"https://a\n":                         "white space at byte 10",
		"https://a https://b":                 "commas between them",
		"https://a;https://b":                 "commas between them",
		"https://a，https://b":                 "the wide sign ， (U+FF0C), write ,",
		"https：//a":                           "the wide sign ： (U+FF1A), write :",
		"https://a：443":                       "the wide sign",
		`"https://a"`:                         "is in quotes, write https://a",
		"'https://a'":                         "is in quotes, write https://a",
		"“https://a”":                         "is in quotes, write https://a",
		"https://a/pay/closeorder":            "write its base alone, https://a:",
		"https://a/pay/closeorder/":           "write its base alone, https://a:",
		"https://a/pay/orderquery":            "write its base alone, https://a:",
		"https://a/s/pay/orderquery":          "write its base alone, https://a/s:",
		"https://a/Pay/CloseOrder":            "write its base alone, https://a:",
		"https://a//pay//closeorder":          "write its base alone, https://a:",
		"https://a/pay/unifiedorder":          "write its base alone, https://a:",
		"https://a/secapi/pay/reverse":        "write its base alone, https://a:",
		"https://a/pay/closeorder?x=1":        "write its base alone, https://a:",
		"https://a/sandboxnew/pay/getsignkey": "write its base alone, https://a/sandboxnew:",
		"https//a/b":                          "write https://a/b",
		"httpserver.example/b":                "write https://httpserver.example/b",
		"https://a,https://b":                 "not one base URL",
		"https://a/b,http://c":                "not one base URL",
		"https://a//b":                        "write one /",
		"https://a/b//c/":                     "write one /",
		"https://a/b\u200b":                   "byte 12 that cannot be seen",
		"\ufeffhttps://a":                     "byte 1 that cannot be seen",
		"https://api.mch.weixin.qq.com。":      "the wide sign",
		"https://api.mch.weixin.qq.com|a":     "not one base URL",
		"https://user:distinctive@a?b#c d":    "white space",
	} {
		got, err := ParseHost(s)
		if err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%q: %s, %v, want %q", s, got, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "distinct") {
			t.Errorf("%q: the error shows a password: %v", s, err)
		}
	}
}

func TestParseHostsFindsWhatIsThereTwice(t *testing.T) {
	hosts, problems := ParseHosts([]string{"https://a", "https://b/", "HTTPS://A:443/", "x", "https://b", "http://a"})
	if want := []string{"https://a", "https://b", "http://a"}; !slices.Equal(hosts, want) {
		t.Errorf("hosts %v, want %v", hosts, want)
	}
	if len(problems) != 3 || !strings.Contains(fmt.Sprint(problems[2]), "is there twice, as entry 1 and 3") || !strings.Contains(fmt.Sprint(problems[4]), "entry 2 and 5") || problems[3] == nil {
		t.Errorf("problems %v", problems)
	}
	if _, err := closer.New(closer.Config{Merchants: closer.MerchantMap{}, Hosts: []string{"https://a", "https://a/"}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("in code: %v", err)
	}
}

// YAML tears a password with a comma in it into two entries.
func TestHostsOfAFileShowNoPassword(t *testing.T) {
	for _, hosts := range []string{"[https://u:distinct,ive@a]", "[https://u:distinct, 'ive@a']", "['https://u:distinct,ive@a']", "[https://u:dis tinct@a]"} {
		_, err := parse([]byte("merchants:\n- {mch_id: 1, key: k, hosts: "+hosts+"}\n"), "")
		if err == nil || strings.Contains(err.Error(), "distinct") || strings.Contains(err.Error(), "dis ") || strings.Contains(err.Error(), "ive") {
			t.Errorf("%s: %v", hosts, err)
		}
	}
}
