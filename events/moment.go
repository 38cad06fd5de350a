package events

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// moment is what a text says about a point in time.
type moment struct {
	at   time.Time // in UTC; zero where more than one is possible
	flaw string    // what is not RFC 3339 about it and what to write; empty where it is
}

// readMoment reads RFC 3339 (section 5.6), and what is nearly that. The first
// flaw is the one that is told.
func readMoment(s string) moment {
	// Nearly all are written as we write them: nothing more is to be found out then.
	var again [len(time.RFC3339Nano)]byte
	if at, err := time.Parse(time.RFC3339, s); err == nil && at.Location() == time.UTC && string(at.AppendFormat(again[:0], time.RFC3339Nano)) == s {
		return moment{at: at}
	}
	if where := outerSpace(s); where != "" {
		return moment{flaw: "has " + where + ", write it without"}
	}
	if flaw := numberFlaw(s); flaw != "" {
		return moment{flaw: flaw}
	}
	var r parts
	switch flaw := r.read(s); {
	case flaw == "":
		return moment{at: r.moment()}
	case flaw == wantTime:
		return readOtherForm(s)
	case !r.certain:
		return moment{flaw: flaw}
	default:
		return moment{at: r.moment(), flaw: flaw + `; write "` + r.text() + `"`}
	}
}

// parts is a time taken apart. Once it was read it is in range.
type parts struct {
	year, month, day, hour, minute, second int

	date     string // as it was written
	fraction string // digits of a second
	offset   int    // minutes east of UTC
	utc      bool   // was written as Z, UTC or GMT
	certain  bool   // has one reading although it has a flaw
}

var (
	dateTime   = regexp.MustCompile(`(?s)^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(:\d\d)?(?:([.,])(\d+))?(.*))?$`)
	zoneOffset = regexp.MustCompile(`^([+-])(\d\d?)(?:(:?)(\d\d))?$`)
)

// read takes s apart. The first flaw is returned.
func (r *parts) read(s string) (flaw string) {
	m := dateTime.FindStringSubmatch(s)
	if m == nil {
		return wantTime
	}
	r.date = s[:len("2006-01-02")]
	if s == r.date {
		return "is a date alone; write the time and the zone too, such as " + r.date + "T20:00:00+08:00"
	}
	for i, to := range []*int{&r.year, &r.month, &r.day, &r.hour, &r.minute} {
		*to, _ = strconv.Atoi(m[i+1])
	}
	seconds, mark, rest := m[6], m[7], m[9]
	r.second, _ = strconv.Atoi(strings.TrimPrefix(seconds, ":"))
	r.fraction = m[8]
	if mark == "" && strings.IndexAny(rest, ".,") == 0 || seconds == "" && strings.HasPrefix(rest, ":") {
		return wantTime
	}
	zone, certain := r.zone(rest)
	switch text := r.outOfRange(); {
	case text != "":
		return text
	case !certain:
		return zone
	}
	r.certain = true
	switch {
	case seconds == "":
		return "has no seconds"
	case mark == ",":
		return "has a comma before the fraction of a second"
	case zone == "" && r.hour == 24:
		return "has the hour 24, which RFC 3339 does not know"
	}
	return zone
}

// zone reads what stands behind the time, to the end. An uncertain flaw leaves
// open which moment is meant.
func (r *parts) zone(z string) (flaw string, certain bool) {
	if z == "" {
		return `has no zone; write "` + r.clock() + `+08:00" for Beijing, "` + r.clock() + `Z" for UTC`, false
	}
	r.utc = z == "Z" || z == "z"
	if r.utc || r.numeric(z) == asRFC3339 {
		return "", true
	}
	outer := strings.TrimLeft(z, " ")
	// Java's ZonedDateTime: +08:00[Asia/Shanghai]. The offset says it all.
	body, name, _ := strings.Cut(outer, "[")
	switch {
	case name != "" && !strings.HasSuffix(name, "]"):
		return wantTime, false
	case strings.HasPrefix(outer, "["):
		return `has the zone name ` + quote(outer) + ` and no offset; write the offset, such as +08:00`, false
	}
	upper := strings.ToUpper(body)
	isUTC := strings.HasPrefix(upper, "UTC") || strings.HasPrefix(upper, "GMT")
	switch {
	case upper == "Z":
		r.utc, flaw = true, "has a blank before its zone"
	case isUTC && len(upper) == len("UTC"):
		r.utc, flaw = true, "has a zone name"
	case isUTC && r.numeric(body[3:]) != noOffset:
		flaw = "has a zone name"
	case isUTC:
		return "has the zone name " + quote(body) + "; write the offset, such as +08:00", false
	default:
		switch r.numeric(body) {
		case asRFC3339:
			flaw = "has a blank before its offset"
		case otherwise:
			flaw = "has an offset that is not written as +hh:mm"
		default:
			if c, _ := utf8.DecodeRuneInString(body); unicode.IsLetter(c) {
				return "has the zone name " + quote(body) + "; write the offset, such as +08:00", false
			}
			return wantTime, false
		}
	}
	if name != "" {
		flaw = "has a zone name behind its offset"
	}
	return flaw, true
}

// How an offset is written.
const (
	noOffset  = iota
	asRFC3339 // +hh:mm
	otherwise // +hhmm, +hh, +h:mm, +h
)

// numeric reads an offset.
func (r *parts) numeric(s string) (written int) {
	m := zoneOffset.FindStringSubmatch(s)
	if m == nil {
		return noOffset
	}
	hours, _ := strconv.Atoi(m[2])
	minutes, _ := strconv.Atoi(m[4])
	if m[3] == "" && m[4] != "" && len(m[2]) == 1 || hours > 23 || minutes > 59 {
		return noOffset
	}
	if r.offset = hours*60 + minutes; m[1] == "-" {
		r.offset = -r.offset
	}
	if m[3] == ":" && len(m[2]) == 2 {
		return asRFC3339
	}
	return otherwise
}

// outOfRange names a part that no clock or calendar shows.
func (r *parts) outOfRange() string {
	switch {
	case r.month < 1 || r.month > 12:
		return "has the month " + strconv.Itoa(r.month) + "; " + wantTime
	case r.day < 1 || r.day > time.Date(r.year, time.Month(r.month)+1, 0, 0, 0, 0, 0, time.UTC).Day():
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
	nanoseconds, _ := strconv.Atoi((r.fraction + "000000000")[:9])
	return time.Date(r.year, time.Month(r.month), r.day, r.hour, r.minute-r.offset, r.second, nanoseconds, time.UTC)
}

// wallClock is RFC 3339 without a zone.
const wallClock = "2006-01-02T15:04:05.999999999"

// clock returns date and time of the day in RFC 3339, without a zone.
func (r *parts) clock() string {
	return r.moment().Add(time.Duration(r.offset) * time.Minute).Format(wallClock)
}

// text returns the whole in RFC 3339, with the offset as it was.
func (r *parts) text() string {
	if r.utc {
		return r.clock() + "Z"
	}
	return r.moment().In(time.FixedZone("", r.offset*60)).Format(wallClock + "-07:00")
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
	layout, text := "200601021504", s
	switch len(s) {
	case len("20060102150405"):
		layout = "20060102150405"
	case len("20060102150405000"):
		layout, text = "20060102150405.000", s[:14]+"."+s[14:]
	}
	at, err := time.Parse(layout, text)
	if err != nil {
		return ""
	}
	write := at.Format(wallClock)
	return `a time without marks and zone; write "` + write + `+08:00" for Beijing, "` + write + `Z" for UTC`
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
			clock := at.Format(wallClock)
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
