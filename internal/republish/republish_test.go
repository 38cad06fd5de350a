package republish_test

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/republish"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func hole(offset int64, change ...func(*audit.Lost)) audit.Lost {
	l := audit.Lost{Finding: audit.Finding{Kind: audit.Hole, Partition: 2, Offset: offset, Time: noon, OutTradeNo: "T1"}, Replay: 3}
	for _, c := range change {
		c(&l)
	}
	return l
}

func TestPlan(t *testing.T) {
	plan := republish.Plan("requests", []audit.Lost{
		hole(5),
		hole(6, func(l *audit.Lost) { l.Gone = true }),
		hole(7, func(l *audit.Lost) { l.Request.ExpiresAt = noon }),
		hole(8, func(l *audit.Lost) { l.Request.ExpiresAt = noon.Add(2 * time.Hour) }),
	}, noon.Add(time.Hour))
	if plan.Replays != 3 || len(plan.Steps) != 4 {
		t.Fatalf("%+v", plan)
	}
	for i, want := range []struct {
		skip deadletters.Skip
		why  string
	}{
		{"", ""},
		{deadletters.Deleted, "the record is gone: its order service must ask again"},
		{"", "expires_at 2026-03-01T12:00:00Z has passed: the outcome will be failed, EXPIRED"},
		{"", ""},
	} {
		s := plan.Steps[i]
		if at := (events.Source{Topic: "requests", Partition: 2, Offset: int64(5 + i)}); s.Skip != want.skip || s.Why != want.why || s.At != at || s.Source != at || s.To != 2 || s.Replay != 3 {
			t.Errorf("%+v", s)
		}
	}
}

func TestMessage(t *testing.T) {
	step := republish.Plan("requests", []audit.Lost{hole(5)}, noon).Steps[0]
	rec := kafka.Record{Time: noon, Message: events.Message{Key: []byte("k"), Value: []byte{0xff}, Headers: []events.Header{
		{Key: events.HeaderReplay, Value: []byte("2")}, {Key: "a", Value: []byte("1")}, {Key: events.HeaderReplayReason, Value: []byte("old")},
	}}}
	m, reason, err := republish.Message(step, rec)
	if err != nil || reason != "" || string(m.Key) != "k" || string(m.Value) != "\xff" || len(m.Headers) != 2 || m.Headers[0].Key != "a" ||
		m.Headers[1].Key != events.HeaderReplay || string(m.Headers[1].Value) != "3" {
		t.Errorf("%+v, %q, %v", m, reason, err)
	}
	rec.Time = noon.Add(time.Second)
	if _, reason, err := republish.Message(step, rec); err == nil || reason != deadletters.Deleted {
		t.Errorf("a record of another log: %q, %v", reason, err)
	}
}
