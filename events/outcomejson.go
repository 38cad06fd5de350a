package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// An outcome is written for every request, so it is written here, in one pass
// and without reflection. It is byte for byte what encoding/json makes of the
// types by their tags, without escapes for HTML: a test holds it to that.

// member is a member of an object that is left out where its text is empty.
type member struct{ before, text string }

func (o *Outcome) texts() [10]member {
	return [...]member{
		{`,"out_trade_no":`, o.OutTradeNo},
		{`,"mch_id":`, o.MchID},
		{`,"appid":`, o.AppID},
		{`,"sub_mch_id":`, o.SubMchID},
		{`,"sub_appid":`, o.SubAppID},
		{`,"record_key":`, o.RecordKey},
		{`,"request_id":`, o.RequestID},
		{`,"replacement_out_trade_no":`, o.ReplacementOutTradeNo},
		{`,"code":`, o.Code},
		{`,"message":`, o.Message},
	}
}

func (g *Gateway) texts() [8]member {
	return [...]member{
		{`,"host":`, g.Host},
		{`,"return_code":`, g.ReturnCode},
		{`,"return_msg":`, g.ReturnMsg},
		{`,"result_code":`, g.ResultCode},
		{`,"err_code":`, g.ErrCode},
		{`,"err_code_des":`, g.ErrCodeDes},
		{`,"trade_state":`, g.TradeState},
		{`,"transaction_id":`, g.TransactionID},
	}
}

// size is how many bytes o takes on the wire, with the values of its headers:
// seldom less, and not many more.
func (o *Outcome) size() int {
	n := 345 + len(o.OutTradeNo) + len(o.TraceParent) + len(o.Source.Topic) + len(o.ConfirmedBy) + len(o.Metadata)
	for _, m := range o.texts() {
		n += m.size()
	}
	if o.Gateway != nil {
		n += 60
		for _, m := range o.Gateway.texts() {
			n += m.size()
		}
	}
	return n
}

func (m member) size() int {
	if m.text == "" {
		return 0
	}
	return len(m.before) + len(m.text) + 2
}

// appendJSON appends o without the brace at the end: its metadata come behind.
func (o *Outcome) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"outcome":`...), string(o.Result))
	for _, m := range o.texts() {
		b = m.appendTo(b)
	}
	b = strconv.AppendBool(append(b, `,"safe_to_reissue":`...), o.SafeToReissue)
	b = member{`,"confirmed_by":`, o.ConfirmedBy}.appendTo(b)
	if o.Gateway != nil {
		b = o.Gateway.appendJSON(append(b, `,"gateway":`...))
	}
	b = strconv.AppendInt(append(b, `,"attempts":`...), int64(o.Attempts), 10)
	b = strconv.AppendInt(append(b, `,"replay":`...), int64(o.Replay), 10)
	if !o.RequestedAt.IsZero() {
		b = appendTime(append(b, `,"requested_at":`...), o.RequestedAt)
	}
	b = appendTime(append(b, `,"completed_at":`...), o.CompletedAt)
	b = appendText(append(b, `,"source":{"topic":`...), o.Source.Topic)
	b = strconv.AppendInt(append(b, `,"partition":`...), int64(o.Source.Partition), 10)
	b = strconv.AppendInt(append(b, `,"offset":`...), o.Source.Offset, 10)
	return append(b, '}')
}

func (g *Gateway) appendJSON(b []byte) []byte {
	begin := len(b)
	for _, m := range g.texts() {
		b = m.appendTo(b)
	}
	if g.TotalFee != 0 {
		b = strconv.AppendInt(append(b, `,"total_fee":`...), g.TotalFee, 10)
	}
	b = member{`,"time_end":`, g.TimeEnd}.appendTo(b)
	if len(b) == begin {
		return append(b, `{}`...)
	}
	b[begin] = '{' // in the place of the first comma
	return append(b, '}')
}

func (m member) appendTo(b []byte) []byte {
	if m.text == "" {
		return b
	}
	return appendText(append(b, m.before...), m.text)
}

// appendText appends a JSON string. What needs an escape is left to encoding/json.
func appendText(b []byte, s string) []byte {
	if !isVerbatim(s) {
		return append(b, escaped(s)...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// isVerbatim reports whether a text stands in JSON as it is.
func isVerbatim(s string) bool {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c < ' ', c == '"', c == '\\':
			return false
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
				return false
			}
			i += n
		}
	}
	return true
}

func escaped(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s) //nolint:errcheck // a string in memory has no error
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// appendTime appends a time in UTC, of which isWritable holds, as a JSON string.
func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}
