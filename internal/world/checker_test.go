package world

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// A small world made by hand, in which every promise is kept:
//
//	@0 order A  closed
//	@1 order B  paid
//	@2 poison   failed, dead letter
//	@3 order A  closed again
//	@4 order C  put off once, then closed
//	@5 order D  refused for good (DEAD): failed, dead letter
var noon = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func requestRecord(offset int64, no string) Record {
	value := fmt.Sprintf(`{"mch_id":"m","out_trade_no":"%s"}`, no)
	if no == "" {
		value = "not JSON"
	}
	return Record{Topic: "requests", Offset: offset, At: at(int(offset)), Message: Message{Key: []byte(no), Value: []byte(value)}}
}

func outcomeRecord(offset int64, source int64, no string, result events.Result, code string) Record {
	o := events.Outcome{
		Result: result, Code: code, OutTradeNo: no, CompletedAt: at(10 + int(source)),
		Source: events.Source{Topic: "requests", Offset: source},
	}
	if no != "" {
		o.MchID = "m"
	}
	return outcomeOf(offset, o, fmt.Sprintf("id-%d", source))
}

func outcomeOf(offset int64, o events.Outcome, id string) Record {
	value, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return Record{Topic: "outcomes", Offset: offset, At: o.CompletedAt, Message: Message{
		Key: []byte(o.OutTradeNo), Value: value,
		Headers: []events.Header{{Key: "ce_id", Value: []byte(id)}, {Key: "ce_type", Value: []byte("closeorder." + string(o.Result))}},
	}}
}

// copyRecord is a retry or a dead letter of a request.
func copyRecord(topic string, offset int64, of Record) Record {
	m := of.Message
	m.Headers = append(slices.Clip(m.Headers),
		events.Header{Key: "closeorder-source-topic", Value: []byte(of.Topic)},
		events.Header{Key: "closeorder-source-partition", Value: []byte("0")},
		events.Header{Key: "closeorder-source-offset", Value: []byte(strconv.FormatInt(of.Offset, 10))},
	)
	return Record{Topic: topic, Offset: offset, At: of.At, Message: m}
}

func entry(no, behaviour string, events ...gatewaysim.Event) gatewaysim.Entry {
	last := events[len(events)-1].State
	return gatewaysim.Entry{
		Order: gatewaysim.Order{MchID: "m", OutTradeNo: no}, Behaviour: behaviour,
		State: last, Payable: last.Payable(), Events: events,
	}
}

func callFrom(no string, start, end int) Call {
	return Call{Order: orderNamed(no), Op: gatewaysim.CloseOrder, Caller: "worker-0", Start: at(start), End: at(end)}
}

func orderNamed(no string) events.Order { return events.Order{MchID: "m", OutTradeNo: no} }

func goodEvidence() *Evidence {
	found, paid, closed := gatewaysim.Found, gatewaysim.PaidByBuyer, gatewaysim.CloseAccepted
	e := &Evidence{
		Requests: []Record{
			requestRecord(0, "A"), requestRecord(1, "B"), requestRecord(2, ""),
			requestRecord(3, "A"), requestRecord(4, "C"), requestRecord(5, "DEAD"),
		},
		Outcomes: []Record{
			outcomeRecord(0, 0, "A", events.Closed, "SUCCESS"),
			outcomeRecord(1, 1, "B", events.Paid, "ORDERPAID"),
			outcomeRecord(2, 2, "", events.Failed, "INVALID_REQUEST"),
			outcomeRecord(3, 3, "A", events.Closed, "ORDERCLOSED"),
			outcomeRecord(4, 5, "DEAD", events.Failed, "PARAM_ERROR"),
			outcomeRecord(5, 4, "C", events.Closed, "SUCCESS"),
		},
		Book: []gatewaysim.Entry{
			entry("A", "", gatewaysim.Event{At: at(7), What: found, State: gatewaysim.NotPay}, gatewaysim.Event{At: at(8), What: closed, State: gatewaysim.Closed}),
			entry("B", "PAID", gatewaysim.Event{At: at(7), What: found, State: gatewaysim.NotPay}, gatewaysim.Event{At: at(8), What: paid, State: gatewaysim.Paid}),
			entry("C", "", gatewaysim.Event{At: at(7), What: found, State: gatewaysim.NotPay}, gatewaysim.Event{At: at(13), What: closed, State: gatewaysim.Closed}),
			entry("DEAD", "DEAD", gatewaysim.Event{At: at(7), What: found, State: gatewaysim.NotPay}),
		},
		Calls: []Call{
			callFrom("A", 7, 9), callFrom("B", 7, 9), callFrom("C", 7, 8), callFrom("DEAD", 7, 14),
			callFrom("A", 10, 12), callFrom("C", 12, 14),
		},
		MaxInFlight: 4,
		Settled:     true,
	}
	e.Retries = []Record{copyRecord("retries", 0, e.Requests[4])}
	e.DeadLetters = []Record{copyRecord("dead", 0, e.Requests[2]), copyRecord("dead", 1, e.Requests[5])}
	e.Looks = []Look{
		{At: at(11), Commits: map[Place]Commit{{"requests", 0}: {Offset: 1, Metadata: bits(2)}},
			Ends: map[Place]int64{{"requests", 0}: 6, {"outcomes", 0}: 3, {"retries", 0}: 0, {"dead", 0}: 1}},
		{At: at(20), Stopped: true, Commits: map[Place]Commit{{"requests", 0}: {Offset: 6}, {"retries", 0}: {Offset: 1}},
			Ends: map[Place]int64{{"requests", 0}: 6, {"outcomes", 0}: 6, {"retries", 0}: 1, {"dead", 0}: 2}},
	}
	return e
}

// bits is commit metadata for offsets above 1, as bits from 1 on.
func bits(offsets ...int) string {
	b := []byte{'b', 0}
	for _, o := range offsets {
		b[1] |= 1 << (o - 1)
	}
	return "co1:" + base64.RawStdEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, 0))
}

// edit changes an outcome and writes it again.
func edit(e *Evidence, i int, change func(*events.Outcome)) {
	a, err := readOutcome(e.Outcomes[i])
	if err != nil {
		panic(err)
	}
	change(&a.Outcome)
	e.Outcomes[i] = outcomeOf(e.Outcomes[i].Offset, a.Outcome, a.ID)
}

// again adds a repeat of an outcome with changes.
func again(e *Evidence, i int, change func(*events.Outcome)) {
	r := e.Outcomes[i]
	r.Offset = int64(len(e.Outcomes))
	e.Outcomes = append(e.Outcomes, r)
	e.Looks[len(e.Looks)-1].Ends[Place{"outcomes", 0}]++
	edit(e, len(e.Outcomes)-1, change)
}

// expire gives a request a time to expire at, and its copies the same bytes.
func expire(e *Evidence, i, seconds int) {
	r := &e.Requests[i]
	r.Value = fmt.Appendf(nil, `{"mch_id":"m","out_trade_no":"%s","expires_at":%q}`, r.Key, at(seconds).Format(time.RFC3339))
	for _, copies := range [][]Record{e.Retries, e.DeadLetters} {
		for j := range copies {
			if lastHeader(copies[j].Message, "closeorder-source-offset") == strconv.Itoa(i) {
				copies[j].Value = r.Value
			}
		}
	}
}

// putOff adds a second retry record, of a request, that is finished at the end.
func putOff(e *Evidence, of Record) {
	e.Retries = append(e.Retries, copyRecord("retries", 1, of))
	last := e.Looks[len(e.Looks)-1]
	last.Ends[Place{"retries", 0}] = 2
	last.Commits[Place{"retries", 0}] = Commit{Offset: 2}
}

// exactlyOnce makes the world one in which work is done exactly once: what stood
// there before the commits were read is committed with them.
func exactlyOnce(e *Evidence) {
	e.ExactlyOnce, e.AtOnce = true, true
	e.Looks[0].Before = map[Place]int64{{"outcomes", 0}: 1}
	e.Looks[1].Before = e.Looks[1].Ends
}

var planted = map[string]struct {
	plant func(e *Evidence)
	want  []Kind
}{
	"nothing is planted": {func(*Evidence) {}, nil},
	"a repeat with the same id is counted and is no finding": {func(e *Evidence) {
		again(e, 0, func(o *events.Outcome) { o.Code = "ORDERCLOSED" })
	}, nil},
	"closed but not safe, then paid in between: both were true, and it is counted apart": {func(e *Evidence) {
		e.Book[0].Events = []gatewaysim.Event{
			{At: at(7), What: gatewaysim.Found, State: gatewaysim.Unknown}, {At: at(15), What: gatewaysim.Created, State: gatewaysim.NotPay}, {At: at(16), What: gatewaysim.PaidByBuyer, State: gatewaysim.Paid},
		}
		again(e, 0, func(o *events.Outcome) { o.Result, o.CompletedAt = events.Paid, at(17) })
	}, nil},
	"closed as nobody knew it when the gateway was asked, and created while it answered, is no finding": {func(e *Evidence) {
		e.Book[0].Events = []gatewaysim.Event{
			{At: at(7), What: gatewaysim.Found, State: gatewaysim.Unknown}, {At: at(9), What: gatewaysim.Created, State: gatewaysim.NotPay}, {At: at(16), What: gatewaysim.PaidByBuyer, State: gatewaysim.Paid},
		}
		e.Calls[0].End = at(10)
		e.Calls[4].Start = at(10)
		e.Outcomes = slices.Delete(e.Outcomes, 3, 4)
		e.Requests[3] = requestRecord(3, "")
		e.Requests[3].Value = []byte("neither")
		e.Outcomes = slices.Insert(e.Outcomes, 3, outcomeRecord(3, 3, "", events.Failed, "INVALID_REQUEST"))
		e.DeadLetters = append(e.DeadLetters, copyRecord("dead", 2, e.Requests[3]))
		again(e, 0, func(o *events.Outcome) { o.Result, o.CompletedAt = events.Paid, at(17) })
	}, nil},
	"G2: closed and safe, then paid in between": {func(e *Evidence) {
		edit(e, 0, func(o *events.Outcome) { o.SafeToReissue = true })
		e.Book[0].Events = append(e.Book[0].Events, gatewaysim.Event{At: at(16), What: gatewaysim.PaidByBuyer, State: gatewaysim.Paid})
		again(e, 0, func(o *events.Outcome) { o.Result, o.CompletedAt, o.SafeToReissue = events.Paid, at(17), false })
	}, []Kind{Contradiction, Unsafe}},
	"what still waits in a retry topic is no hole before the end": {func(e *Evidence) {
		e.Settled = false
		e.Outcomes = e.Outcomes[:5]
		e.Looks[1].Ends[Place{"outcomes", 0}] = 5
		delete(e.Looks[1].Commits, Place{"retries", 0})
	}, nil},
	"what nobody has taken up is no hole before the end": {func(e *Evidence) {
		e.Settled = false
		e.Requests = append(e.Requests, requestRecord(6, "E"))
	}, nil},

	"G1: an outcome is missing": {func(e *Evidence) { e.Outcomes = slices.Delete(e.Outcomes, 0, 1) }, []Kind{Hole}},
	"G1: an offset was committed before its outcome stood in the topic": {func(e *Evidence) {
		e.Looks[0].Commits[Place{"requests", 0}] = Commit{Offset: 4}
	}, []Kind{Hole}},
	"G1: commit metadata marks what is not answered": {func(e *Evidence) {
		e.Looks[0].Commits[Place{"requests", 0}] = Commit{Offset: 1, Metadata: bits(2, 5)}
	}, []Kind{Hole}},
	"G1: a retry was committed without an outcome": {func(e *Evidence) {
		e.Settled = false
		e.Outcomes = e.Outcomes[:5]
	}, []Kind{Hole}},
	"G1: a request waits for ever": {func(e *Evidence) {
		e.Outcomes = e.Outcomes[:5]
		e.Looks[1].Stopped = false
		delete(e.Looks[1].Commits, Place{"retries", 0})
	}, []Kind{Hole}},
	"G1: a commit lies beyond the end": {func(e *Evidence) {
		e.Looks[1].Commits[Place{"requests", 0}] = Commit{Offset: 7}
	}, []Kind{BadCommit}},
	"G1: commit metadata of a format that nobody knows": {func(e *Evidence) {
		e.Looks[1].Commits[Place{"requests", 0}] = Commit{Offset: 6, Metadata: "what?"}
	}, []Kind{BadCommit}},

	"G2: closed, then paid": {func(e *Evidence) {
		again(e, 0, func(o *events.Outcome) { o.Result = events.Paid })
	}, []Kind{Contradiction, WrongPaid}},
	"G2: failed, then closed, without a replay": {func(e *Evidence) {
		again(e, 2, func(o *events.Outcome) { o.Result = events.Closed; o.OutTradeNo, o.MchID = "A", "m" })
	}, []Kind{Contradiction}},
	"G2: closed, then expired, though nothing has changed": {func(e *Evidence) {
		expire(e, 0, 15)
		again(e, 0, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Failed, "EXPIRED", at(20) })
	}, []Kind{Contradiction}},
	"G2: expired though it was closed, then closed": {func(e *Evidence) {
		expire(e, 3, 10)
		edit(e, 3, func(o *events.Outcome) { o.Result, o.Code = events.Failed, "EXPIRED" })
		again(e, 3, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Closed, "CLOSED", at(20) })
	}, []Kind{Contradiction}},
	"expired while it was open, then closed after somebody had closed it, is no finding": {func(e *Evidence) {
		expire(e, 0, 6)
		edit(e, 0, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Failed, "EXPIRED", at(9) })
		again(e, 0, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Closed, "CLOSED", at(20) })
	}, nil},
	"closed as nobody knew it, then expired as it had been created, is no finding": {func(e *Evidence) {
		expire(e, 4, 15)
		e.Book[2] = entry("C", "GHOST", gatewaysim.Event{At: at(7), What: gatewaysim.Found, State: gatewaysim.Unknown}, gatewaysim.Event{At: at(16), What: gatewaysim.Created, State: gatewaysim.NotPay})
		again(e, 5, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Failed, "EXPIRED", at(20) })
	}, nil},
	"G2: the repeat has another id": {func(e *Evidence) {
		again(e, 0, func(o *events.Outcome) { o.ID = "other" })
	}, []Kind{ManyIDs}},
	"G2: the repeat has another request_id": {func(e *Evidence) {
		again(e, 0, func(o *events.Outcome) { o.RequestID = "other" })
	}, []Kind{Contradiction}},
	"G2: two requests share an id": {func(e *Evidence) {
		edit(e, 3, func(o *events.Outcome) { o.ID = "id-0" })
	}, []Kind{SharedID}},
	"G2: an outcome of no request": {func(e *Evidence) {
		again(e, 0, func(o *events.Outcome) { o.Source.Offset = 77 })
	}, []Kind{Orphan}},
	"G2: a dead letter of no request": {func(e *Evidence) {
		e.DeadLetters = append(e.DeadLetters, copyRecord("dead", 2, requestRecord(77, "A")))
	}, []Kind{Orphan}},
	"G2: an outcome names another order": {func(e *Evidence) {
		edit(e, 0, func(o *events.Outcome) { o.OutTradeNo = "C" })
	}, []Kind{Misnamed, WrongClosed}},
	"G2: an outcome that is no JSON": {func(e *Evidence) {
		e.Outcomes[0].Value = []byte("closed")
	}, []Kind{Hole, Unreadable}},
	"G2: an outcome whose header says something else": {func(e *Evidence) {
		e.Outcomes[0].Headers[1].Value = []byte("closeorder.paid")
	}, []Kind{Hole, Unreadable}},
	"G2: a dead letter without an outcome": {func(e *Evidence) {
		e.Outcomes = slices.Delete(e.Outcomes, 2, 3)
	}, []Kind{Hole, Unpaired}},
	"G2: a failed outcome without a dead letter": {func(e *Evidence) {
		e.DeadLetters = e.DeadLetters[1:]
	}, []Kind{Unpaired}},
	"G2: a dead letter with another value": {func(e *Evidence) {
		e.DeadLetters[0].Value = []byte("not  JSON")
	}, []Kind{Altered}},
	"G2: a retry with another key": {func(e *Evidence) {
		e.Retries[0].Key = nil
	}, []Kind{Altered}},

	"exactly once, and nothing stands there twice": {exactlyOnce, nil},
	"G2: exactly once, and an outcome stands there twice": {func(e *Evidence) {
		exactlyOnce(e)
		again(e, 0, func(*events.Outcome) {})
	}, []Kind{Repeat}},
	"G2: exactly once, and two answers that were both true": {func(e *Evidence) {
		exactlyOnce(e)
		expire(e, 0, 6)
		edit(e, 0, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Failed, "EXPIRED", at(9) })
		again(e, 0, func(o *events.Outcome) { o.Result, o.Code, o.CompletedAt = events.Closed, "CLOSED", at(20) })
	}, []Kind{Repeat}},
	"G2: exactly once, and a dead letter stands there twice": {func(e *Evidence) {
		exactlyOnce(e)
		e.DeadLetters = append(e.DeadLetters, copyRecord("dead", 2, e.Requests[5]))
	}, []Kind{Repeat}},
	"G2: exactly once, and a retry record stands there twice": {func(e *Evidence) {
		exactlyOnce(e)
		putOff(e, e.Requests[4])
	}, []Kind{Repeat}},
	"G2: exactly once, and two retry records of a request are to be done": {func(e *Evidence) {
		exactlyOnce(e)
		putOff(e, e.Requests[4])
		e.Retries[1].Headers = append(e.Retries[1].Headers, events.Header{Key: "closeorder-due-at", Value: []byte("2025-11-23T12:00:17Z")})
		e.Looks[0].Before[Place{"retries", 0}] = 2
		e.Looks[0].Commits[Place{"requests", 0}] = Commit{Offset: 1, Metadata: bits(2, 4)}
		e.Looks[0].Ends[Place{"retries", 0}] = 2
	}, []Kind{Repeat}},
	"G2: exactly once, and a request is to be done that was answered": {func(e *Evidence) {
		exactlyOnce(e)
		e.Looks[0].Before[Place{"outcomes", 0}] = 2
	}, []Kind{Repeat}},
	"G2: exactly once, and a request is to be done that was put off": {func(e *Evidence) {
		exactlyOnce(e)
		e.Looks[0].Before[Place{"retries", 0}] = 1
	}, []Kind{Repeat}},
	"G2: exactly once, and a retry record is to be done that was answered": {func(e *Evidence) {
		exactlyOnce(e)
		e.Looks[1].Stopped = false
		delete(e.Looks[1].Commits, Place{"retries", 0})
	}, []Kind{Repeat}},
	"exactly once, and a request is to be done whose answer was not committed yet, is no finding": {func(e *Evidence) {
		exactlyOnce(e)
		e.Looks[0].Before[Place{"outcomes", 0}] = 2
		e.Outcomes[1].Transactional, e.Outcomes[1].Marker = true, 5
	}, nil},
	"G1: an offset was committed before the transaction of its outcome": {func(e *Evidence) {
		exactlyOnce(e)
		e.Outcomes[2].Transactional, e.Outcomes[2].Marker = true, 4
	}, []Kind{Hole}},
	"where markers follow, an offset whose outcome has none yet is no finding": {func(e *Evidence) {
		exactlyOnce(e)
		e.AtOnce = false
		e.Outcomes[2].Transactional, e.Outcomes[2].Marker = true, 4
	}, nil},
	"G2: an outcome of a request that was aborted": {func(e *Evidence) {
		e.Aborted = []Record{requestRecord(77, "E")}
		again(e, 0, func(o *events.Outcome) { o.Source.Offset = 77 })
	}, []Kind{AbortedServed}},
	"G2: a retry record of a request that was aborted": {func(e *Evidence) {
		e.Aborted = []Record{requestRecord(77, "E")}
		putOff(e, e.Aborted[0])
	}, []Kind{AbortedServed}},
	"G2: a call for a request that was aborted": {func(e *Evidence) {
		e.Aborted = []Record{requestRecord(77, "E")}
		e.Calls = append(e.Calls, callFrom("E", 21, 22))
	}, []Kind{AbortedServed}},
	"a call for an order that a request names which was not aborted is no finding": {func(e *Evidence) {
		e.Aborted = []Record{requestRecord(77, "A")}
	}, nil},

	"G3: closed, and the order is payable": {func(e *Evidence) {
		e.Book[0].Events = e.Book[0].Events[:1]
	}, []Kind{WrongClosed}},
	"G3: closed, and the order was paid before": {func(e *Evidence) {
		e.Book[0].Events[1].State = gatewaysim.Paid
	}, []Kind{WrongClosed}},
	"G3: closed, and the gateway never heard of it": {func(e *Evidence) {
		e.Book = e.Book[1:]
	}, []Kind{WrongClosed}},
	"G3: paid, and the order is closed": {func(e *Evidence) {
		e.Book[1].Events[1].State = gatewaysim.Closed
	}, []Kind{WrongPaid}},
	"G3: safe to reissue, and paid afterwards": {func(e *Evidence) {
		edit(e, 0, func(o *events.Outcome) { o.SafeToReissue = true })
		e.Book[0].Events = append(e.Book[0].Events, gatewaysim.Event{At: at(60), What: gatewaysim.PaidByBuyer, State: gatewaysim.Paid})
	}, []Kind{Unsafe}},
	"G3: safe to reissue, and a create is on its way": {func(e *Evidence) {
		edit(e, 0, func(o *events.Outcome) { o.SafeToReissue = true })
		e.Book[0].CreateInFlight = true
	}, []Kind{Unsafe}},

	"G4: two calls of one order overlap": {func(e *Evidence) {
		e.Calls[0].End = at(11)
	}, []Kind{SideBySide}},
	"G4: the later request of an order is answered first": {func(e *Evidence) {
		e.Outcomes[0].Offset, e.Outcomes[3].Offset = 3, 0
		e.Looks[0].Commits = nil
	}, []Kind{OutOfOrder}},

	"G5: a request died of time-outs": {func(e *Evidence) {
		edit(e, 0, func(o *events.Outcome) { o.Result, o.Code = events.Failed, "RETRIES_EXHAUSTED" })
		e.DeadLetters = append(e.DeadLetters, copyRecord("dead", 2, e.Requests[0]))
		e.Looks[0].Commits = nil
	}, []Kind{DeadForOutage}},
	"G5: a call for a request that was put off, before its time": {func(e *Evidence) {
		e.Retries[0].Headers = append(e.Retries[0].Headers, events.Header{Key: "closeorder-due-at", Value: []byte("2025-11-23T12:00:17Z")})
		e.Looks[0].Commits[Place{"requests", 0}] = Commit{Offset: 1, Metadata: bits(2, 4)}
		e.Looks[0].Ends[Place{"retries", 0}] = 1
	}, []Kind{Early}},
	"G5: a call for a request that waited for its merchant is no finding": {func(e *Evidence) {
		e.Retries[0].Headers = append(e.Retries[0].Headers,
			events.Header{Key: "closeorder-due-at", Value: []byte("2025-11-23T12:00:17Z")},
			events.Header{Key: "closeorder-waits-for", Value: []byte("mch_id")})
		e.Looks[0].Commits[Place{"requests", 0}] = Commit{Offset: 1, Metadata: bits(2, 4)}
		e.Looks[0].Ends[Place{"retries", 0}] = 1
	}, nil},
	"G5: a call before not_before": {func(e *Evidence) {
		e.Requests[1].Value = []byte(`{"mch_id":"m","out_trade_no":"B","not_before":"2025-11-23T12:00:30Z"}`)
		e.Looks = append([]Look{{At: at(6), Ends: map[Place]int64{{"requests", 0}: 6}}}, e.Looks...)
	}, []Kind{Early}},
	"G5: a call for an order that is too young": {func(e *Evidence) {
		e.Requests[1].Value = []byte(`{"mch_id":"m","out_trade_no":"B","order_created_at":"2025-11-23T11:59:30Z"}`)
		e.Looks = append([]Look{{At: at(6), Ends: map[Place]int64{{"requests", 0}: 6}}}, e.Looks...)
		e.MinOrderAge = time.Minute
	}, []Kind{Early}},
	"G5: a request that never expires has expired": {func(e *Evidence) {
		edit(e, 2, func(o *events.Outcome) { o.Code = "EXPIRED" })
	}, []Kind{Early}},
	"G6: a call by a worker that had lost its partition": {func(e *Evidence) {
		e.Generations = []Generation{
			{At: at(-60), Number: 1, Owners: map[Place]string{{"requests", 0}: "worker-0-x", {"retries", 0}: "worker-0-x"}},
			{At: at(-30), Number: 2, Owners: map[Place]string{{"requests", 0}: "worker-1-x", {"retries", 0}: "worker-1-x"}},
		}
	}, []Kind{NotOwner}},
	"G6: a call that was under way when the partition was lost is no finding": {func(e *Evidence) {
		e.Generations = []Generation{
			{At: at(0), Number: 1, Owners: map[Place]string{{"requests", 0}: "worker-0-x", {"retries", 0}: "worker-0-x"}},
			{At: at(7), Number: 2, Owners: map[Place]string{{"requests", 0}: "worker-1-x", {"retries", 0}: "worker-1-x"}},
		}
	}, nil},
	"G6: a call for what was finished and committed": {func(e *Evidence) {
		e.Calls = append(e.Calls, callFrom("C", 21, 22))
	}, []Kind{Redone}},
	"G6: a committed offset goes back": {func(e *Evidence) {
		e.Looks[0].Commits[Place{"requests", 1}] = Commit{Offset: 3}
		e.Looks[1].Commits[Place{"requests", 1}] = Commit{Offset: 2}
	}, []Kind{Rewound}},
	"G7: more calls at once than allowed": {func(e *Evidence) { e.MaxInFlight = 3 }, []Kind{TooMany}},
	"G8: answered and not committed after a clean stop": {func(e *Evidence) {
		e.Looks[1].Commits[Place{"requests", 0}] = Commit{Offset: 5}
	}, []Kind{Uncommitted}},
}

func TestCheckFindsWhatIsPlanted(t *testing.T) {
	for sentence, test := range planted {
		t.Run(sentence, func(t *testing.T) {
			e := goodEvidence()
			test.plant(e)
			report := Check(*e)
			var got []Kind
			for _, f := range report.Findings {
				t.Log(f)
				if !slices.Contains(got, f.Kind) {
					got = append(got, f.Kind)
				}
				if g, _, named := strings.Cut(sentence, ":"); named && len(report.Findings) == 1 && f.Promise != g {
					t.Errorf("the finding is of %s", f.Promise)
				}
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
			}
			if !report.Balanced() {
				t.Errorf("the counts do not add up: %v", report)
			}
		})
	}
}

func TestCheckCounts(t *testing.T) {
	e := goodEvidence()
	again(e, 0, func(*events.Outcome) {})
	r := Check(*e)
	r.Findings = nil
	want := Report{Requests: 6, Closed: 3, Paid: 1, Failed: 2, Duplicates: 1, DeadLetters: 2, Calls: 6}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", r, want)
	}
}

// TestEveryKindIsPlanted keeps the table above complete.
func TestEveryKindIsPlanted(t *testing.T) {
	found := make(map[Kind]bool)
	for _, test := range planted {
		for _, k := range test.want {
			found[k] = true
		}
	}
	for k := range promises {
		if !found[k] {
			t.Errorf("no test plants %q", k)
		}
	}
}

func TestReadMetadata(t *testing.T) {
	raw := func(b ...byte) string {
		return "co1:" + base64.RawStdEncoding.EncodeToString(append(b, 0, 0, 0, 0))
	}
	for sentence, test := range map[string]struct {
		text string
		want []int64 // nil: an error
	}{
		"nothing is nothing":                          {"", []int64{}},
		"bits count from the committed offset":        {raw('b', 0b1010), []int64{101, 103}},
		"runs are gaps and lengths less one":          {raw('r', 1, 1, 2, 0), []int64{101, 102, 105}},
		"another prefix is an error":                  {"co2:AAAA", nil},
		"what is no base64 is an error":               {"co1:???", nil},
		"an unknown encoding is an error":             {raw('x', 1), nil},
		"a run that is cut off is an error":           {raw('r', 1), nil},
		"a run beyond all reason is an error":         {raw('r', 0xff, 0xff, 0xff, 0xff, 0x7f, 0), nil},
		"a number of more than 64 bits is an error":   {raw('r', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), nil},
		"a text too short for a checksum is an error": {"co1:AAAA", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			above, err := readMetadata(Commit{Offset: 100, Metadata: test.text})
			if (err != nil) != (test.want == nil) {
				t.Fatalf("error %v", err)
			}
			got := make([]int64, 0, len(above))
			for o := range above {
				got = append(got, o)
			}
			slices.Sort(got)
			if err == nil && !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
