package events

import (
	"strings"
	"testing"
)

func TestCheckMchID(t *testing.T) {
	const rewritten = ", looks like a number that something has rewritten; write the digits in quotes"
	for s, want := range map[string]string{
		"1900000112":            "",
		"0071":                  "",
		"0":                     "",
		"mch_1-A":               "",
		"e9":                    "",
		"1e":                    "",
		"0xyz":                  "",
		"19-00":                 "",
		strings.Repeat("1", 32): "",

		"":                        "is required",
		strings.Repeat("1", 33):   "has 33 bytes, at most 32 are allowed",
		"1.9e+09":                 `is "1.9e+09"` + rewritten,
		"1.900000112E9":           `is "1.900000112E9"` + rewritten,
		"1e9":                     `is "1e9"` + rewritten,
		"1E+9":                    `is "1E+9"` + rewritten,
		"1e-9":                    `is "1e-9"` + rewritten,
		"1900000112.0":            `is "1900000112.0"` + rewritten,
		"1900000112.":             `is "1900000112."` + rewritten,
		".5":                      `is ".5"` + rewritten,
		"0x71":                    `is "0x71"` + rewritten,
		"0X7F_00":                 `is "0X7F_00"` + rewritten,
		"0o17":                    `is "0o17"` + rewritten,
		"0b101":                   `is "0b101"` + rewritten,
		"1_900_000_112":           `is "1_900_000_112"` + rewritten,
		"1,900,000,112":           `is "1,900,000,112"` + rewritten,
		"1'900'000'112":           `is "1'900'000'112"` + rewritten,
		"+1900000112":             `is "+1900000112"` + rewritten,
		"-1900000112":             `is "-1900000112"` + rewritten,
		"+1.9e9":                  `is "+1.9e9"` + rewritten,
		" 1900000112":             `has a blank at the beginning (" 1900000112"), write it without`,
		"1900000112 ":             `has a blank at the end ("1900000112 "), write it without`,
		"1900000112\t":            `has a tab at the end ("1900000112\t"), write it without`,
		"1900000112\r\n":          `has a line break at the end ("1900000112\r\n"), write it without`,
		"\u30001900000112":        `has a blank at the beginning ("\u30001900000112"), write it without`,
		" ":                       `has a blank at the beginning (" "), write it without`,
		"1900 000112":             `has " " at byte 5, allowed are letters, digits and _-`,
		"1900000112/T9":           `has "/" at byte 11, allowed are letters, digits and _-`,
		"１９":                      `has "１" at byte 1, allowed are letters, digits and _-`,
		`"1900000112"`:            `has "\"" at byte 1, allowed are letters, digits and _-`,
		strings.Repeat("1.", 100): `is "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1."...` + rewritten,
	} {
		got := ""
		if err := CheckMchID(s); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got  %s\nwant %s", s, got, want)
		}
		// In a request mch_id and sub_mch_id go by the same rule.
		r := Request{OutTradeNo: "T2", MchID: s, SubMchID: "1900000211"}
		wantError := ""
		if want != "" {
			wantError = "mch_id: " + want
		}
		if got := errorText(validate(r)); got != wantError {
			t.Errorf("mch_id %q: got %s", s, got)
		}
		if s == "" {
			continue
		}
		r.MchID, r.SubMchID = "1900000109", s
		if got := errorText(validate(r)); got != strings.Replace(wantError, "mch_id", "sub_mch_id", 1) {
			t.Errorf("sub_mch_id %q: got %s", s, got)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNumbersInPlaceOfIDs(t *testing.T) {
	const rewritten = ", want a string; it looks like a number that something has rewritten; write the digits in quotes"
	for raw, want := range map[string]struct{ problem, names string }{
		`1900000112`:           {"is a number, want a string: write it in quotes", "1900000112"},
		`20251123000000000001`: {"is a number, want a string: write it in quotes", "20251123000000000001"},
		`0`:                    {"is a number, want a string: write it in quotes", "0"},
		`1.9e9`:                {"is the number 1.9e9" + rewritten, ""},
		`1900000112.0`:         {"is the number 1900000112.0" + rewritten, ""},
		`-1900000112`:          {"is the number -1900000112" + rewritten, ""},
		`true`:                 {"is a boolean, want a string", ""},
		`["1900000112"]`:       {"is an array, want a string", ""},
	} {
		for _, field := range []string{"mch_id", "sub_mch_id", "appid", "out_trade_no", "request_id", "replacement_out_trade_no"} {
			fields := map[string]string{"mch_id": `"1900000109"`, "out_trade_no": `"T2"`}
			fields[field] = raw
			var members []string
			for name, value := range fields {
				members = append(members, `"`+name+`":`+value)
			}
			r, err := DecodeRequest(Message{Value: []byte("{" + strings.Join(members, ",") + "}")})
			if got := errorText(err); got != field+": "+want.problem {
				t.Errorf("%s %s: got  %s\nwant %s", field, raw, got, want.problem)
			}
			names := map[string]string{
				"mch_id": r.MchID, "sub_mch_id": r.SubMchID, "appid": r.AppID, "out_trade_no": r.OutTradeNo,
				"replacement_out_trade_no": r.ReplacementOutTradeNo,
			}
			if got, ok := names[field]; ok && got != want.names {
				t.Errorf("%s %s: names %q", field, raw, got)
			}
		}
	}
}

func TestAnOutTradeNoMayLookLikeANumber(t *testing.T) {
	for s, want := range map[string]string{
		"1e9":           "",
		"0x71":          "",
		"1_900":         "",
		"2.02511E+13":   `out_trade_no: is "2.02511E+13", looks like a number that something has rewritten; write the digits in quotes`,
		"20251123001.0": `out_trade_no: is "20251123001.0", looks like a number that something has rewritten; write the digits in quotes`,
		" T1 ":          `out_trade_no: has a blank at the beginning (" T1 "), write it without`,
	} {
		if got := errorText(validate(Request{OutTradeNo: s, MchID: "1900000109"})); got != want {
			t.Errorf("%q: got %s", s, got)
		}
	}
}

// ORDERNOTEXIST for such a number would answer for an order that is payable.
func TestAMissingValueAsTextIsNoNumberOfAnOrder(t *testing.T) {
	for s, bad := range map[string]bool{
		"null": true, "NULL": true, "undefined": true, "None": true, "nil": true, "NaN": true, "nan": true,
		"null1": false, "nulls": false, "NaN-1": false, "none_2": false, "0": false, "-": false, "n": false,
	} {
		r := Request{OutTradeNo: s, MchID: "1900000109", ReplacementOutTradeNo: "T2"}
		if got := errorText(validate(r)); strings.HasPrefix(got, "out_trade_no: is ") != bad || !bad && got != "" {
			t.Errorf("out_trade_no %q: %s", s, got)
		}
		r.OutTradeNo, r.ReplacementOutTradeNo = "T2", s
		if got := errorText(validate(r)); strings.HasPrefix(got, "replacement_out_trade_no: is ") != bad || !bad && got != "" {
			t.Errorf("replacement_out_trade_no %q: %s", s, got)
		}
	}
}

// validate says of r what EncodeRequest does.
func validate(r Request) error {
	_, err := EncodeRequest(r, "/shop", noon)
	return err
}
