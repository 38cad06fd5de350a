// Package events is what an order service and closeorder say to each other:
// close requests and outcomes, their JSON and CloudEvents codec, their
// validation, and the precedence of outcomes.
//
// It is meant to be imported by order services, needs the standard library
// alone, and knows nothing of a Kafka client: a [Message] is what any client
// can produce and consume.
//
//	Message --DecodeRequest--> Request --(the worker)--> Outcome --EncodeOutcome--> Message
package events

import "slices"

// Names of the event types as they stand in the ce_type header.
const (
	typeRequested = "closeorder.requested"
	typeClosed    = "closeorder.closed"
	typePaid      = "closeorder.paid"
	typeFailed    = "closeorder.failed"
)

// Message is one Kafka record as far as its meaning goes: key, value and
// headers. A nil Value is a tombstone, an empty one is not.
type Message struct {
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header is one record header. Kafka allows a key to occur more than once
// and a value to be nil.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the last header named key, as Kafka's
// lastHeader does, and whether there is one.
func (m Message) Header(key string) ([]byte, bool) {
	for _, h := range slices.Backward(m.Headers) {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}

// Source is the place of a record in Kafka: the identity of one request, and
// what ties an outcome or a dead letter to it.
type Source struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Order names one order at WeChat Pay. Requests of the same Order are served
// one after the other, never side by side. It can be a map key.
type Order struct {
	MchID      string
	SubMchID   string
	OutTradeNo string
}
