package index

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Minute counts the requests that were answered in one minute, by completed_at: of
// each request its first outcome.
type Minute struct {
	At     time.Time `json:"at"` // its beginning
	Closed int64     `json:"closed"`
	Paid   int64     `json:"paid"`
	Failed int64     `json:"failed"`
	// Half and Most are how long requests took, from their timestamp to
	// completed_at, in milliseconds: the quantiles 0.5 and 0.99, within a tenth, 0
	// where no request is known.
	Half int64 `json:"p50_ms"`
	Most int64 `json:"p99_ms"`
}

// mostMinutes is how many are returned at one time: those of 31 days.
const mostMinutes = 31 * 24 * 60

// Minutes are those of a time, from since to before until, also those without an
// outcome; of 31 days at most.
func (x *Index) Minutes(ctx context.Context, since, until time.Time) ([]Minute, error) {
	from := floorDiv(since.Unix(), 60)
	to := floorDiv(until.Unix()+59, 60)
	if to-from > mostMinutes {
		return nil, fmt.Errorf("from %s to %s are more than 31 days: ask for less", since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	all := make([]Minute, max(to-from, 0))
	took := make([]map[int64]int64, len(all)) // by bucket
	for i := range all {
		all[i].At = time.Unix((from+int64(i))*60, 0).UTC()
	}
	err := each(ctx, x.cfg.DB.Read, func(rows *sql.Rows) error {
		var minute, outcome, bucket, n int64
		if err := rows.Scan(&minute, &outcome, &bucket, &n); err != nil {
			return err
		}
		i := minute - from
		m := &all[i]
		*map[int64]*int64{1: &m.Closed, 2: &m.Paid, 3: &m.Failed}[outcome] += n
		if bucket >= 0 {
			if took[i] == nil {
				took[i] = make(map[int64]int64)
			}
			took[i][bucket] += n
		}
		return nil
	}, `SELECT minute, outcome, bucket, n FROM index_minutes WHERE minute >= ? AND minute < ?`, from, to)
	for i := range all {
		all[i].Half, all[i].Most = quantile(took[i], 0.5), quantile(took[i], 0.99)
	}
	return all, x.cfg.DB.Explain(err)
}

// quantile is the least latency that a part of the requests did not exceed.
func quantile(took map[int64]int64, part float64) int64 {
	var all int64
	for _, n := range took {
		all += n
	}
	left := part * float64(all)
	for _, bucket := range slices.Sorted(maps.Keys(took)) {
		if left -= float64(took[bucket]); left <= 0 {
			return middle(bucket)
		}
	}
	return 0
}
