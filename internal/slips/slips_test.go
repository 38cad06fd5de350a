package slips_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/slips"
)

func TestUnquote(t *testing.T) {
	for s, want := range map[string]string{
		`"a"`: "a", `'a'`: "a", "`a`": "a", "“a”": "a", "‘a’": "a", "”a”": "a", "「a」": "a", "＂a＂": "a",
		` "a" `: "a", "'a'\n": "a", `""`: "", `"a" "b"`: `a" "b`,
	} {
		if got, ok := slips.Unquote(s); !ok || got != want {
			t.Errorf("%q: %q, %v, want %q", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "a", `"`, `"a`, `a"`, `"a'`, `a"b"c`, "“a“"} {
		if got, ok := slips.Unquote(s); ok || got != s {
			t.Errorf("%q: %q, %v", s, got, ok)
		}
	}
}

func TestWideSignsAreTold(t *testing.T) {
	for s, want := range map[string]string{
		"a：b": "： (U+FF1A), write :", "a，b": "，", "１": "write 1", "“": `write "`, "’": "write '", "a\u3000b": "U+3000, write a plain one", "\u00a0": "U+00A0",
		"。": "write .", "、": "write ,", "～": "write ~", "—": "write -",
	} {
		if got := slips.Wide(s); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for _, s := range []string{"", "abc", "商户", "é", `"`} {
		if got := slips.Wide(s); got != "" {
			t.Errorf("%q: %q", s, got)
		}
	}
}

func TestWhatLooksLikeAKey(t *testing.T) {
	key := strings.Repeat("aZ09", 8)
	for s, want := range map[string]bool{key: true, key[1:]: false, key + "a": false, key[1:] + "_": false, key[3:] + "é": false, "": false} {
		if got := slips.LooksLikeKey(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestNear(t *testing.T) {
	known := []string{"mch_id", "sub_mch_id", "appid", "api_key", "kafka.brokers"}
	for name, want := range map[string]string{
		"mchId": "mch_id", "MCH_ID": "mch_id", "mch-id": "mch_id", "sub mch id": "sub_mch_id", "kafkaBrokers": "kafka.brokers",
		"apikey": "api_key", "api_kye": "api_key", "mhc_id": "mch_id", "app_id": "appid", "kafka.broker": "kafka.brokers",
		"colour": "", "": "", "key": "",
	} {
		if got := slips.Near(name, known, 2); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRedactedLeavesNoPassword(t *testing.T) {
	for s, want := range map[string]string{
		"https://a": "https://a", "": "", "https://u:p@a": "https://******@a", "socks5://u:p@a": "socks5://******@a",
		"u:p@a:1": "******@a:1", "https://u:p@x@a,b": "https://******@a,b", "p://p@a": "******@a",
	} {
		if got := slips.Redacted(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
