package events

import (
	"strings"
	"testing"
	"time"
)

// Times that decide about a close: what RFC 3339 allows is read, the rest is
// refused with the reason and what to write instead.
func TestTimesThatDecide(t *testing.T) {
	noonIn := func(nanoseconds int) string { return formatTime(noon.Add(time.Duration(nanoseconds))) }
	for _, c := range []struct{ sentence, text, want string }{
		{"in UTC", "2025-11-23T12:00:00Z", noonIn(0)},
		{"with an offset", "2025-11-23T20:00:00+08:00", noonIn(0)},
		{"west of Greenwich, on the day before", "2025-11-22T23:30:00-12:30", noonIn(0)},
		{"with the offset -00:00", "2025-11-23T12:00:00-00:00", noonIn(0)},
		{"with lower-case t and z", "2025-11-23t12:00:00z", noonIn(0)},
		{"with a blank for T", "2025-11-23 20:00:00+08:00", noonIn(0)},
		{"with one digit of a second", "2025-11-23T12:00:00.5Z", noonIn(5e8)},
		{"with nine digits", "2025-11-23T12:00:00.123456789Z", noonIn(123456789)},
		{"with more digits than count", "2025-11-23T12:00:00.1234567890123456789Z", noonIn(123456789)},
		{"a leap second is the next second", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
		{"a leap second elsewhere", "1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00Z"},
		{"a leap second with a fraction", "2015-07-01T07:59:60.25+08:00", "2015-07-01T00:00:00.25Z"},
		{"the 29th of February", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"the last offset", "2025-11-24T11:59:00+23:59", noonIn(0)},

		{"no zone", "2025-11-23T12:00:00", `is "2025-11-23T12:00:00" and has no zone; write "2025-11-23T12:00:00+08:00" for Beijing, "2025-11-23T12:00:00Z" for UTC`},
		{"no zone, a blank, a fraction, as Python writes it", "2025-11-23 12:00:00.250000", `is "2025-11-23 12:00:00.250000" and has no zone; write "2025-11-23T12:00:00.25+08:00" for Beijing, "2025-11-23T12:00:00.25Z" for UTC`},
		{"a zone name", "2025-11-23T20:00:00 CST", `is "2025-11-23T20:00:00 CST" and has the zone name "CST"; write the offset, such as +08:00`},
		{"a zone name that is certain", "2025-11-23 12:00:00 UTC", `is "2025-11-23 12:00:00 UTC" and has a zone name; write "2025-11-23T12:00:00Z"`},
		{"GMT and an offset", "2025-11-23T20:00:00GMT+08:00", `is "2025-11-23T20:00:00GMT+08:00" and has a zone name; write "2025-11-23T20:00:00+08:00"`},
		{"a zone of the tz database", "2025-11-23T20:00:00 Asia/Shanghai", `is "2025-11-23T20:00:00 Asia/Shanghai" and has the zone name "Asia/Shanghai"; write the offset, such as +08:00`},
		{"Java's ZonedDateTime", "2025-11-23T20:00:00+08:00[Asia/Shanghai]", `is "2025-11-23T20:00:00+08:00[Asia/Shanghai]" and has a zone name behind its offset; write "2025-11-23T20:00:00+08:00"`},
		{"Java's ZonedDateTime in UTC", "2025-11-23T12:00:00Z[UTC]", `is "2025-11-23T12:00:00Z[UTC]" and has a zone name behind its offset; write "2025-11-23T12:00:00Z"`},
		{"a zone name in brackets alone", "2025-11-23T20:00:00[Asia/Shanghai]", `is "2025-11-23T20:00:00[Asia/Shanghai]" and has the zone name "[Asia/Shanghai]" and no offset; write the offset, such as +08:00`},
		{"an offset without a colon, as PHP's DATE_ISO8601", "2025-11-23T12:00:00+0000", `is "2025-11-23T12:00:00+0000" and has an offset that is not written as +hh:mm; write "2025-11-23T12:00:00+00:00"`},
		{"an offset without minutes", "2025-11-23T20:00:00+08", `is "2025-11-23T20:00:00+08" and has an offset that is not written as +hh:mm; write "2025-11-23T20:00:00+08:00"`},
		{"an offset of one digit", "2025-11-23T20:00:00+8:00", `is "2025-11-23T20:00:00+8:00" and has an offset that is not written as +hh:mm; write "2025-11-23T20:00:00+08:00"`},
		{"a blank before the offset", "2025-11-23 20:00:00 +08:00", `is "2025-11-23 20:00:00 +08:00" and has a blank before its offset; write "2025-11-23T20:00:00+08:00"`},
		{"a blank before Z", "2025-11-23 12:00:00 Z", `is "2025-11-23 12:00:00 Z" and has a blank before its zone; write "2025-11-23T12:00:00Z"`},
		{"an offset beyond the day", "2025-11-23T20:00:00+24:00", `is "2025-11-23T20:00:00+24:00", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"no seconds", "2025-11-23T20:00+08:00", `is "2025-11-23T20:00+08:00" and has no seconds; write "2025-11-23T20:00:00+08:00"`},
		{"no seconds and no zone", "2025-11-23T20:00", `is "2025-11-23T20:00" and has no zone; write "2025-11-23T20:00:00+08:00" for Beijing, "2025-11-23T20:00:00Z" for UTC`},
		{"a comma", "2025-11-23T12:00:00,5Z", `is "2025-11-23T12:00:00,5Z" and has a comma before the fraction of a second; write "2025-11-23T12:00:00.5Z"`},
		{"a point without digits", "2025-11-23T12:00:00.Z", `is "2025-11-23T12:00:00.Z", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"24:00", "2025-11-23T24:00:00+08:00", `is "2025-11-23T24:00:00+08:00" and has the hour 24, which RFC 3339 does not know; write "2025-11-24T00:00:00+08:00"`},
		{"24:30", "2025-11-23T24:30:00+08:00", `is "2025-11-23T24:30:00+08:00" and has an hour beyond 23; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a minute too many", "2025-11-23T12:60:00Z", `is "2025-11-23T12:60:00Z" and has a minute beyond 59; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a leap second in the middle of a day", "2025-11-23T12:00:60Z", `is "2025-11-23T12:00:60Z" and has a second beyond 59, which only a leap second may have, at 23:59:60 UTC on the last day of a month`},
		{"second 61", "2016-12-31T23:59:61Z", `is "2016-12-31T23:59:61Z" and has a second beyond 59, which only a leap second may have, at 23:59:60 UTC on the last day of a month`},
		{"month 13", "2025-13-01T00:00:00Z", `is "2025-13-01T00:00:00Z" and has the month 13; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a day that does not exist", "2025-02-29T00:00:00Z", `is "2025-02-29T00:00:00Z" and has a day that does not exist; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a date alone", "2025-11-23", `is "2025-11-23" and is a date alone; write the time and the zone too, such as 2025-11-23T20:00:00+08:00`},
		{"a blank at the end", "2025-11-23T12:00:00Z ", `is "2025-11-23T12:00:00Z " and has a blank at the end, write it without`},
		{"a line break at the end", "2025-11-23T12:00:00Z\n", `is "2025-11-23T12:00:00Z\n" and has a line break at the end, write it without`},
		{"words", "tomorrow", `is "tomorrow", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"slashes", "2025/11/3 20:00:00", `is "2025/11/3 20:00:00" and has slashes for dashes and no zone; write "2025-11-03T20:00:00+08:00" for Beijing, "2025-11-03T20:00:00Z" for UTC`},
		{"HTTP's form", "Sun, 23 Nov 2025 12:00:00 GMT", `is "Sun, 23 Nov 2025 12:00:00 GMT" and is the form of HTTP (RFC 9110); write "2025-11-23T12:00:00Z"`},
		{"the form of e-mail", "Sun, 23 Nov 2025 20:00:00 +0800", `is "Sun, 23 Nov 2025 20:00:00 +0800" and is the form of e-mail (RFC 5322); write "2025-11-23T20:00:00+08:00"`},
		{"JavaScript's Date", "Sun Nov 23 2025 20:00:00 GMT+0800 (China Standard Time)", `is "Sun Nov 23 2025 20:00:00 GMT+0800 (China"... and is JavaScript's Date as text; write "2025-11-23T20:00:00+08:00"`},
		{"Go's time.Time", "2025-11-23 20:00:00.5 +0800 CST m=+0.000012", `is "2025-11-23 20:00:00.5 +0800 CST m=+0.000"... and is Go's time.Time as text; write "2025-11-23T20:00:00.5+08:00"`},
		{"Java's Date", "Sun Nov 23 20:00:00 CST 2025", `is "Sun Nov 23 20:00:00 CST 2025" and is Java's Date as text, whose zone has several meanings; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"ISO 8601's basic form", "20251123T120000Z", `is "20251123T120000Z" and is ISO 8601's basic form; write "2025-11-23T12:00:00Z"`},
		{"the same with a fraction and an offset", "20251123T200000.250+0800", `is "20251123T200000.250+0800" and is ISO 8601's basic form; write "2025-11-23T20:00:00.25+08:00"`},
		{"the same without a zone", "20251123T200000", `is "20251123T200000" and is ISO 8601's basic form and has no zone; write "2025-11-23T20:00:00+08:00" for Beijing, "2025-11-23T20:00:00Z" for UTC`},
		{"an hour of one digit", "2025-11-23T9:00:00Z", `is "2025-11-23T9:00:00Z", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a year of five digits", "12025-11-23T12:00:00Z", `is "12025-11-23T12:00:00Z", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"full-width digits", "２０２５-11-23T12:00:00Z", `is "２０２５-11-23T12:00:00Z", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"the year 0", "0000-01-01T00:00:00Z", `is "0000-01-01T00:00:00Z", outside the years 1 to 9999`},
		{"the year 10000 in UTC", "9999-12-31T23:59:59-00:01", `is "9999-12-31T23:59:59-00:01", outside the years 1 to 9999`},

		{"epoch seconds", "1764000000", `is "1764000000", epoch seconds; write "2025-11-24T16:00:00Z"`},
		{"epoch milliseconds", "1764000000123", `is "1764000000123", epoch milliseconds; write "2025-11-24T16:00:00.123Z"`},
		{"epoch microseconds", "1764000000123456", `is "1764000000123456", epoch microseconds; write "2025-11-24T16:00:00.123456Z"`},
		{"epoch nanoseconds", "1764000000123456789", `is "1764000000123456789", epoch nanoseconds; write "2025-11-24T16:00:00.123456789Z"`},
		{"epoch seconds with a fraction", "1764000000.25", `is "1764000000.25", epoch seconds; write "2025-11-24T16:00:00.25Z"`},
		{"epoch milliseconds as a float writes them", "1.764e+12", `is "1.764e+12", epoch milliseconds; write "2025-11-24T16:00:00Z"`},
		{"yyyyMMddHHmmss, WeChat Pay's own form", "20251123200000", `is "20251123200000", a time without marks and zone; write "2025-11-23T20:00:00+08:00" for Beijing, "2025-11-23T20:00:00Z" for UTC`},
		{"yyyyMMddHHmmssSSS", "20251123200000250", `is "20251123200000250", a time without marks and zone; write "2025-11-23T20:00:00.25+08:00" for Beijing, "2025-11-23T20:00:00.25Z" for UTC`},
		{"yyyyMMddHHmm", "202511232000", `is "202511232000", a time without marks and zone; write "2025-11-23T20:00:00+08:00" for Beijing, "2025-11-23T20:00:00Z" for UTC`},
		{"yyyyMMdd", "20251123", `is "20251123", a date alone; write the time and the zone too, such as 2025-11-23T20:00:00+08:00`},
		{"a number that is no time of our days", "42", `is "42", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		{"a number without end", strings.Repeat("9", 60), `is "9999999999999999999999999999999999999999"..., want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			var p problems
			var got string
			if at := parseTime("f", c.text, &p); len(p) == 0 {
				got = formatTime(at)
			} else {
				got = p[0].Problem
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTimesThatAreNoText(t *testing.T) {
	for raw, want := range map[string]string{
		`1764000000`:               `is 1764000000, epoch seconds; write "2025-11-24T16:00:00Z"`,
		`1764000000000`:            `is 1764000000000, epoch milliseconds; write "2025-11-24T16:00:00Z"`,
		`1764000000.000000000`:     `is 1764000000.000000000, epoch seconds; write "2025-11-24T16:00:00Z"`,
		`1.764E9`:                  `is 1.764E9, epoch seconds; write "2025-11-24T16:00:00Z"`,
		`20251123200000`:           `is 20251123200000, a time without marks and zone; write "2025-11-23T20:00:00+08:00" for Beijing, "2025-11-23T20:00:00Z" for UTC`,
		`0`:                        `is the number 0, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`,
		`-1e999`:                   `is the number -1e999, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`,
		`[2025,11,23,20,0]`:        `is an array, as Jackson writes java.time by default; want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`,
		`{"$date":"2025"}`:         `is an object, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`,
		`true`:                     `is a boolean, want a string`,
		strings.Repeat("1", 10000): `is the number 1111111111111111111111111111111111111111, want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`,
	} {
		for _, field := range []string{"order_created_at", "not_before", "expires_at"} {
			r, err := DecodeRequest(Message{Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T2","` + field + `":` + raw + `}`)})
			if _, lines := judge(err); len(lines) != 1 || lines[0] != field+": "+want {
				t.Errorf("%.60s: got %q\nwant %s", raw, lines, want)
			}
			if r.OutTradeNo != "T2" {
				t.Errorf("%.60s: names %q", raw, r.OutTradeNo)
			}
		}
	}
}

// An attribute that a close does not need is read where its meaning is certain,
// and else ignored.
func TestTimesThatCostNothing(t *testing.T) {
	for sentence, c := range map[string]struct {
		text string
		want time.Time
	}{
		"RFC 3339":                       {"2025-11-23T20:00:00+08:00", noon},
		"a blank for T":                  {"2025-11-23 12:00:00Z", noon},
		"lower-case t and z":             {"2025-11-23t12:00:00z", noon},
		"an offset without a colon":      {"2025-11-23T12:00:00+0000", noon},
		"an offset without minutes":      {"2025-11-23T20:00:00+08", noon},
		"no seconds":                     {"2025-11-23T12:00Z", noon},
		"no seconds, a blank, no colon":  {"2025-11-23 20:00 +0800", noon},
		"UTC":                            {"2025-11-23 12:00:00 UTC", noon},
		"GMT":                            {"2025-11-23T12:00:00GMT", noon},
		"GMT and an offset":              {"2025-11-23T20:00:00 GMT+0800", noon},
		"Java's ZonedDateTime":           {"2025-11-23T20:00:00+08:00[Asia/Shanghai]", noon},
		"Java's ZonedDateTime, no colon": {"2025-11-23T20:00:00+0800[Asia/Shanghai]", noon},
		"a comma":                        {"2025-11-23T12:00:00,5Z", noon.Add(time.Second / 2)},
		"24:00":                          {"2025-11-22T24:00:00Z", noon.Add(-12 * time.Hour)},
		"white space round it":           {" 2025-11-23T12:00:00Z\n", noon},

		"the form of e-mail": {"Sun, 23 Nov 2025 20:00:00 +0800", noon},
		"JavaScript's Date":  {"Sun Nov 23 2025 20:00:00 GMT+0800 (China Standard Time)", noon},
		"Java's Date in UTC": {"Sun Nov 23 12:00:00 UTC 2025", time.Time{}},

		"CST, which is Beijing, Chicago or Havana": {"2025-11-23T20:00:00 CST", time.Time{}},
		"any other zone name":                      {"2025-11-23T20:00:00 PST", time.Time{}},
		"a zone of the tz database":                {"2025-11-23T20:00:00[Asia/Shanghai]", time.Time{}},
		"no zone":                                  {"2025-11-23T20:00:00", time.Time{}},
		"a date alone":                             {"2025-11-23", time.Time{}},
		"a number":                                 {"1764000000000", time.Time{}},
		"a day that does not exist":                {"2025-02-29T12:00:00Z", time.Time{}},
		"the year 0":                               {"0000-01-01T00:00:00Z", time.Time{}},
		"beyond the year 9999 in UTC":              {"9999-12-31T23:59:59-08:00", time.Time{}},
		"words":                                    {"yesterday", time.Time{}},
		"a blank":                                  {" ", time.Time{}},
		"nothing":                                  {"", time.Time{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := readTime(c.text); !got.Equal(c.want) {
				t.Errorf("%q: got %v, want %v", c.text, got, c.want)
			}
			value := []byte(`{"mch_id":"1900000109","out_trade_no":"T2"}`)
			r, err := DecodeRequest(Message{Value: value, Headers: []Header{{headerTime, []byte(c.text)}}})
			if err != nil || !r.RequestedAt.Equal(c.want) {
				t.Errorf("ce_time %q: %v, %v", c.text, r.RequestedAt, err)
			}
		})
	}
}

// FuzzTime holds the reading of times against time.Parse, which reads RFC 3339
// but for lower case and the leap second, and some things more (go.dev/issue/54580).
func FuzzTime(f *testing.F) {
	for _, s := range []string{
		"2025-11-23T12:00:00Z", "2025-11-23 20:00:00.5+08:00", "2016-12-31T23:59:60Z", "2025-11-23T24:00:00+0800",
		"1764000000000", "2025-11-23T12:00:00,5Z", "2025-11-23T20:00:00+08:00[Asia/Shanghai]", "2025-11-23T12:00 GMT+8", "20251123200000",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := readMoment(s)
		if want, err := time.Parse(time.RFC3339, s); err == nil {
			switch {
			case m.flaw == "" && !m.at.Equal(want):
				t.Fatalf("is %v, for time.Parse %v", m.at, want)
			case m.flaw != "" && len(s) >= len("2006-01-02T15:04:05Z") && s[13] == ':' && !strings.ContainsAny(s, ",") && s[len(s)-1] == 'Z':
				t.Fatalf("%s, but time.Parse reads %v", m.flaw, want)
			}
		}
		if m.flaw == "" && isWritable(m.at) {
			if again := readMoment(formatTime(m.at)); again.flaw != "" || !again.at.Equal(m.at) {
				t.Fatalf("%v is not read as it is written", m.at)
			}
		}
		// What we say to write can be read, and means the same.
		if _, write, ok := strings.Cut(m.flaw, `; write "`); ok {
			write, _, _ = strings.Cut(write, `"`)
			if fixed := readMoment(write); fixed.flaw != "" || !m.at.IsZero() && !fixed.at.Equal(m.at) {
				t.Fatalf("%s: reads as %+v, meant %v", m.flaw, fixed, m.at)
			}
		}
		if len(m.flaw) > 250 {
			t.Fatalf("the flaw has %d bytes: %s", len(m.flaw), m.flaw)
		}
	})
}
