package deadletters

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
)

// Listed is a dead letter as a JSON line.
type Listed struct {
	// Partition and Offset are its place in the dead-letter topic.
	Partition    int       `json:"partition"`
	Offset       int64     `json:"offset"`
	FailedAt     time.Time `json:"failed_at"`
	Code         string    `json:"code,omitempty"`
	Message      string    `json:"message,omitempty"`
	MchID        string    `json:"mch_id,omitempty"`
	SubMchID     string    `json:"sub_mch_id,omitempty"`
	OutTradeNo   string    `json:"out_trade_no,omitempty"`
	RequestID    string    `json:"request_id,omitempty"`
	Attempts     int       `json:"attempts"`
	Replay       int       `json:"replay"`
	ValueOmitted string    `json:"value_omitted,omitempty"`
	// Source is the request.
	Source          *events.Source `json:"source,omitempty"`
	SourceTimestamp time.Time      `json:"source_timestamp,omitzero"`
	// Problem says why the record is no dead letter.
	Problem string `json:"problem,omitempty"`
}

// Listed is the letter as it is listed.
func (l *Letter) Listed() Listed {
	q := l.Request
	line := Listed{
		Partition: l.At.Partition, Offset: l.At.Offset, FailedAt: l.Time().UTC(), Code: l.ErrorCode, Message: l.ErrorMessage,
		MchID: q.MchID, SubMchID: q.SubMchID, OutTradeNo: q.OutTradeNo, RequestID: q.RequestID,
		Attempts: l.Calls, Replay: l.Replay, ValueOmitted: l.ValueOmitted, SourceTimestamp: l.SourceTimestamp,
	}
	if l.Err != nil {
		line.Problem = l.Err.Error()
	} else {
		source := l.Source
		line.Source = &source
		line.SourceTimestamp = line.SourceTimestamp.UTC()
	}
	return line
}

// Whole is a dead letter as JSON, with its bytes: as text where they
// are text, else in base64.
type Whole struct {
	Listed
	Key         *string        `json:"key,omitempty"`
	KeyBase64   *string        `json:"key_base64,omitempty"`
	Value       *string        `json:"value,omitempty"`
	ValueBase64 *string        `json:"value_base64,omitempty"`
	Headers     []ListedHeader `json:"headers"`
}

// ListedHeader is one header of it.
type ListedHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// Whole is the letter with its bytes.
func (l *Letter) Whole() Whole {
	w := Whole{Listed: l.Listed(), Headers: []ListedHeader{}}
	w.Key, w.KeyBase64 = textOrBase64(l.Original.Key)
	w.Value, w.ValueBase64 = textOrBase64(l.Original.Value)
	for _, h := range l.Original.Headers {
		one := ListedHeader{Key: h.Key}
		one.Value, one.ValueBase64 = textOrBase64(h.Value)
		w.Headers = append(w.Headers, one)
	}
	return w
}

// textOrBase64 returns one of both, or neither for nil.
func textOrBase64(b []byte) (text, coded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}
