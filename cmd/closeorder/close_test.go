package main

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
)

// A time is given as RFC 3339 has it, in every spelling of it.
func TestCloseTakesTheTimesOfRFC3339(t *testing.T) {
	want := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"2026-01-31T08:00:00+08:00", "2026-01-31 08:00:00+08:00", "2026-01-31t00:00:00z", "2026-01-31 00:00:00.000Z", " 2026-01-31T00:00:00Z"} {
		o := closer.Order{MchID: "1", OutTradeNo: "T1"}
		if err := checkCloseFlags(&o, s); err != nil || !o.CreatedAt.Equal(want) {
			t.Errorf("%q: %v, %v", s, o.CreatedAt, err)
		}
	}
	for _, s := range []string{"2026-01-31", "2026-01-31 08:00:00", "1769846400000", "2026-01-31T08:00:00 CST", "yesterday"} {
		o := closer.Order{MchID: "1", OutTradeNo: "T1"}
		if err := checkCloseFlags(&o, s); err == nil {
			t.Errorf("%q is taken for %v", s, o.CreatedAt)
		}
	}
}
