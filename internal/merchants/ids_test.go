package merchants

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// ids are texts for a mch_id, and what is wrong with them.
var ids = map[string]string{
	"1900000112":            "",
	"0123":                  "", // as text
	"42":                    "",
	"wx8888888888888888":    "",
	"shop_1-a":              "",
	strings.Repeat("1", 32): "",
	"e9":                    "",
	"1e":                    "",
	"0x":                    "",
	"0xyz":                  "",
	"1-2":                   "",
	"a1e9":                  "",

	"":                      "is missing",
	strings.Repeat("1", 33): "has 33 bytes, at most 32 are allowed",
	"1.9e+09":               "rewritten",
	"1.900000112E9":         "rewritten",
	"1e9":                   "rewritten",
	"1E+9":                  "rewritten",
	"0x71417f":              "rewritten",
	"0X71":                  "rewritten",
	"0o17":                  "rewritten",
	"0b101":                 "rewritten",
	"1900000112.0":          "rewritten",
	"1900000112.":           "rewritten",
	".5":                    "rewritten",
	"1_900_000_112":         "rewritten",
	"1,900,000,112":         "rewritten",
	"1'900'000'112":         "rewritten",
	"+1900000112":           "rewritten",
	"-1900000112":           "rewritten",
	"-1.9e+09":              "rewritten",
	" 1900000112":           "has a blank at the beginning",
	"1900000112 ":           "has a blank at the end",
	"1900000112\n":          "has a line break at the end",
	"1900000112\r\n":        "has a line break at the end",
	"1900000112\t":          "has a tab at the end",
	"1900000112\u3000":      "has a blank at the end",
	"1900 000 112":          `has " " at byte 5`,
	"1900000112;":           `has ";" at byte 11`,
	`"1900000112"`:          "is in quotes, leave them out",
	"'1900000112'":          "is in quotes",
	"“1900000112”":          "is in quotes",
	"１９":                    "it has the wide sign １ (U+FF11), write 1",
	"商户":                    "allowed are letters, digits, _ and -",
	"a\x00b":                `has "\x00" at byte 2`,
	"a\xffb":                "at byte 2",
}

// For an appid, that a number was rewritten shows only in what it must not have.
func TestIDs(t *testing.T) {
	for s, want := range ids {
		for _, check := range []func(string) error{CheckMchID, CheckAppID} {
			err := check(s)
			if s != "" && want == "rewritten" && fmt.Sprint(check(s)) == "<nil>" && CheckMchID(s) != nil && strings.Trim(s, "0123456789abcdefoxEX_-") == "" {
				continue // 0x71 can be an appid
			}
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", s, err, want)
			}
		}
		if err := CheckMchID(s); want == "rewritten" && !strings.Contains(err.Error(), "in quotes") {
			t.Errorf("%q: no remedy in %v", s, err)
		}
	}
	if err := CheckMchID("1" + strings.Repeat("0", 29) + "e9"); err == nil || strings.Contains(err.Error(), "000") {
		t.Errorf("what could be an API key is shown: %v", err)
	}
}

// Wherever an id comes in, it is judged by the same rule.
func TestIDsAreOneRuleForEachField(t *testing.T) {
	for s, want := range ids {
		if s == "" || !utf8.ValidString(s) || strings.Contains(s, "\x00") { // not for YAML
			continue
		}
		for _, name := range []string{"mch_id", "sub_mch_id", "appid", "sub_appid"} {
			want := want
			if strings.HasSuffix(name, "appid") && CheckAppID(s) == nil {
				want = ""
			}
			text := fmt.Sprintf("merchants:\n- key: %s\n  mode: institution\n  %s: %q\n", testKey, name, s)
			if name != "mch_id" {
				text += "  mch_id: 1\n"
			}
			_, err := parse([]byte(text), "")
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "line 4: "+name+" ") {
				t.Errorf("%s %q in a file: %v, want %q", name, s, err, want)
			}
		}
	}
}

// Without quotes YAML makes numbers, dates and booleans of them.
func TestIDsWithoutQuotes(t *testing.T) {
	for s, right := range map[string]bool{
		"1900000112": true, "wx88": true, "a_b": true,
		"0123": false, "1.9e+09": false, "1e9": false, "0x71417f": false, "0o17": false, "1900000112.0": false,
		"1_900_000_112": false, "+1900000112": false, "true": false, "2024-01-01": false, ".inf": false,
	} {
		for _, name := range []string{"mch_id", "sub_mch_id", "appid", "sub_appid"} {
			text := fmt.Sprintf("merchants:\n- key: %s\n  mode: institution\n  %s: %s\n", testKey, name, s)
			if name != "mch_id" {
				text += "  mch_id: 1\n"
			}
			_, err := parse([]byte(text), "")
			if (err == nil) != right || err != nil && (!strings.Contains(err.Error(), "line 4: "+name+" must be in quotes") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %s: %v", name, s, err)
			}
		}
	}
}
