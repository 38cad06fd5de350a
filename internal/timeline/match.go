package timeline

import (
	"bytes"
	"slices"

	"github.com/closeorder/closeorder/events"
)

// matcher tells the records that may be of one order from the many that are not,
// without decoding them.
type matcher struct {
	number string
	bytes  []byte
}

func newMatcher(outTradeNo string) matcher { return matcher{outTradeNo, []byte(outTradeNo)} }

// may reports whether a record may be of the order, by its value and its key: headers name
// no order. It errs on one side only.
func (m *matcher) may(msg *events.Message) bool {
	return bytes.Contains(msg.Value, m.bytes) || bytes.Contains(msg.Key, m.bytes) || hides(msg.Value)
}

// opening is how far into a value the brace of a document can stand that nothing is
// wrapped round: behind a byte order mark and the prefix of a schema registry.
const opening = 24

// wrapping are the members in whose text a request may be (events, layers).
var wrapping = [][]byte{[]byte(`"data"`), []byte(`"data_base64"`), []byte(`"payload"`)}

// hides reports whether a value may have the number of an order in it that does not
// stand there as its bytes: JSON may escape any character, and what is wrapped
// round a request may hold it in base64.
func hides(value []byte) bool {
	return len(value) > 0 && (bytes.IndexByte(value[:min(opening, len(value))], '{') < 0 ||
		bytes.IndexByte(value, '\\') >= 0 || slices.ContainsFunc(wrapping, func(name []byte) bool { return hasText(value, name) }))
}

// hasText reports whether a member of that name, in its quotes, is a text.
func hasText(value, name []byte) bool {
	for {
		_, rest, found := bytes.Cut(value, name)
		if !found {
			return false
		}
		value = bytes.TrimLeft(rest, " \t\r\n")
		if inner, colon := bytes.CutPrefix(value, []byte(":")); colon && bytes.HasPrefix(bytes.TrimLeft(inner, " \t\r\n"), []byte(`"`)) {
			return true
		}
	}
}

// request reports whether a request is about the order. One that cannot be read is
// known by its key.
func (m *matcher) request(q *events.Request, key []byte) bool {
	return q.OutTradeNo == m.number || q.OutTradeNo == "" && string(key) == m.number
}

// outcome is the same of an outcome.
func (m *matcher) outcome(o *events.Outcome) bool {
	return o.OutTradeNo == m.number || o.OutTradeNo == "" && o.RecordKey == m.number
}

// otherSubject reports whether an outcome says in its headers that it is about
// another order: most are passed by that alone.
func (m *matcher) otherSubject(msg *events.Message) bool {
	subject, ok := msg.Header(events.HeaderSubject)
	return ok && len(subject) > 0 && !bytes.Equal(subject, m.bytes)
}
