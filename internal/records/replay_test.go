package records

import (
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events"
)

func TestAReplaySaysWhichWhoAndWhyAndTheNextOneSaysItAnew(t *testing.T) {
	own := []events.Header{{Key: "a", Value: []byte("1")}, {Key: "null"}, {Key: "a", Value: []byte{0xff}}}
	original := events.Message{Key: []byte("K"), Value: []byte(`{"mch_id":"1","out_trade_no":"T1"}`), Headers: own}
	d := DeadLetter{Original: original}
	for n, r := range []Replay{{ID: "first", By: "ops@host", Reason: "密钥 mended"}, {ID: "second"}, {}} {
		m, err := d.ReplayMessage()
		if err != nil {
			t.Fatal(err)
		}
		m = r.Stamp(m)
		if got := ReplayOf(m); got != r {
			t.Errorf("replay %d says %+v, want %+v", n+1, got, r)
		}
		q, err := events.DecodeRequest(m)
		if err != nil || q.Replay != n+1 || q.OutTradeNo != "T1" {
			t.Errorf("replay %d is read as %+v, %v", n+1, q, err)
		}
		left := slices.DeleteFunc(slices.Clone(m.Headers), func(h events.Header) bool { return events.OfReplay(h.Key) })
		if !slices.EqualFunc(left, own, func(a, b events.Header) bool {
			return a.Key == b.Key && string(a.Value) == string(b.Value) && (a.Value == nil) == (b.Value == nil)
		}) {
			t.Errorf("replay %d has the headers %q", n+1, m.Headers)
		}
		// It dies again, as the worker writes it.
		if d, err = DecodeDeadLetter(EncodeDeadLetter(DeadLetter{Original: m, ErrorCode: "X", Replay: q.Replay, Source: events.Source{Topic: "t"}})); err != nil {
			t.Fatal(err)
		}
	}
	if len(original.Headers) != 3 {
		t.Errorf("the original has changed: %q", original.Headers)
	}
}

func TestAHeaderOfAReplayAloneIsNoSlip(t *testing.T) {
	m := Replay{ID: "x", By: "y", Reason: "z"}.Stamp(events.Message{Value: []byte(`{"mch_id":"1","out_trade_no":"T1"}`)})
	if q, err := events.DecodeRequest(m); err != nil || q.Replay != 0 {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestWhatAReplayMaySay(t *testing.T) {
	for sentence, c := range map[string]struct {
		replay Replay
		says   string
	}{
		"nothing":               {Replay{}, ""},
		"words of any language": {Replay{ID: "20260131T080000Z-abc", By: "李雷@ops", Reason: "商户密钥　已改"}, ""},
		"a line break":          {Replay{Reason: "a\nb"}, "the reason of a replay is no text of one line"},
		"what a terminal obeys": {Replay{By: "\x1b[2J"}, "who replays is no text of one line"},
		"no UTF-8":              {Replay{ID: "\xff"}, "the id of a replay is no text of one line"},
		"a novel":               {Replay{Reason: strings.Repeat("x", 1025)}, "the reason of a replay has 1025 bytes, at most 1024 are allowed"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if err := c.replay.Check(); (err == nil) != (c.says == "") || err != nil && !strings.HasPrefix(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
