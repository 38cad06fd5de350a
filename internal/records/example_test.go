package records_test

import (
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
)

// A dead letter is replayed byte for byte, with its replay number.
func ExampleDeadLetter_ReplayMessage() {
	letter := records.EncodeDeadLetter(records.DeadLetter{
		Original: events.Message{
			Key:     []byte("T1"),
			Value:   []byte(`{"mch_id": "1900000109", "out_trade_no": "T1"}`),
			Headers: []events.Header{{Key: "ce_id", Value: []byte("e-1")}},
		},
		ErrorCode: events.CodeUnknownMerchant,
		FailedAt:  time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC),
		Source:    events.Source{Topic: "closeorder.requests", Offset: 7},
	})

	d, err := records.DecodeDeadLetter(letter)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := d.ReplayMessage()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", m.Value)
	for _, h := range m.Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	// Output:
	// {"mch_id": "1900000109", "out_trade_no": "T1"}
	// ce_id: e-1
	// closeorder-replay: 1
}
