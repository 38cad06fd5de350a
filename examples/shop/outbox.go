package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kgo"
)

// claimed is how long a relay has for what it has taken out of the outbox. If it
// dies, the next one takes it after so long.
const claimed = 10 * time.Second

// requestWriter publishes requests.
func requestWriter(brokers []string) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		// Both are the client's default, and both must stay: a request that is
		// acknowledged by all replicas is not lost with a broker, and one that the
		// client tries again does not stand there twice. The client puts keys where
		// Java's murmur2 puts them, as all producers of a topic must do alike.
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		// A relay gives up what a broker does not answer, or it would wait for that
		// broker longer than its claim, and hold up a stop. Then it may have been
		// written, and is published again: harmless.
		kgo.AllowIdempotentProduceCancellation(),
	)
}

// queue writes a close request into the outbox, in the transaction in which it
// was decided. It is encoded here and published byte for byte, however often.
func queue(ctx context.Context, tx *sql.Tx, pay payment, reason string, pause time.Duration) error {
	due := time.Now().Add(pause)
	request := events.Request{
		OutTradeNo: pay.outTradeNo, MchID: merchant, RequestID: pay.requestID(pay.requests), Reason: reason,
		// When the last create call was sent: it saves the worker a query, and
		// without it a number that the gateway does not know is never safe.
		OrderCreatedAt: time.UnixMilli(pay.createSent).UTC(),
	}
	if pay.newNumber {
		request.ReplacementOutTradeNo = numberOf(pay.purchase, pay.n+1)
	}
	m, err := events.EncodeRequest(request, "/examples/shop", due)
	if err != nil {
		return err
	}
	headers, err := json.Marshal(m.Headers)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (request_id, record_key, headers, value, send_after) VALUES ($1, $2, $3, $4, $5)`,
		request.RequestID, string(m.Key), string(headers), string(m.Value), due.UnixMilli())
	return err
}

// relay publishes what is due in the outbox, what has waited longest first, and
// then marks it. It returns how much that was. There is no second request of a
// number before the first one has its outcome, so nothing can overtake.
//
// Published, then marked: a crash in between publishes the request again, under
// the same request_id. That is harmless: closing is idempotent, and the inbox
// keeps one outcome per request. Marked first, a crash would lose it.
//
// Several may run at once. What one has claimed the others leave alone, and no
// transaction stays open while Kafka is slow or away.
func (s *shop) relay(ctx context.Context) (int, error) {
	rows, err := s.db.QueryContext(ctx, `UPDATE outbox SET claimed_until = $1
		WHERE sent_at IS NULL AND claimed_until <= $2 AND request_id IN
			(SELECT request_id FROM outbox WHERE sent_at IS NULL AND claimed_until <= $2 AND send_after <= $2 ORDER BY send_after, request_id LIMIT 100)
		RETURNING request_id, record_key, headers, value`, in(claimed), now())
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var records []*kgo.Record
	ids := map[*kgo.Record]string{}
	for rows.Next() {
		var id, key, headers, value string
		if err := rows.Scan(&id, &key, &headers, &value); err != nil {
			return 0, err
		}
		var m events.Message
		if err := json.Unmarshal([]byte(headers), &m.Headers); err != nil {
			return 0, err
		}
		// The key is the out_trade_no: requests of one order stay in one partition,
		// in order.
		r := &kgo.Record{Topic: requestsTopic, Key: []byte(key), Value: []byte(value)}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		records = append(records, r)
		ids[r] = id
	}
	if err := rows.Err(); err != nil || len(records) == 0 {
		return 0, err
	}

	call, cancel := context.WithTimeout(ctx, claimed)
	defer cancel()
	sent := 0
	for _, result := range s.kafka.ProduceSync(call, records...) {
		if result.Err != nil {
			err = result.Err // it stays in the outbox; the others go on
			continue
		}
		if _, err := s.db.ExecContext(ctx, `UPDATE outbox SET sent_at = $1 WHERE request_id = $2`, now(), ids[result.Record]); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, err
}
