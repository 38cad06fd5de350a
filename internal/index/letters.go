package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
)

// Letter is a dead letter as it is listed, and what became of its request since.
type Letter struct {
	deadletters.Listed
	// Since is the final outcome of the same request by now, closed or paid, empty
	// where there is none; by the replay of that number.
	Since       events.Result `json:"since,omitempty"`
	SinceReplay int           `json:"since_replay,omitempty"`
}

// Letters is a view of the dead letters.
type Letters struct {
	// Total is how many match, Letters the newest of them first.
	Total   int64    `json:"total"`
	Letters []Letter `json:"dead_letters"`
}

// LetterFilter chooses dead letters.
type LetterFilter struct {
	deadletters.Filter
	// Open leaves out those whose request has a final outcome by now.
	Open bool
}

// where is the filter as a condition. It chooses what Filter.Matches chooses.
func (f LetterFilter) where() (condition string, args []any) {
	conditions := []string{"1"}
	add := func(condition string, with ...any) {
		conditions = append(conditions, condition)
		args = append(args, with...)
	}
	if !f.Since.IsZero() {
		add("failed >= ?", moment(f.Since))
	}
	if !f.Until.IsZero() {
		add("failed < ?", moment(f.Until))
	}
	if len(f.Codes) > 0 {
		codes := make([]any, len(f.Codes))
		for i, code := range f.Codes {
			codes[i] = folded(code)
		}
		add("code IN (?"+strings.Repeat(", ?", len(codes)-1)+")", codes...)
	}
	for _, one := range []struct{ column, value string }{{"mch_id", f.MchID}, {"out_trade_no", f.OutTradeNo}} {
		if one.value != "" {
			add(one.column+" = ?", one.value)
			if one.column == "out_trade_no" {
				add("out_trade_no <> ''") // so that its index is taken
			}
		}
	}
	if f.Open {
		add("since IS NULL")
	}
	return " WHERE " + strings.Join(conditions, " AND "), args
}

// folded is a code so that two are equal where strings.EqualFold says so.
func folded(code string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, code)
}

// Letters lists dead letters, the newest first: limit of them behind the first skip.
func (x *Index) Letters(ctx context.Context, f LetterFilter, limit, skip int) (Letters, error) {
	all := Letters{Letters: []Letter{}}
	err := x.look(ctx, func(q querier) error {
		where, args := f.where()
		if err := q.QueryRowContext(ctx, `SELECT count(*) FROM index_letters`+where, args...).Scan(&all.Total); err != nil {
			return err
		}
		return each(ctx, q, func(rows *sql.Rows) error {
			l, err := scanLetter(rows)
			all.Letters = append(all.Letters, l)
			return err
		}, `SELECT listed, since, since_replay FROM index_letters`+where+` ORDER BY failed DESC, at DESC LIMIT ? OFFSET ?`, append(slices.Clone(args), max(limit, 0), max(skip, 0))...)
	})
	return all, err
}

func scanLetter(rows *sql.Rows) (l Letter, err error) {
	var listed string
	var result, replay sql.NullInt64
	if err := rows.Scan(&listed, &result, &replay); err != nil {
		return l, err
	}
	l.Since, l.SinceReplay = words[result.Int64], int(replay.Int64)
	return l, json.Unmarshal([]byte(listed), &l.Listed)
}

// look asks several questions about one moment.
func (x *Index) look(ctx context.Context, do func(querier) error) error {
	tx, err := x.cfg.DB.Read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return x.cfg.DB.Explain(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	return x.cfg.DB.Explain(do(tx))
}

// Group is the dead letters of one code, of one merchant, or of both, or of an age.
type Group struct {
	Code   string    `json:"code,omitempty"`
	MchID  string    `json:"mch_id,omitempty"`
	Day    string    `json:"day,omitempty"` // 2026-01-31, in UTC
	Count  int64     `json:"count"`
	Open   int64     `json:"open"` // without a final outcome by now
	First  time.Time `json:"first"`
	Latest time.Time `json:"latest"`
	// Message is that of the latest one.
	Message string `json:"message,omitempty"`
}

// By is what dead letters are grouped by.
type By string

// What they can be grouped by. Codes that differ in upper and lower case alone are one.
const (
	ByCode     By = "code"
	ByMerchant By = "merchant"
	ByBoth     By = "code_and_merchant"
	ByDay      By = "day"
)

// keys are what letters of one group have in common, and their order.
var keys = map[By]struct{ columns, order string }{
	ByCode:     {"code", "n DESC, code"},
	ByMerchant: {"mch_id", "n DESC, mch_id"},
	ByBoth:     {"code, mch_id", "n DESC, code, mch_id"},
	ByDay:      {"day", "day DESC"},
}

// Groups groups the dead letters that match, the largest first, of days the newest
// first; at most limit.
func (x *Index) Groups(ctx context.Context, f LetterFilter, by By, limit int) ([]Group, error) {
	key, known := keys[by]
	if !known {
		return nil, fmt.Errorf("dead letters are not grouped by %q", by)
	}
	groups := []Group{}
	where, args := f.where()
	err := each(ctx, x.cfg.DB.Read, func(rows *sql.Rows) error {
		var g Group
		var first, latest string
		if err := rows.Scan(&g.Count, &g.Open, &first, &latest); err != nil {
			return err
		}
		var one, last deadletters.Listed
		if err := json.Unmarshal([]byte(first), &one); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(latest), &last); err != nil {
			return err
		}
		g.First, g.Latest, g.Message = one.FailedAt, last.FailedAt, last.Message
		if by == ByCode || by == ByBoth {
			g.Code = last.Code
		}
		if by == ByMerchant || by == ByBoth {
			g.MchID = last.MchID
		}
		if by == ByDay {
			g.Day = last.FailedAt.Format(time.DateOnly)
		}
		groups = append(groups, g)
		return nil
	}, fmt.Sprintf(`
		WITH chosen AS (SELECT at, failed, code, mch_id, since, floor(failed / %[3]d.0) AS day FROM index_letters%[4]s),
		-- The others of a row are those of the one with the most.
		latest AS (SELECT %[1]s, count(*) AS n, sum(since IS NULL) AS open, max(failed) AS f, at FROM chosen GROUP BY %[1]s),
		earliest AS (SELECT %[1]s, min(failed) AS f, at FROM chosen GROUP BY %[1]s)
		SELECT l.n, l.open, (SELECT listed FROM index_letters WHERE at = e.at), (SELECT listed FROM index_letters WHERE at = l.at)
		FROM latest l JOIN earliest e USING (%[1]s) ORDER BY %[2]s LIMIT ?`, key.columns, key.order, 24*time.Hour, where), append(args, max(limit, 0))...)
	return groups, x.cfg.DB.Explain(err)
}
