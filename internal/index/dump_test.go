package index

import (
	"context"
	"database/sql"
	"fmt"
)

// dumps are the tables, with names in the place of their numbers.
var dumps = []string{
	`SELECT 'position', topic, partition, floor, next FROM index_positions ORDER BY 2, 3`,
	`SELECT 'request', r.at, r.requested, m.mch_id, m.sub_mch_id, r.out_trade_no, r.request_id, r.replay, r.outcome, c.code, r.safe, r.completed, r.transaction_id, r.answered ` + joined + `ORDER BY r.at`,
	`SELECT 'follows', topic, at, source, number FROM index_follows ORDER BY topic, at, number`,
	`SELECT 'letter', at, failed, code, mch_id, sub_mch_id, out_trade_no, request_id, replay, source, since, since_replay, listed FROM index_letters ORDER BY at`,
	`SELECT 'minute', minute, outcome, bucket, n FROM index_minutes ORDER BY 2, 3, 4`,
	`SELECT 'gap', topic, partition, first, last, unreadable, says FROM index_gaps ORDER BY 2, 3, 4`,
}

func dump(ctx context.Context, db *sql.DB) (all []string, err error) {
	for _, query := range dumps {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return nil, err
		}
		columns, err := rows.Columns()
		if err != nil {
			return nil, err
		}
		values := make([]any, len(columns))
		to := make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(to...); err != nil {
				return nil, err
			}
			all = append(all, fmt.Sprint(values...))
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}
