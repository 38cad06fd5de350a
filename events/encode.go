package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// EncodeRequest writes r as a CloudEvent in binary mode. The record key is
// out_trade_no, so that the requests of one order stay in one partition, in
// order. source is the ce_source of the sender: a URI-reference such as
// "/shops/42", never empty. at is when the request is made and becomes
// ce_time; where it is zero, r.RequestedAt is taken.
//
// The event id is r.RequestID, or what [DecodeRequest] would derive. Sending
// the same message again is harmless: closing is idempotent.
//
// The error is a *[ValidationError] that names every bad field.
func EncodeRequest(r Request, source string, at time.Time) (Message, error) {
	var p problems
	r.check(&p)
	p.check(headerSource, source, true, checkSource)
	if at.IsZero() {
		at = r.RequestedAt
	}
	checkYears(headerTime, at, &p)
	p.sort()
	if err := p.err(); err != nil {
		return Message{}, err
	}
	id := r.RequestID
	if id == "" {
		id = derivedRequestID(r, nil)
	}
	metadata := r.Metadata
	r.Metadata = nil
	// A zone may have an offset in seconds, which RFC 3339 cannot write.
	r.OrderCreatedAt, r.NotBefore, r.ExpiresAt = r.OrderCreatedAt.UTC(), r.NotBefore.UTC(), r.ExpiresAt.UTC()
	value, err := marshal(r, metadata)
	if err != nil {
		return Message{}, fmt.Errorf("encode request: %w", err)
	}
	m := Message{
		Key:     []byte(r.OutTradeNo),
		Value:   value,
		Headers: eventHeaders(nil, typeRequested, id, source, r.OutTradeNo, at, r.TraceParent),
	}
	if r.Replay > 0 {
		m.Headers = append(m.Headers, Header{HeaderReplay, strconv.AppendInt(nil, int64(r.Replay), 10)})
	}
	return m, nil
}

func checkSource(s string) error {
	err := checkLength(s, MaxRequestID)
	if err == nil && strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) >= 0 {
		err = errors.New("is " + quote(s) + ", want a URI-reference such as /shops/42")
	}
	return err
}

// marshal encodes v, which must leave its metadata out, and puts metadata in
// byte for byte. json.Marshal would escape <, > and & and drop its white space.
func marshal(v any, metadata json.RawMessage) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(metadata) == 0 {
		return out, nil
	}
	out = append(out[:len(out)-1], `,"metadata":`...)
	out = append(out, metadata...)
	return append(out, '}'), nil
}
