package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kgo"
)

// outcomeReader reads the outcomes as one consumer group for each database. What
// is not the default of the client is said with its reason.
func outcomeReader(brokers []string, group string) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ConsumeTopics(outcomesTopic),
		kgo.ConsumerGroup(group),
		// Without it a reader sees outcomes of transactions that were aborted.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The first start must not pass over what came before it.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Offsets are committed behind the database, never before it.
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// When a shop has died its outcomes wait for so long (the defaults are 45 s
		// and a minute). The session is the longer one: a broker that waits in a
		// rebalance for who has died must not lose who is alive over it.
		kgo.SessionTimeout(15*time.Second),
		kgo.RebalanceTimeout(10*time.Second),
	)
}

// inbox acts on outcomes until ctx ends. What has come is first in the database,
// then its offset is committed: a crash in between brings it again, and the
// database knows it.
func (s *shop) inbox(ctx context.Context, reader *kgo.Client) {
	for ctx.Err() == nil {
		fetches := reader.PollRecords(ctx, 100)
		fetches.EachError(func(topic string, partition int32, err error) {
			switch { // the client tries again by itself
			case ctx.Err() != nil:
			case topic == "": // of the group, or of all brokers
				s.log.Printf("outcomes: %v", err)
			default:
				s.log.Printf("outcomes: %s/%d: %v", topic, partition, err)
			}
		})
		for _, record := range fetches.Records() {
			// The same one again until the database has it. To go on would be to
			// lose it: the offset of a later one is committed for all before it.
			for s.receive(ctx, record) != nil {
				if !pause(ctx, time.Second) {
					return
				}
			}
		}
		if err := reader.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			s.log.Printf("outcomes: commit: %v", err) // they come again, which is harmless
		}
		reader.AllowRebalance()
	}
}

// receive acts on one record, once, in one transaction. The error is the
// database's.
func (s *shop) receive(ctx context.Context, r *kgo.Record) error {
	m := events.Message{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	outcome, err := events.DecodeOutcome(m)
	unreadable := err != nil
	if !unreadable {
		err = s.db.change(ctx, func(tx *sql.Tx) error { return s.act(ctx, tx, outcome) })
		unreadable = neverHolds(err)
	}
	if unreadable {
		// It may be the answer that somebody waits for: a person looks. It must
		// not stop the others.
		why := err.Error()
		err = s.db.change(ctx, func(tx *sql.Tx) error {
			return s.remember(ctx, tx, "unreadable", fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), why)
		})
	}
	if err != nil && ctx.Err() == nil {
		s.log.Printf("outcomes: %s/%d/%d: %v", r.Topic, r.Partition, r.Offset, err)
	}
	return err
}

// act keeps the outcome if it counts, and does what follows from it.
func (s *shop) act(ctx context.Context, tx *sql.Tx, next events.Outcome) error {
	// Outcomes of other shops are passed over: the topic is everybody's.
	if next.MchID != merchant || next.SubMchID != "" {
		return nil
	}
	p, pay, err := lockPayment(ctx, tx, next.OutTradeNo)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	// One outcome per order and request. To drop known event ids alone is not
	// enough: a request that was published twice has two outcomes with two ids,
	// both of them true.
	kept, found, err := keptOutcome(ctx, tx, next)
	if err != nil || found && !events.Supersedes(kept, next) {
		return err
	}
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO outcomes (mch_id, sub_mch_id, out_trade_no, request_id, event_id, value)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (mch_id, sub_mch_id, out_trade_no, request_id) DO UPDATE SET event_id = excluded.event_id, value = excluded.value`,
		next.MchID, next.SubMchID, next.OutTradeNo, next.RequestID, next.ID, string(value)); err != nil {
		return err
	}
	return s.carryOut(ctx, tx, p, pay, onOutcome(p, pay, next))
}

// keptOutcome is the one that is kept for the same order and request.
func keptOutcome(ctx context.Context, tx *sql.Tx, o events.Outcome) (kept events.Outcome, found bool, err error) {
	var id, value string
	err = tx.QueryRowContext(ctx, `SELECT event_id, value FROM outcomes
		WHERE mch_id = $1 AND sub_mch_id = $2 AND out_trade_no = $3 AND request_id = $4`,
		o.MchID, o.SubMchID, o.OutTradeNo, o.RequestID).Scan(&id, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return kept, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(value), &kept)
	}
	kept.ID = id
	return kept, err == nil, err
}
