package events_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
)

// An order service asks for an order to be closed. The message goes to the
// topic closeorder.requests with any Kafka client, acks=all.
func ExampleEncodeRequest() {
	m, err := events.EncodeRequest(events.Request{
		OutTradeNo:            "20251123000001",
		MchID:                 "1900000109",
		RequestID:             "close-20251123000001-1",
		Reason:                "payment_failed",
		ReplacementOutTradeNo: "20251123000001-2",
		Metadata:              json.RawMessage(`{"cart":42}`),
	}, "/shops/42", time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err) // names every bad field
		return
	}
	fmt.Printf("key %s\n", m.Key)
	for _, h := range m.Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	fmt.Printf("%s\n", m.Value)
	// Output:
	// key 20251123000001
	// ce_specversion: 1.0
	// ce_id: close-20251123000001-1
	// ce_source: /shops/42
	// ce_type: closeorder.requested
	// ce_time: 2025-11-23T12:00:00Z
	// ce_subject: 20251123000001
	// content-type: application/json
	// {"out_trade_no":"20251123000001","mch_id":"1900000109","request_id":"close-20251123000001-1","reason":"payment_failed","replacement_out_trade_no":"20251123000001-2","metadata":{"cart":42}}
}

func ExampleDecodeRequest_invalid() {
	r, err := events.DecodeRequest(events.Message{
		Value: []byte(`{"out_trade_no":"T1","Mch_Id":"1900000109","replacement_out_trade_no":"T1","expires_at":"tomorrow"}`),
	})
	fmt.Println(err)
	fmt.Println("about order", r.OutTradeNo)
	// Output:
	// mch_id: is required; "Mch_Id" is not known, did you mean mch_id?; expires_at: is "tomorrow", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00; replacement_out_trade_no: is the same as out_trade_no
	// about order T1
}

// orders is the order service's own memory, in real life a table: the current
// outcome of each request, written in one transaction with what follows from it.
type orders map[request]events.Outcome

type request struct {
	order events.Order
	id    string
}

// handle acts on one record of the topic closeorder.outcomes. It may see a
// record twice, and may stop anywhere and begin again.
func (all orders) handle(m events.Message) error {
	next, err := events.DecodeOutcome(m)
	if err != nil {
		return err // contradicts itself or is no outcome: tell a person, act on nothing
	}
	about := request{next.Order(), next.RequestID}
	// Supersedes drops repeats, which have the same id, and late answers.
	if current, ok := all[about]; ok && !events.Supersedes(current, next) {
		fmt.Printf("%s: nothing new\n", next.OutTradeNo)
		return nil
	}
	all[about] = next

	switch {
	case next.Result == events.Paid:
		fmt.Printf("%s: paid, deliver the goods\n", next.OutTradeNo)
	case next.Result == events.Closed && next.SafeToReissue && next.ReplacementOutTradeNo != "":
		fmt.Printf("%s: closed, issue %s\n", next.OutTradeNo, next.ReplacementOutTradeNo)
	case next.Result == events.Closed && next.SafeToReissue:
		fmt.Printf("%s: closed, give the order up\n", next.OutTradeNo)
	case next.Result == events.Closed:
		fmt.Printf("%s: closed, but in doubt: issue no new number yet, ask again\n", next.OutTradeNo)
	default:
		fmt.Printf("%s: failed with %s, may still be payable: keep the number\n", next.OutTradeNo, next.Code)
	}
	return nil
}

// An order service acts on outcomes: each once, a new number only when the
// old one can no longer be paid.
func ExampleSupersedes() {
	outcome := func(order string, offset int64, replay int, result events.Result, code string) events.Message {
		r := events.Request{OutTradeNo: order, MchID: "1900000109", RequestID: "r-1", ReplacementOutTradeNo: order + "-2", Replay: replay}
		o := events.NewOutcome(r, nil, events.Source{Topic: "closeorder.requests", Offset: offset})
		o.Result, o.Code, o.SafeToReissue = result, code, result == events.Closed
		o.CompletedAt = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)
		m, err := events.EncodeOutcome(o)
		if err != nil {
			panic(err)
		}
		return m
	}
	all := orders{}
	for _, m := range []events.Message{
		outcome("T1", 7, 0, events.Failed, events.CodeUnknownMerchant),
		outcome("T1", 7, 0, events.Failed, events.CodeUnknownMerchant), // a repeat
		outcome("T1", 9, 1, events.Closed, ""),                         // the replay, once the merchant was added
		outcome("T1", 9, 1, events.Closed, "ORDERCLOSED"),              // a repeat after a crash of the worker
		outcome("T1", 7, 0, events.Failed, events.CodeUnknownMerchant), // a late repeat of the first answer
		outcome("T2", 11, 0, events.Failed, events.CodeRetriesExhausted),
		outcome("T2", 12, 0, events.Closed, ""), // the same request, asked again
	} {
		if err := all.handle(m); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// T1: failed with UNKNOWN_MERCHANT, may still be payable: keep the number
	// T1: nothing new
	// T1: closed, issue T1-2
	// T1: nothing new
	// T1: nothing new
	// T2: failed with RETRIES_EXHAUSTED, may still be payable: keep the number
	// T2: closed, issue T2-2
}
