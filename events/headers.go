package events

import (
	"strings"
	"time"
)

// HeaderSubject holds the out_trade_no of what is written here: it stands in
// the ce_subject of an event in binary mode.
const HeaderSubject = "ce_subject"

// The other headers of a CloudEvent in binary mode (CloudEvents 1.0.2, Kafka
// protocol binding, section 3.2), and the trace context beside them.
const (
	headerSpecVersion = "ce_specversion"
	headerID          = "ce_id"
	headerSource      = "ce_source"
	headerType        = "ce_type"
	headerTime        = "ce_time"
	headerContentType = "content-type"
	headerTraceParent = "traceparent"
)

// HeaderReplay holds the replay number of a request: how often it was replayed
// from the dead letters. An original has none.
const HeaderReplay = "closeorder-replay"

// Beside it, of the replay that sent the record: its id, who began it and why. They
// are for people; nothing goes by them here.
const (
	HeaderReplayID     = "closeorder-replay-id"
	HeaderReplayBy     = "closeorder-replay-by"
	HeaderReplayReason = "closeorder-replay-reason"
)

// OfReplay reports whether a header tells of a replay: it is none of the request's
// own.
func OfReplay(header string) bool {
	switch header {
	case HeaderReplay, HeaderReplayID, HeaderReplayBy, HeaderReplayReason:
		return true
	}
	return false
}

// contentTypeJSON is the content-type of everything written here.
const contentTypeJSON = "application/json"

// specVersion is the CloudEvents version written; any 1.x is read.
const specVersion = "1.0"

// eventHeaders returns the headers of an event in binary mode. Attributes
// that are empty or zero are left out, as an empty attribute is not allowed.
// Their values are put behind b, where it has room for them.
func eventHeaders(b []byte, typ, id, source, subject string, at time.Time, traceParent string) []Header {
	n := 7
	if traceParent != "" {
		n++
	}
	hs := make([]Header, 0, n)
	add := func(key, value string) {
		if value != "" {
			from := len(b)
			b = append(b, value...)
			hs = append(hs, Header{key, b[from:len(b):len(b)]})
		}
	}
	add(headerSpecVersion, specVersion)
	add(headerID, id)
	add(headerSource, source)
	add(headerType, typ)
	if !at.IsZero() {
		from := len(b)
		b = at.UTC().AppendFormat(b, time.RFC3339Nano)
		hs = append(hs, Header{headerTime, b[from:len(b):len(b)]})
	}
	add(HeaderSubject, subject)
	add(headerContentType, contentTypeJSON)
	if validTraceParent(traceParent) {
		add(headerTraceParent, traceParent)
	}
	return hs
}

// validTraceParent reports whether s has the form of W3C Trace Context, level
// 1, section 3.2: version-traceid-parentid-flags in lower-case hex. A later
// version may have more after a dash. An invalid one is to be ignored, not
// refused.
func validTraceParent(s string) bool {
	if len(s) < 55 || len(s) > 256 || len(s) > 55 && s[55] != '-' {
		return false
	}
	for i, c := range []byte(s[:55]) {
		if dash := i == 2 || i == 35 || i == 52; dash != (c == '-') || !dash && !isLowerHex(c) {
			return false
		}
	}
	version, trace, parent := s[:2], s[3:35], s[36:52]
	return version != "ff" && (version != "00" || len(s) == 55) && isPrintable(s[55:]) &&
		strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}

func isLowerHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }
