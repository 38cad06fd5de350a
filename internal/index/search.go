package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// columns are those of a Request, of r, joined with its merchant m and its code c.
const columns = `r.at, r.requested, m.mch_id, m.sub_mch_id, r.out_trade_no, r.request_id, r.replay, r.outcome, c.code, r.safe, r.completed, r.transaction_id`

const joined = ` FROM index_requests r JOIN index_merchants m ON m.id = r.merchant LEFT JOIN index_codes c ON c.id = r.code `

func scanRequest(rows *sql.Rows) (q Request, err error) {
	var at int64
	var requested, outcome, completed sql.NullInt64
	var requestID, code, transaction sql.NullString
	var safe sql.NullBool
	if err := rows.Scan(&at, &requested, &q.MchID, &q.SubMchID, &q.OutTradeNo, &requestID, &q.Replay, &outcome, &code, &safe, &completed, &transaction); err != nil {
		return q, err
	}
	q.Partition, q.Offset = partitionOf(at), offsetOf(at)
	q.RequestID = unpacked(requestID, events.Order{MchID: q.MchID, SubMchID: q.SubMchID, OutTradeNo: q.OutTradeNo})
	if q.Gone = !requested.Valid; !q.Gone {
		q.Requested = time.UnixMilli(requested.Int64).UTC()
	}
	if outcome.Valid {
		q.Outcome, q.Code, q.SafeToReissue, q.TransactionID = words[outcome.Int64], code.String, safe.Bool, transaction.String
		q.CompletedAt = momentOf(completed.Int64)
	}
	return q, nil
}

func (x *Index) requests(ctx context.Context, query string, args ...any) (all []Request, err error) {
	err = each(ctx, x.cfg.DB.Read, func(rows *sql.Rows) error {
		q, err := scanRequest(rows)
		all = append(all, q)
		return err
	}, `SELECT `+columns+joined+query, args...)
	return all, x.cfg.DB.Explain(err)
}

// Search finds requests by out_trade_no, request_id or transaction_id, whole, the
// newest first, and then those whose out_trade_no begins so, in the order of their
// numbers, the highest first; at most limit. An empty text finds the newest.
func (x *Index) Search(ctx context.Context, text string, limit int) ([]Request, error) {
	if limit <= 0 {
		return nil, nil
	}
	if text == "" {
		return x.newest(ctx, limit)
	}
	const newest = ` ORDER BY r.requested DESC, r.at DESC LIMIT ?`
	// One question each, so that each goes by its own index.
	found, err := x.requests(ctx, `WHERE r.out_trade_no = ? AND r.out_trade_no <> ''`+newest, text, limit)
	if err != nil {
		return nil, err
	}
	byRequest, err := x.requests(ctx, `WHERE r.request_id = ?`+newest, text, limit)
	if err != nil {
		return nil, err
	}
	byTransaction, err := x.requests(ctx, `WHERE r.transaction_id = ?`+newest, text, limit)
	if err != nil {
		return nil, err
	}
	made, err := x.byMadeRequestID(ctx, text, newest, limit)
	if err != nil {
		return nil, err
	}
	found = slices.Concat(found, byRequest, byTransaction, made)
	slices.SortStableFunc(found, func(a, b Request) int { return b.Requested.Compare(a.Requested) })
	if len(found) < limit {
		begins, err := x.requests(ctx, `WHERE r.out_trade_no > ? AND r.out_trade_no < ? AND r.out_trade_no <> '' ORDER BY r.out_trade_no DESC, r.at DESC LIMIT ?`,
			text, text+"\U0010ffff", limit)
		if err != nil {
			return nil, err
		}
		found = append(found, begins...)
	}
	return once(found, limit), nil
}

// byMadeRequestID finds requests by a request_id that was made of their order.
func (x *Index) byMadeRequestID(ctx context.Context, text, newest string, limit int) ([]Request, error) {
	parts := strings.Split(text, "/")
	if parts[0] != "order" || len(parts) != 3 && len(parts) != 4 {
		return nil, nil
	}
	sub := ""
	if len(parts) == 4 {
		sub = parts[2]
	}
	return x.requests(ctx, `WHERE r.out_trade_no = ? AND r.out_trade_no <> '' AND m.mch_id = ? AND m.sub_mch_id = ? AND r.request_id IS NULL`+newest,
		parts[len(parts)-1], parts[1], sub, limit)
}

// once leaves out what stands there twice, and what is over the limit.
func once(found []Request, limit int) []Request {
	seen := make(map[int64]bool, len(found))
	found = slices.DeleteFunc(found, func(q Request) bool {
		at, _ := place(q.Partition, q.Offset)
		was := seen[at]
		seen[at] = true
		return was
	})
	return found[:min(limit, len(found))]
}

// newest are those with the latest timestamps, of the last ones of each partition.
func (x *Index) newest(ctx context.Context, limit int) ([]Request, error) {
	var partitions []int64
	err := each(ctx, x.cfg.DB.Read, func(rows *sql.Rows) error {
		var p int64
		err := rows.Scan(&p)
		partitions = append(partitions, p)
		return err
	}, `SELECT partition FROM index_positions WHERE topic = 0`)
	if err != nil {
		return nil, x.cfg.DB.Explain(err)
	}
	var all []Request
	for _, p := range partitions {
		last, err := x.requests(ctx, `WHERE r.at >= ? AND r.at < ? AND r.requested IS NOT NULL ORDER BY r.at DESC LIMIT ?`, p<<offsetBits, (p+1)<<offsetBits, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, last...)
	}
	slices.SortStableFunc(all, func(a, b Request) int { return b.Requested.Compare(a.Requested) })
	return all[:min(limit, len(all))], nil
}

// At is what became of the records at some places of the requests topic: of those
// that were sent by a replay. A place that is not indexed yet is not in it.
func (x *Index) At(ctx context.Context, places []events.Source) (map[events.Source]Request, error) {
	found := make(map[events.Source]Request, len(places))
	// As many at one time as SQLite takes without a thought.
	for some := range slices.Chunk(places, 500) {
		var args []any
		for _, at := range some {
			if n, ok := place(at.Partition, at.Offset); ok && at.Topic == x.topics[requestsTopic] {
				args = append(args, n)
			}
		}
		if len(args) == 0 {
			continue
		}
		all, err := x.requests(ctx, fmt.Sprintf(`WHERE r.at IN (?%s)`, strings.Repeat(", ?", len(args)-1)), args...)
		if err != nil {
			return nil, err
		}
		for _, q := range all {
			found[events.Source{Topic: x.topics[requestsTopic], Partition: q.Partition, Offset: q.Offset}] = q
		}
	}
	return found, nil
}
