package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// The checker reads the wire with encoding/json and its own eyes: a codec
// that forgets a field on both sides would forget it here too.

// readOutcome reads an outcome record.
func readOutcome(r Record) (answer, error) {
	a := answer{record: r}
	if err := json.Unmarshal(r.Value, &a.Outcome); err != nil {
		return a, fmt.Errorf("outcome is not JSON: %w", err)
	}
	a.ID = lastHeader(r.Message, "ce_id")
	switch {
	case a.ID == "":
		return a, errors.New("outcome has no ce_id")
	case a.Result != "closed" && a.Result != "paid" && a.Result != "failed":
		return a, fmt.Errorf("outcome is %q", a.Result)
	case lastHeader(r.Message, "ce_type") != "closeorder."+string(a.Result):
		return a, fmt.Errorf("ce_type %q of an outcome that says %s", lastHeader(r.Message, "ce_type"), a.Result)
	case a.CompletedAt.IsZero():
		return a, errors.New("outcome has no completed_at")
	case a.SafeToReissue && a.Result != "closed":
		return a, fmt.Errorf("%s and safe_to_reissue", a.Result)
	}
	return a, nil
}

// document is what the checker reads of a request.
type document struct {
	MchID          string    `json:"mch_id"`
	SubMchID       string    `json:"sub_mch_id"`
	OutTradeNo     string    `json:"out_trade_no"`
	OrderCreatedAt time.Time `json:"order_created_at"`
	NotBefore      time.Time `json:"not_before"`
	ExpiresAt      time.Time `json:"expires_at"`
}

// readRequest reads a request as far as it can be read.
func readRequest(m Message) document {
	value := m.Value
	if strings.HasPrefix(lastHeader(m, "content-type"), "application/cloudevents") {
		var envelope struct {
			Data json.RawMessage `json:"data"`
		}
		if json.Unmarshal(value, &envelope) != nil {
			return document{}
		}
		value = envelope.Data
	}
	var doc document
	if json.Unmarshal(value, &doc) != nil {
		return document{}
	}
	return doc
}

func (d document) order() events.Order {
	return events.Order{MchID: d.MchID, SubMchID: d.SubMchID, OutTradeNo: d.OutTradeNo}
}

// orderOf is which order a request is about, as far as it says so in texts.
func orderOf(m Message) events.Order { return readRequest(m).order() }

// dueAt is when a request may be served at the earliest. A creation that lies in
// the future of the record counts as of when a worker first had it, which was
// not before the record was made.
func (d document) dueAt(recorded time.Time, minAge time.Duration) time.Time {
	due := d.NotBefore
	if !d.OrderCreatedAt.IsZero() && minAge > 0 {
		created := d.OrderCreatedAt
		if created.After(recorded) {
			created = recorded
		}
		if old := created.Add(minAge); old.After(due) {
			due = old
		}
	}
	return due
}

// SourceOf reads which request a retry or a dead letter belongs to; what cannot be
// read is of none.
func SourceOf(m Message) events.Source {
	partition, err1 := strconv.Atoi(lastHeader(m, "closeorder-source-partition"))
	offset, err2 := strconv.ParseInt(lastHeader(m, "closeorder-source-offset"), 10, 64)
	s := events.Source{Topic: lastHeader(m, "closeorder-source-topic"), Partition: partition, Offset: offset}
	if err1 != nil || err2 != nil || s.Topic == "" {
		return events.Source{}
	}
	return s
}

// altered says in which way a copy is not the original with headers added.
func altered(original, copied Message) string {
	omitted := lastHeader(copied, "closeorder-value-omitted") != ""
	if original.Key == nil && lastHeader(copied, "closeorder-stand-in-key") != "" {
		copied.Key = nil // of a topic that takes no record without one
	}
	switch {
	case !bytes.Equal(original.Key, copied.Key) || (original.Key == nil) != (copied.Key == nil):
		return fmt.Sprintf("the key was %q and is %q", original.Key, copied.Key)
	case !omitted && (!bytes.Equal(original.Value, copied.Value) || (original.Value == nil) != (copied.Value == nil)):
		return fmt.Sprintf("the value was %.60q and is %.60q", original.Value, copied.Value)
	case len(copied.Headers) < len(original.Headers):
		return "headers are missing"
	}
	for i, h := range original.Headers {
		if copied.Headers[i].Key != h.Key || !bytes.Equal(copied.Headers[i].Value, h.Value) {
			return fmt.Sprintf("header %s was changed", h.Key)
		}
	}
	return ""
}

func lastHeader(m Message, key string) string {
	for _, h := range slices.Backward(m.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
