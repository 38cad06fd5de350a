package index

import (
	"database/sql"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/closeorder/closeorder/internal/records"
)

// entry decodes a record. It may be called from several goroutines; what it returns
// shares no memory with the record.
func (x *Index) entry(topic int, rec *kafka.Record) entry {
	at, ok := place(rec.Partition, rec.Offset)
	if !ok {
		return func(*writer) error { return nil } // no log is as long
	}
	switch topic {
	case requestsTopic:
		return x.request(at, rec)
	case outcomesTopic:
		return x.outcome(at, rec)
	case lettersTopic:
		return x.letter(at, rec)
	}
	return x.retry(topic, at, rec)
}

// longestKey is how long a key may be by which a record is found.
const longestKey = events.MaxRequestID

// called is the number by which an order is looked for: out_trade_no, or the key of a
// record that names none, as internal/timeline has it.
func called(outTradeNo string, key []byte) string {
	if outTradeNo == "" && len(key) <= longestKey {
		return string(key)
	}
	return outTradeNo
}

func (x *Index) request(at int64, rec *kafka.Record) entry {
	// What cannot be read is a request all the same, and the error is the worker's.
	q, _ := events.DecodeRequest(rec.Message)
	o, requestID, requested, replay := q.Order(), packed(q.RequestID, q.Order()), rec.Time.UnixMilli(), q.Replay
	number, instead := called(q.OutTradeNo, rec.Key), q.ReplacementOutTradeNo
	return func(w *writer) error {
		merchant, err := w.merchant(o)
		if err != nil {
			return err
		}
		// One that is there already was known by its outcome alone.
		n, err := w.exec(`INSERT INTO index_requests (at, requested, merchant, out_trade_no, request_id, replay) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			at, requested, merchant, o.OutTradeNo, requestID, replay)
		if err != nil {
			return err
		}
		if n == 0 {
			if _, err := w.exec(`UPDATE index_requests SET requested = ?2 WHERE at = ?1`, at, requested); err != nil {
				return err
			}
		}
		w.requests += n
		if o.OutTradeNo == "" && number != "" {
			if err := w.follows(requestsTopic, at, nil, number); err != nil {
				return err
			}
		}
		if instead != "" {
			return w.follows(replaced, at, nil, instead)
		}
		return nil
	}
}

// follows enters a record that is no row of its own; number may be empty where source
// says which order it is about.
func (w *writer) follows(topic int, at int64, source any, number string) error {
	_, err := w.exec(`INSERT OR REPLACE INTO index_follows (topic, at, source, number) VALUES (?, ?, ?, ?)`, topic, at, source, number)
	return err
}

// sourceOf is the place of a request that a record follows from, nil where it is none of
// the topic that is indexed.
func (x *Index) sourceOf(s events.Source) any {
	if at, ok := place(s.Partition, s.Offset); ok && s.Topic == x.topics[requestsTopic] {
		return at
	}
	return nil
}

func (x *Index) outcome(at int64, rec *kafka.Record) entry {
	o, err := events.DecodeOutcome(rec.Message)
	if err != nil {
		if number := called("", rec.Key); number != "" {
			return func(w *writer) error { return w.follows(outcomesTopic, at, nil, number) }
		}
		return func(*writer) error { return nil }
	}
	a := answer{
		at: at, of: o.Source, source: x.sourceOf(o.Source), order: o.Order(), requestID: packed(o.RequestID, o.Order()), replay: o.Replay,
		outcome: results[o.Result], code: o.Code, safe: o.SafeToReissue, completed: o.CompletedAt,
	}
	if a.number = o.OutTradeNo; a.number == "" {
		a.number = o.RecordKey
	}
	if o.Gateway != nil && o.Gateway.TransactionID != "" {
		a.transaction = o.Gateway.TransactionID
	}
	return a.enter
}

// answer is an outcome.
type answer struct {
	at          int64
	of          events.Source
	source      any // its place, nil for another topic
	order       events.Order
	requestID   any
	replay      int
	number      string // by which it is found
	outcome     int64
	code        string
	safe        bool
	completed   time.Time
	transaction any
}

// enter gives the outcome to its request where it is the first one that names it.
func (a answer) enter(w *writer) error {
	if a.source == nil {
		return w.follows(outcomesTopic, a.at, nil, a.number)
	}
	if end, known := w.round.requests[a.of.Partition]; !known || a.of.Offset >= end {
		if !w.round.sure {
			return errDoubt
		}
		return w.follows(outcomesTopic, a.at, a.source, a.number) // of another log of that name
	}
	merchant, err := w.merchant(a.order)
	if err != nil {
		return err
	}
	code, err := w.code(a.code)
	if err != nil {
		return err
	}
	completed := moment(a.completed)
	var requested sql.NullInt64
	first, err := w.row(`UPDATE index_requests SET outcome = ?, code = ?, safe = ?, completed = ?, transaction_id = ?, answered = ?
		WHERE at = ? AND outcome IS NULL AND merchant = ? AND out_trade_no = ? AND request_id IS ? AND replay = ? RETURNING requested`,
		[]any{a.outcome, code, a.safe, completed, a.transaction, a.at, a.source, merchant, a.order.OutTradeNo, a.requestID, a.replay}, &requested)
	if err != nil {
		return err
	}
	if !first {
		var same bool
		there, err := w.row(`SELECT merchant = ? AND out_trade_no = ? AND request_id IS ? AND replay = ? FROM index_requests WHERE at = ?`,
			[]any{merchant, a.order.OutTradeNo, a.requestID, a.replay, a.source}, &same)
		switch {
		case err != nil:
			return err
		case there && same: // once more
			return w.follows(outcomesTopic, a.at, a.source, "")
		case there: // it names another
			return w.follows(outcomesTopic, a.at, a.source, a.number)
		}
		// Its request was deleted, or is older than what is kept.
		if _, err := w.exec(`INSERT INTO index_requests (at, merchant, out_trade_no, request_id, replay, outcome, code, safe, completed, transaction_id, answered)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			a.source, merchant, a.order.OutTradeNo, a.requestID, a.replay, a.outcome, code, a.safe, completed, a.transaction, a.at); err != nil {
			return err
		}
		w.requests++
		if a.order.OutTradeNo == "" && a.number != "" {
			if err := w.follows(outcomesTopic, a.at, a.source, a.number); err != nil {
				return err
			}
		}
	}
	w.minutes[answersOf(a.outcome, completed, requested)]++
	if a.outcome != results[events.Failed] {
		return w.answerLetters(a.order, a.requestID, a.source)
	}
	return nil
}

// answersOf is where an answer is counted.
func answersOf(outcome, completed int64, requested sql.NullInt64) answers {
	a := answers{floorDiv(completed, int64(time.Minute)), outcome, -1}
	if requested.Valid {
		a.bucket = bucketOf(completed/int64(time.Millisecond) - requested.Int64)
	}
	return a
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (x *Index) retry(topic int, at int64, rec *kafka.Record) entry {
	r, err := records.DecodeRetry(rec.Message)
	if err != nil {
		if number := called("", rec.Key); number != "" {
			return func(w *writer) error { return w.follows(topic, at, nil, number) }
		}
		return func(*writer) error { return nil }
	}
	q, _ := events.DecodeRequest(r.Original)
	source, number := x.sourceOf(r.Source), called(q.OutTradeNo, r.Original.Key)
	return func(w *writer) error {
		known, err := w.tells(source, q.OutTradeNo)
		if err != nil {
			return err
		}
		if known {
			number = ""
		}
		return w.follows(topic, at, source, number)
	}
}

// tells reports whether the request at a place names that order, so that what follows
// from it is found by it.
func (w *writer) tells(source any, number string) (bool, error) {
	if source == nil || number == "" {
		return false, nil
	}
	var one int
	return w.row(`SELECT 1 FROM index_requests WHERE at = ? AND out_trade_no = ?`, []any{source, number}, &one)
}

func (x *Index) letter(at int64, rec *kafka.Record) entry {
	l := deadletters.Of(*rec)
	listed, failed, code := listedOf(&l), moment(l.Time()), folded(l.ErrorCode)
	q, source, number := l.Request, any(nil), ""
	if l.Err == nil {
		source, number = x.sourceOf(l.Source), called(q.OutTradeNo, l.Original.Key)
	} else {
		number = called("", rec.Key)
	}
	// Of a letter without its value the request says whom it is about, if it is the very
	// one: so internal/deadletters has it.
	bare := l.Err == nil && l.ValueOmitted != "" && source != nil
	timestamp := l.SourceTimestamp
	return func(w *writer) error {
		if bare {
			if err := w.restore(&q, source, timestamp); err != nil {
				return err
			}
			listed.MchID, listed.SubMchID, listed.OutTradeNo, listed.RequestID = q.MchID, q.SubMchID, q.OutTradeNo, q.RequestID
		}
		n, err := w.exec(`INSERT OR IGNORE INTO index_letters (at, failed, code, mch_id, sub_mch_id, out_trade_no, request_id, replay, source, listed)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			at, failed, code, q.MchID, q.SubMchID, q.OutTradeNo, packed(q.RequestID, q.Order()), listed.Replay, source, jsonOf(listed))
		if err != nil {
			return err
		}
		w.letters += n
		if q.OutTradeNo == "" && number != "" {
			if err := w.follows(lettersTopic, at, source, number); err != nil {
				return err
			}
		}
		if !w.lookups {
			return nil // all of them at the end
		}
		return w.answerLetter(at, &q)
	}
}

// listedOf is a letter as it is listed. The time of what is no dead letter is its
// producer's claim: where JSON cannot hold it, all else of the letter still stands.
func listedOf(l *deadletters.Letter) deadletters.Listed {
	listed := l.Listed()
	listed.FailedAt = moments.WritableTime(listed.FailedAt)
	return listed
}

// restore names the request of a letter that has no value.
func (w *writer) restore(q *events.Request, source any, timestamp time.Time) error {
	var requested int64
	var o events.Order
	var requestID sql.NullString
	found, err := w.row(`SELECT r.requested, m.mch_id, m.sub_mch_id, r.out_trade_no, r.request_id`+joined+`WHERE r.at = ? AND r.requested IS NOT NULL`,
		[]any{source}, &requested, &o.MchID, &o.SubMchID, &o.OutTradeNo, &requestID)
	if err != nil || !found || !timestamp.IsZero() && timestamp.UnixMilli() != requested {
		return err
	}
	q.MchID, q.SubMchID, q.OutTradeNo, q.RequestID = o.MchID, o.SubMchID, o.OutTradeNo, unpacked(requestID, o)
	return nil
}

// What became of the request of a letter since: the first final outcome of the same
// request, as events.SameRequest has it.
const (
	since = `UPDATE index_letters AS l SET (since, since_replay) = (SELECT r.outcome, r.replay FROM index_requests r JOIN index_merchants m ON m.id = r.merchant
		WHERE r.outcome IN ` + final + ` AND m.mch_id = l.mch_id AND m.sub_mch_id = l.sub_mch_id AND r.request_id IS l.request_id AND `
	first         = ` ORDER BY r.completed, r.at LIMIT 1) WHERE `
	sinceByNumber = since + `r.out_trade_no = l.out_trade_no AND r.out_trade_no <> ''` + first + `l.out_trade_no <> ''`
	sinceByID     = since + `r.request_id = l.request_id AND r.out_trade_no = ''` + first + `l.out_trade_no = '' AND l.request_id <> ''`
	sinceByPlace  = since + `r.at = l.source AND r.replay = l.replay AND r.out_trade_no = ''` + first + `l.out_trade_no = '' AND l.request_id = ''`
)

// answerLetters are for all letters at once.
var answerLetters = []string{sinceByNumber, sinceByID, sinceByPlace}

func sinceOf(number string, requestID any) string {
	switch {
	case number != "":
		return sinceByNumber
	case requestID != "":
		return sinceByID
	}
	return sinceByPlace
}

// answerLetter looks for the answer to the request of one letter.
func (w *writer) answerLetter(at int64, q *events.Request) error {
	_, err := w.exec(sinceOf(q.OutTradeNo, packed(q.RequestID, q.Order()))+` AND l.at = ?`, at)
	return err
}

// answerLetters looks for the letters of a request that has a final answer now.
func (w *writer) answerLetters(o events.Order, requestID, source any) error {
	if !w.lookups {
		return nil // all of them at the end
	}
	which, arg := ` AND l.out_trade_no = ?`, any(o.OutTradeNo)
	switch {
	case o.OutTradeNo != "":
	case requestID != "":
		which, arg = ` AND l.request_id = ?`, requestID
	default:
		which, arg = ` AND l.source = ?`, source
	}
	_, err := w.exec(sinceOf(o.OutTradeNo, requestID)+which, arg)
	return err
}
