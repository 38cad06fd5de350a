package index

import (
	"context"
	"database/sql"
	"slices"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
)

// Places are all records of an order in all topics, for timeline.Scope.Places, as
// far as the topics are indexed. MchID and SubMchID narrow the requests where they are
// set; a report that is to name other merchants' orders of that number is made without.
func (x *Index) Places(ctx context.Context, o events.Order) (*timeline.Places, error) {
	all := &timeline.Places{At: make(map[kafka.Place][]int64), From: make(map[string]kafka.Offsets), To: make(map[string]kafka.Offsets)}
	err := x.look(ctx, func(q querier) error {
		if err := x.bounds(ctx, q, all); err != nil {
			return err
		}
		return x.places(ctx, q, o, all)
	})
	for _, offsets := range all.At {
		slices.Sort(offsets)
	}
	return all, err
}

// bounds are how far the topics are indexed.
func (x *Index) bounds(ctx context.Context, q querier, all *timeline.Places) error {
	return each(ctx, q, func(rows *sql.Rows) error {
		var topic, partition int
		var floor, next int64
		if err := rows.Scan(&topic, &partition, &floor, &next); err != nil {
			return err
		}
		name := x.topics[topic]
		if all.From[name] == nil {
			all.From[name], all.To[name] = make(kafka.Offsets), make(kafka.Offsets)
		}
		all.From[name][partition], all.To[name][partition] = floor, next
		return nil
	}, `SELECT topic, partition, floor, next FROM index_positions`)
}

// order are the requests of an order, of any merchant where none is named, by number
// and by key.
const order = `WITH ours AS MATERIALIZED (
	SELECT r.at, r.answered FROM index_requests r JOIN index_merchants m ON m.id = r.merchant
	WHERE r.out_trade_no = ?1 AND r.out_trade_no <> '' AND (?2 = '' OR m.mch_id = ?2) AND (?3 = '' OR m.sub_mch_id = ?3)
	UNION SELECT r.at, r.answered FROM index_follows f JOIN index_requests r ON r.at = f.at WHERE f.topic = 0 AND f.number = ?1 AND f.number <> '') `

func (x *Index) places(ctx context.Context, q querier, o events.Order, all *timeline.Places) error {
	seen := make(map[[2]int64]bool)
	add := func(topic, at int64) {
		if !seen[[2]int64{topic, at}] {
			seen[[2]int64{topic, at}] = true
			where := kafka.Place{Topic: x.topics[topic], Partition: partitionOf(at)}
			all.At[where] = append(all.At[where], offsetOf(at))
		}
	}
	homes := make(map[int]bool)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var at int64
		var answered sql.NullInt64
		if err := rows.Scan(&at, &answered); err != nil {
			return err
		}
		add(requestsTopic, at)
		homes[partitionOf(at)] = true
		if answered.Valid {
			add(outcomesTopic, answered.Int64)
		}
		return nil
	}, order+`SELECT at, answered FROM ours`, o.OutTradeNo, o.MchID, o.SubMchID)
	if err != nil {
		return err
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var topic, at int64
		if err := rows.Scan(&topic, &at); err != nil {
			return err
		}
		add(max(topic, requestsTopic), at) // what names it as a replacement is a request
		return nil
	}, order+`SELECT topic, at FROM index_follows WHERE number = ?1 AND number <> '' AND topic >= -1
		UNION SELECT topic, at FROM index_follows WHERE source IN (SELECT at FROM ours)
		UNION SELECT 2, at FROM index_letters WHERE out_trade_no = ?1 AND out_trade_no <> ''
		UNION SELECT 2, at FROM index_letters WHERE source IN (SELECT at FROM ours)`, o.OutTradeNo, o.MchID, o.SubMchID)
	if err != nil {
		return err
	}
	return x.unread(ctx, q, homes, all, add)
}

// unread adds what could not be read where records of the order may stand, so that a
// report says it.
func (x *Index) unread(ctx context.Context, q querier, homes map[int]bool, all *timeline.Places, add func(topic, at int64)) error {
	if len(homes) == 0 {
		for p := range all.To[x.topics[requestsTopic]] {
			homes[p] = true
		}
	}
	return each(ctx, q, func(rows *sql.Rows) error {
		var topic int64
		var partition int
		var first int64
		if err := rows.Scan(&topic, &partition, &first); err != nil {
			return err
		}
		count := max(len(all.To[x.topics[topic]]), 1)
		for home := range homes {
			if at, ok := place(partition, first); ok && (topic == requestsTopic && home == partition || topic != requestsTopic && home%count == partition) {
				add(topic, at)
			}
		}
		return nil
	}, `SELECT topic, partition, first FROM index_gaps WHERE unreadable`)
}
