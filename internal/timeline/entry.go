package timeline

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Kind is what an entry of a timeline is.
type Kind string

// The kinds of entries.
const (
	Requested  Kind = "requested"   // a record of the requests topic
	Replayed   Kind = "replayed"    // one that was sent again from a dead letter
	PutOff     Kind = "put_off"     // a retry record
	DeadLetter Kind = "dead_letter" // a record of the dead-letter topic
	Answered   Kind = "answered"    // an outcome
)

// Entry is one record of an order, all times in UTC. As JSON its names are those of
// an outcome, of [records] and of the headers of an event.
type Entry struct {
	Kind      Kind   `json:"kind"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	// Time is the timestamp of the record.
	Time time.Time `json:"time"`
	// Request is the number of the request in its life, from 1 on.
	Request int `json:"request"`

	RequestID   string `json:"request_id,omitempty"`
	Replay      int    `json:"replay,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`

	// What a request says of itself.
	Reason         string    `json:"reason,omitempty"`
	EventSource    string    `json:"ce_source,omitempty"`
	RequestedAt    time.Time `json:"requested_at,omitzero"`
	OrderCreatedAt time.Time `json:"order_created_at,omitzero"`
	NotBefore      time.Time `json:"not_before,omitzero"`
	ExpiresAt      time.Time `json:"expires_at,omitzero"`

	// Why a request waits, failed, or was answered so.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Calls are those to the gateway so far.
	Calls int `json:"attempts,omitempty"`

	// Of a retry record. Finished: a worker has taken it up and done with it.
	DueAt    time.Time `json:"due_at,omitzero"`
	Retries  int       `json:"retries,omitempty"`
	WaitsFor string    `json:"waits_for,omitempty"`
	Finished bool      `json:"finished,omitempty"`

	// Of a dead letter.
	FailedAt     time.Time `json:"failed_at,omitzero"`
	ValueOmitted string    `json:"value_omitted,omitempty"`

	// Of an outcome. Repeat: the same record was answered before, and that counts.
	Outcome       events.Result   `json:"outcome,omitempty"`
	EventID       string          `json:"id,omitempty"`
	ConfirmedBy   string          `json:"confirmed_by,omitempty"`
	SafeToReissue bool            `json:"safe_to_reissue,omitempty"`
	Gateway       *events.Gateway `json:"gateway,omitempty"`
	CompletedAt   time.Time       `json:"completed_at,omitzero"`
	Repeat        bool            `json:"repeat,omitempty"`

	// Headers are those of closeorder's that say something else.
	Headers []Header `json:"headers,omitempty"`
	// Problem is what is wrong with the record.
	Problem string `json:"problem,omitempty"`

	// source is the request that it follows from, its own place for a request.
	source events.Source
	order  order
	sorts  time.Time // its place in the timeline
}

// Header is one header of a record. What is not UTF-8 in it is replaced.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// order is whom a request is about, with what a query about it needs.
type order struct {
	events.Order
	appID, subAppID string
}

// At is the place of the record.
func (e *Entry) At() events.Source {
	return events.Source{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
}

// entryOf is what every record tells.
func entryOf(rec kafka.Record, kind Kind) Entry {
	return Entry{Kind: kind, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time.UTC(), source: rec.Source()}
}

// ask puts into e what a request says of itself.
func (e *Entry) ask(q *events.Request, original *events.Message, err error) {
	e.RequestID, e.Replay, e.TraceParent = q.RequestID, q.Replay, q.TraceParent
	e.order = order{q.Order(), q.AppID, q.SubAppID}
	if err != nil {
		e.Problem = err.Error()
	}
	e.Headers = foreign(original.Headers)
}

func requestEntry(rec kafka.Record, q *events.Request, err error) Entry {
	e := entryOf(rec, Requested)
	e.ask(q, &rec.Message, err)
	if q.Replay > 0 {
		e.Kind = Replayed
	}
	e.Reason, e.EventSource, e.RequestedAt = q.Reason, eventSource(&rec.Message), q.RequestedAt
	e.OrderCreatedAt, e.NotBefore, e.ExpiresAt = q.OrderCreatedAt, q.NotBefore, q.ExpiresAt
	return e
}

func retryEntry(rec kafka.Record, r *records.Retry, q *events.Request) Entry {
	e := entryOf(rec, PutOff)
	e.ask(q, &r.Original, nil)
	e.source, e.Replay = r.Source, r.Replay
	e.Code, e.Message, e.Calls = r.Code, r.Reason, r.Calls
	e.DueAt, e.Retries, e.WaitsFor = r.DueAt.UTC(), r.Retries, r.WaitsFor
	return e
}

func deadLetterEntry(rec kafka.Record, d *records.DeadLetter, q *events.Request) Entry {
	e := entryOf(rec, DeadLetter)
	e.ask(q, &d.Original, nil)
	e.source, e.Replay = d.Source, d.Replay
	e.Code, e.Message, e.Calls = d.ErrorCode, d.ErrorMessage, d.Calls
	e.FailedAt, e.ValueOmitted = d.FailedAt.UTC(), d.ValueOmitted
	return e
}

func outcomeEntry(rec kafka.Record, o *events.Outcome) Entry {
	e := entryOf(rec, Answered)
	e.source, e.order = o.Source, order{o.Order(), o.AppID, o.SubAppID}
	e.RequestID, e.Replay, e.TraceParent = o.RequestID, o.Replay, o.TraceParent
	e.Outcome, e.Code, e.Message, e.Calls = o.Result, o.Code, o.Message, o.Attempts
	e.EventID, e.ConfirmedBy, e.SafeToReissue, e.Gateway = o.ID, o.ConfirmedBy, o.SafeToReissue, o.Gateway
	e.CompletedAt, e.RequestedAt = o.CompletedAt.UTC(), o.RequestedAt
	e.Headers = foreign(rec.Headers)
	return e
}

// prefix is that of closeorder's own headers.
const prefix = "closeorder-"

// foreign are the headers of closeorder's that a request itself may have, but for
// the number of the replay: who replayed it and why, and what else may come.
func foreign(headers []events.Header) (all []Header) {
	for _, h := range headers {
		if strings.HasPrefix(h.Key, prefix) && h.Key != events.HeaderReplay {
			all = append(all, Header{strings.ToValidUTF8(h.Key, "\ufffd"), strings.ToValidUTF8(string(h.Value), "\ufffd")})
		}
	}
	return all
}

// eventSource is who sent a request, as it says: the ce_source of an event in binary
// mode, the source of one in structured mode.
func eventSource(m *events.Message) string {
	if source, ok := m.Header("ce_source"); ok {
		return strings.ToValidUTF8(string(source), "\ufffd")
	}
	var event struct {
		SpecVersion string `json:"specversion"`
		Source      string `json:"source"`
	}
	if json.Unmarshal(m.Value, &event) != nil || event.SpecVersion == "" {
		return ""
	}
	return event.Source
}
