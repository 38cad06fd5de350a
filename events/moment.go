package events

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// moment is what a text says about a point in time.
type moment struct {
	at   time.Time // in UTC; zero where more than one is possible
	flaw string    // what is not RFC 3339 about it and what to write; empty where it is
}

// readMoment reads RFC 3339 (section 5.6), and what is nearly that, in one
// pass over its parts. The first flaw is the one that is told.
func readMoment(s string) moment {
	if where := outerSpace(s); where != "" {
		return moment{flaw: "has " + where + ", write it without"}
	}
	if flaw := numberFlaw(s); flaw != "" {
		return moment{flaw: flaw}
	}
	r := parts{rest: s}
	flaw := r.read()
	if flaw == "" {
		return moment{at: r.moment()}
	}
	if flaw == wantTime {
		return readOtherForm(s)
	}
	if !r.certain {
		return moment{flaw: flaw}
	}
	return moment{at: r.moment(), flaw: flaw + `; write "` + r.text() + `"`}
}

// parts is a time taken apart. Once it was read it is in range.
type parts struct {
	year, month, day, hour, minute, second int

	fraction string // digits of a second
	offset   int    // minutes east of UTC
	utc      bool   // was written as Z, UTC or GMT
	rest     string // what is not read yet
	certain  bool   // has one reading although it has a flaw
}

func (r *parts) read() (flaw string) {
	first := func(text string) {
		if flaw == "" {
			flaw = text
		}
	}
	if !r.digits(4, &r.year) || !r.mark("-") || !r.digits(2, &r.month) || !r.mark("-") || !r.digits(2, &r.day) {
		return wantTime
	}
	if r.rest == "" {
		return "is a date alone; write the time and the zone too, such as " + r.date() + "T20:00:00+08:00"
	}
	if !r.mark("Tt ") || !r.digits(2, &r.hour) || !r.mark(":") || !r.digits(2, &r.minute) {
		return wantTime
	}
	switch {
	case !r.mark(":"):
		first("has no seconds")
	case !r.digits(2, &r.second):
		return wantTime
	}
	if comma := strings.HasPrefix(r.rest, ","); comma || strings.HasPrefix(r.rest, ".") {
		digits := strings.TrimLeft(r.rest[1:], "0123456789")
		r.fraction = r.rest[1 : len(r.rest)-len(digits)]
		r.rest = digits
		switch {
		case r.fraction == "":
			return wantTime
		case comma:
			first("has a comma before the fraction of a second")
		}
	}
	zone, certain := r.zone()
	switch text := r.outOfRange(); {
	case text != "":
		return text
	case !certain:
		return zone
	case zone != "":
		first(zone)
	}
	if r.hour == 24 {
		first("has the hour 24, which RFC 3339 does not know")
	}
	r.certain = true
	return flaw
}

// digits reads a number of exactly n digits.
func (r *parts) digits(n int, to *int) bool {
	if len(r.rest) < n {
		return false
	}
	*to = 0
	for i := range n {
		c := r.rest[i]
		if c < '0' || c > '9' {
			return false
		}
		*to = *to*10 + int(c-'0')
	}
	r.rest = r.rest[n:]
	return true
}

// mark reads one of marks.
func (r *parts) mark(marks string) bool {
	if r.rest == "" || strings.IndexByte(marks, r.rest[0]) < 0 {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// zone reads what stands behind the time, to the end. An uncertain flaw leaves
// open which moment is meant.
func (r *parts) zone() (flaw string, certain bool) {
	z := r.rest
	if z == "" {
		return `has no zone; write "` + r.clock() + `+08:00" for Beijing, "` + r.clock() + `Z" for UTC`, false
	}
	if z == "Z" || z == "z" {
		r.utc = true
		return "", true
	}
	if r.rest = z; r.numeric(true) && r.rest == "" {
		return "", true
	}
	// Java's ZonedDateTime: +08:00[Asia/Shanghai]. The offset says it all.
	outer := strings.TrimLeft(z, " ")
	body, name, _ := strings.Cut(outer, "[")
	if name != "" && !strings.HasSuffix(name, "]") {
		return wantTime, false
	}
	if strings.HasPrefix(outer, "[") {
		return `has the zone name ` + quote(outer) + ` and no offset; write the offset, such as +08:00`, false
	}
	upper := strings.ToUpper(body)
	switch {
	case upper == "Z":
		r.utc = true
		flaw = "has a blank before its zone"
	case upper == "UTC" || upper == "GMT":
		r.utc = true
		flaw = "has a zone name"
	case strings.HasPrefix(upper, "UTC") || strings.HasPrefix(upper, "GMT"):
		if r.rest = body[3:]; !r.numeric(false) || r.rest != "" {
			return "has the zone name " + quote(body) + "; write the offset, such as +08:00", false
		}
		flaw = "has a zone name"
	default:
		r.rest = body
		plain := r.numeric(true) && r.rest == ""
		if !plain {
			r.rest = body
			if !r.numeric(false) || r.rest != "" {
				if c := []rune(body)[0]; unicode.IsLetter(c) {
					return "has the zone name " + quote(body) + "; write the offset, such as +08:00", false
				}
				return wantTime, false
			}
			flaw = "has an offset that is not written as +hh:mm"
		} else {
			flaw = "has a blank before its offset"
		}
	}
	if name != "" {
		flaw = "has a zone name behind its offset"
	}
	return flaw, true
}

// numeric reads an offset: +hh:mm when strict, else also +hhmm, +hh and +h:mm.
func (r *parts) numeric(strict bool) bool {
	sign := 1
	switch {
	case strings.HasPrefix(r.rest, "-"):
		sign = -1
	case !strings.HasPrefix(r.rest, "+"):
		return false
	}
	r.rest = r.rest[1:]
	var hours, minutes int
	if !r.digits(2, &hours) && (strict || !r.digits(1, &hours)) {
		return false
	}
	colon := r.mark(":")
	if !r.digits(2, &minutes) && (strict || colon) || strict && !colon {
		return false
	}
	if hours > 23 || minutes > 59 {
		return false
	}
	r.offset, r.utc = sign*(hours*60+minutes), false
	return true
}

// outOfRange names a part that no clock or calendar shows.
func (r *parts) outOfRange() string {
	switch {
	case r.month < 1 || r.month > 12:
		return "has the month " + strconv.Itoa(r.month) + "; " + wantTime
	case r.day < 1 || r.day > daysIn(r.year, r.month):
		return "has a day that does not exist; " + wantTime
	case r.hour > 24 || r.hour == 24 && (r.minute > 0 || r.second > 0 || strings.Trim(r.fraction, "0") != ""):
		return "has an hour beyond 23; " + wantTime
	case r.minute > 59:
		return "has a minute beyond 59; " + wantTime
	case r.second == 60 && !r.isLeapSecond(), r.second > 60:
		return "has a second beyond 59, which only a leap second may have, at 23:59:60 UTC on the last day of a month"
	}
	return ""
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// isLeapSecond reports whether second 60 stands where one can be inserted: at
// the end of a month in UTC (RFC 3339, section 5.7). Which months had one is in
// no table here.
func (r *parts) isLeapSecond() bool {
	next := r.moment()
	return next.Day() == 1 && next.Hour() == 0 && next.Minute() == 0 && next.Second() == 0
}

// moment returns the point in time, in UTC. The hour 24 is the next day's
// first, second 60 the next minute's first. Of the fraction nine digits count.
func (r *parts) moment() time.Time {
	nanoseconds := 0
	for i := range 9 {
		nanoseconds *= 10
		if i < len(r.fraction) {
			nanoseconds += int(r.fraction[i] - '0')
		}
	}
	return time.Date(r.year, time.Month(r.month), r.day, r.hour, r.minute-r.offset, r.second, nanoseconds, time.UTC)
}

// date returns the date in RFC 3339.
func (r *parts) date() string {
	pad := func(n, width int) string {
		s := strconv.Itoa(n)
		return strings.Repeat("0", max(width-len(s), 0)) + s
	}
	return pad(r.year, 4) + "-" + pad(r.month, 2) + "-" + pad(r.day, 2)
}

// clock returns date and time of the day in RFC 3339, without a zone.
func (r *parts) clock() string {
	local := *r
	local.offset = 0
	return local.moment().Format("2006-01-02T15:04:05.999999999")
}

// text returns the whole in RFC 3339, with the offset as it was.
func (r *parts) text() string {
	if r.utc {
		return r.clock() + "Z"
	}
	sign, offset := "+", r.offset
	if offset < 0 {
		sign, offset = "-", -offset
	}
	return r.clock() + sign + time.Date(2000, 1, 1, 0, offset, 0, 0, time.UTC).Format("15:04")
}

// numberFlaw says what a number in place of a time is: the epoch's seconds,
// milliseconds, microseconds or nanoseconds, or a date and time without marks
// as WeChat Pay writes its own. Empty where it is none of them.
func numberFlaw(s string) string {
	if s == "" || len(s) > 40 || strings.Trim(s, "+-.0123456789eE") != "" {
		return ""
	}
	if unit, at := epoch(s); unit != "" {
		return "epoch " + unit + `; write "` + formatTime(at) + `"`
	}
	if len(s) < 8 || !isDigits(s) {
		return ""
	}
	if at, err := time.Parse("20060102", s); err == nil {
		return "a date alone; write the time and the zone too, such as " + at.Format(time.DateOnly) + "T20:00:00+08:00"
	}
	for _, layout := range []string{"20060102150405.000", "20060102150405", "200601021504"} {
		text := s
		if strings.Contains(layout, ".") && len(s) == len("20060102150405000") {
			text = s[:14] + "." + s[14:]
		}
		if at, err := time.Parse(layout, text); err == nil && len(text) == len(layout) {
			write := at.Format("2006-01-02T15:04:05.999999999")
			return `a time without marks and zone; write "` + write + `+08:00" for Beijing, "` + write + `Z" for UTC`
		}
	}
	return ""
}

// epoch returns the unit in which a number is a moment of the years 2000 to
// 2100 since the beginning of 1970, and that moment. No two units overlap there.
func epoch(s string) (unit string, at time.Time) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", time.Time{}
	}
	from, to := float64(946684800), float64(4102444800)
	for _, u := range []struct {
		name string
		per  int64 // units in a second
	}{{"seconds", 1}, {"milliseconds", 1e3}, {"microseconds", 1e6}, {"nanoseconds", 1e9}} {
		per := float64(u.per)
		if f < from*per || f >= to*per {
			continue
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return u.name, time.Unix(n/u.per, n%u.per*(1e9/u.per)).UTC()
		}
		// A fraction, as Python's time.time() has one. A float64 knows the
		// microsecond of a second of our days.
		whole, part := math.Modf(f / per)
		return u.name, time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3).UTC()
	}
	return "", time.Time{}
}

// otherForms are what libraries write where nobody told them to write RFC 3339.
var otherForms = []struct {
	layout string
	flaw   string
	zone   bool // the layout has an offset, so that the moment is certain
}{
	{"20060102T150405Z07:00", "is ISO 8601's basic form", true},
	{"20060102T150405Z0700", "is ISO 8601's basic form", true},
	{"20060102T150405", "is ISO 8601's basic form and has no zone", false},
	{"2006/1/2 15:04:05", "has slashes for dashes and no zone", false},
	{"Mon, 2 Jan 2006 15:04:05 -0700", "is the form of e-mail (RFC 5322)", true},
	{"Mon, 02 Jan 2006 15:04:05 GMT", "is the form of HTTP (RFC 9110)", true},
	{"Mon Jan 2 2006 15:04:05 GMT-0700", "is JavaScript's Date as text", true},
	{"2006-01-02 15:04:05 -0700 MST", "is Go's time.Time as text", true},
}

// readOtherForm reads one of them, and names what else it may be.
func readOtherForm(s string) moment {
	text, _, _ := strings.Cut(s, " (")   // JavaScript's name of the zone
	text, _, _ = strings.Cut(text, " m") // Go's monotonic clock
	for _, form := range otherForms {
		at, err := time.Parse(form.layout, text)
		if err != nil || len(s) > 80 {
			continue
		}
		if !form.zone {
			clock := at.Format("2006-01-02T15:04:05.999999999")
			return moment{flaw: form.flaw + `; write "` + clock + `+08:00" for Beijing, "` + clock + `Z" for UTC`}
		}
		return moment{at: at.UTC(), flaw: form.flaw + `; write "` + at.Format(time.RFC3339Nano) + `"`}
	}
	if _, err := time.Parse("Mon Jan 2 15:04:05 MST 2006", s); err == nil {
		return moment{flaw: "is Java's Date as text, whose zone has several meanings; " + wantTime}
	}
	return moment{flaw: wantTime}
}

// trimSpace cuts white space off both ends.
func trimSpace(s string) string { return strings.TrimFunc(s, unicode.IsSpace) }
