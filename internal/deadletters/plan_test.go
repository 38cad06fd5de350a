package deadletters_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
)

// garbage names no request.
var garbage = events.Message{Value: []byte("<xml>")}

func TestWhatIsReplayedAndWhatIsNot(t *testing.T) {
	for _, c := range []struct {
		what  string
		plant func(p *planted)
		want  string
	}{
		{"nothing died", func(p *planted) {
			p.write("requests", 0, message("A", 0))
		}, ""},
		{"what failed is replayed, in the order of the failures", func(p *planted) {
			p.dead("B")
			p.dead("A")
		}, "B: replay 1\nA: replay 1\n"},
		{"a request that was closed by its replay", func(p *planted) {
			p.dead("A")
			m := message("A", 1)
			p.outcome(m, p.write("requests", 0, m), events.Closed)
		}, "A: answered: closed, by replay 1\n"},
		{"a request whose other record was answered", func(p *planted) {
			m := message("A", 0)
			p.outcome(m, p.write("requests", 1, m), events.Paid)
			p.dead("A")
		}, "A: answered: paid\n"},
		{"a request that was asked again plainly and closed", func(p *planted) {
			p.dead("A")
			m := message("A", 0)
			p.outcome(m, p.write("requests", 0, m), events.Closed)
		}, "A: answered: closed\n"},
		{"a request that a second replay of the same number has closed", func(p *planted) {
			p.dead("A")
			for _, r := range []events.Result{events.Failed, events.Closed} {
				m := message("A", 1)
				at := p.write("requests", 0, m)
				p.outcome(m, at, r)
				if r == events.Failed {
					p.dies(m, at, "PARAM_ERROR")
				}
			}
		}, "A: answered: closed, by replay 1\nA: answered: closed, by replay 1\n"},
		{"a record that failed and was closed when it was served once more", func(p *planted) {
			p.outcome(message("A", 0), p.dead("A"), events.Closed)
		}, "A: answered: closed\n"},
		{"an answer to another request of the order answers nothing", func(p *planted) {
			other := message("A", 0)
			other.Value = []byte(`{"mch_id":"1900000109","out_trade_no":"A","request_id":"another"}`)
			p.outcome(other, p.write("requests", 1, other), events.Closed)
			p.dead("A")
		}, "A: replay 1\n"},
		{"a failed outcome that stands behind a closed one takes nothing back", func(p *planted) {
			p.dead("A")
			again := message("A", 1)
			p.outcome(again, p.write("requests", 0, again), events.Closed)
			p.outcome(message("A", 0), events.Source{Topic: "requests"}, events.Failed)
		}, "A: answered: closed, by replay 1\n"},
		{"a replay that is under way", func(p *planted) {
			p.dead("A")
			p.write("requests", 1, message("A", 1))
		}, "A: replayed: replay 1 is under way\n"},
		{"a replay that failed is replayed itself", func(p *planted) {
			p.dead("A")
			m := message("A", 1)
			at := p.write("requests", 0, m)
			p.dies(m, at, "PARAM_ERROR")
			p.outcome(m, at, events.Failed)
		}, "A: replayed: replay 1 has failed too and has a dead letter of its own\nA: replay 2\n"},
		{"no more than so many replays", func(p *planted) {
			p.dies(message("A", 2), events.Source{Topic: "requests"}, "PARAM_ERROR")
			p.dies(message("B", 3), events.Source{Topic: "requests", Offset: 1}, "PARAM_ERROR")
		}, "A: replay 3\nB: max_replays: replayed 3 times: --max-replays 3\n"},
		{"two dead letters of one request", func(p *planted) {
			at := p.dead("A")
			p.dies(message("A", 0), at, events.CodeUnknownMerchant) // after a crash
		}, "A: replay 1\nA: repeated: another dead letter of the same request is replayed\n"},
		{"a request that has expired", func(p *planted) {
			for order, expires := range map[string]string{"A": "2026-03-02T12:00:00Z"} {
				m := events.Message{Value: fmt.Appendf(nil, `{"mch_id":"1","out_trade_no":%q,"expires_at":%q}`, order, expires)}
				p.dies(m, p.write("requests", 0, m), "PARAM_ERROR")
			}
		}, "A: expired: expires_at 2026-03-02T12:00:00Z has passed: it would not be closed\n"},
		{"a record that is no dead letter", func(p *planted) {
			p.write("dead", 1, message("A", 0))
			p.dead("B")
		}, "A: unreadable: it is no dead letter: closeorder-error-code: is required; closeorder-failed-at: is required; closeorder-attempts: is required; closeorder-replay: is required; closeorder-source-topic: is required; closeorder-source-partition: is required; closeorder-source-offset: is required\nB: replay 1\n"},
		{"requests that name nothing are known by their bytes", func(p *planted) {
			p.dies(garbage, p.write("requests", 0, garbage), events.CodeInvalidRequest)
			p.dies(garbage, p.write("requests", 0, garbage), events.CodeInvalidRequest)
			other := events.Message{Value: []byte("<xml/>")}
			p.dies(other, p.write("requests", 0, other), events.CodeInvalidRequest)
			p.write("requests", 0, withReplay(other, 1))
		}, "-: replay 1\n-: repeated: another dead letter of the same request is replayed\n-: replayed: replay 1 is under way\n"},
		{"no more than so many in a run", func(p *planted) {
			p.dead("A")
			p.dead("B")
			p.dead("C")
			p.options.Limit = 2
		}, "A: replay 1\nB: replay 1\nC: over_limit: left for another run: --limit 2\n"},
		{"only a code, however it is written", func(p *planted) {
			p.dead("A")
			p.dies(message("B", 0), events.Source{Topic: "requests", Offset: 9}, "PARAM_ERROR")
			p.write("dead", 1, garbage)
			p.options.Filter.Codes = []string{"x", "param_error"}
		}, "B: replay 1\n"},
		{"only a merchant", func(p *planted) {
			p.dead("A")
			m := events.Message{Value: []byte(`{"mch_id":"2","out_trade_no":"B"}`)}
			p.dies(m, p.write("requests", 0, m), "PARAM_ERROR")
			p.options.Filter.MchID = "2"
		}, "B: replay 1\n"},
		{"only an order", func(p *planted) {
			p.dead("A")
			p.dead("B")
			p.options.Filter.OutTradeNo = "A"
		}, "A: replay 1\n"},
		{"only a time, and a replay of it that lies outside", func(p *planted) {
			p.dead("A") // failed two minutes after noon
			p.now = noon.Add(2 * time.Hour)
			p.dead("B")
			p.dead("C")
			m := message("B", 1)
			p.now = noon.Add(4 * time.Hour)
			p.dies(m, p.write("requests", 1, m), "PARAM_ERROR")
			p.options.Filter.Since, p.options.Filter.Until = noon.Add(2*time.Hour), noon.Add(3*time.Hour)
		}, "B: replayed: replay 1 has failed too and has a dead letter of its own\nC: replay 1\n"},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := plant(t)
			c.plant(p)
			plan := p.plan()
			if got := steps(plan); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if n := len(regexp.MustCompile(`(?m)^[^:]+: replay \d$`).FindAllString(c.want, -1)); n != plan.Replays {
				t.Errorf("%d replays, want %d", plan.Replays, n)
			}
		})
	}
}

// A dead letter with a time that Kafka does not know must not stop the others.
func TestAFailureOfLongAgoStopsNothing(t *testing.T) {
	p := plant(t)
	p.dead("A")
	m := message("B", 0)
	p.dies(m, p.write("requests", 0, m), "X", func(d *records.DeadLetter) { d.FailedAt = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC) })
	if got := steps(p.plan()); got != "B: replay 1\nA: replay 1\n" {
		t.Errorf("got\n%s", got)
	}
}

func omitted(d *records.DeadLetter) { d.ValueOmitted = events.CodeRecordTooLarge }

func TestAValueThatWasLeftOutIsReadWhereTheRequestStands(t *testing.T) {
	gone := "original_gone: the dead letter has no value, and the original "
	for _, c := range []struct {
		what  string
		plant func(p *planted)
		want  string
	}{
		{"it is there", func(p *planted) {
			p.dies(message("A", 0), p.write("requests", 1, message("A", 0)), "PARAM_ERROR", omitted)
		}, "A: replay 1\n"},
		{"it was deleted", func(p *planted) {
			p.dies(message("A", 0), p.write("requests", 1, message("A", 0)), "PARAM_ERROR", omitted)
			p.deletes("requests", 1, 1)
		}, "-: " + gone + "cannot be read: requests, partition 1, offset 0: the record was deleted: the log begins at offset 1\n"},
		{"the topic was made anew", func(p *planted) {
			p.dies(message("A", 0), events.Source{Topic: "requests", Partition: 1, Offset: 7}, "PARAM_ERROR", omitted)
		}, "-: " + gone + "cannot be read: requests, partition 1, offset 7: there is no such partition, or it is empty\n"},
		{"another record stands there", func(p *planted) {
			p.dies(message("A", 0), p.write("requests", 0, message("B", 0)), "PARAM_ERROR", omitted)
		}, "-: " + gone + "has another key at requests, partition 0, offset 0\n"},
		{"a record of the same key and another time stands there", func(p *planted) {
			p.dies(message("A", 0), p.write("requests", 0, message("A", 0)), "PARAM_ERROR", omitted,
				func(d *records.DeadLetter) { d.SourceTimestamp = noon.Add(-time.Hour) })
		}, "-: " + gone + "has another timestamp at requests, partition 0, offset 0\n"},
		{"a record with other headers stands there", func(p *planted) {
			p.dies(message("A", 1), p.write("requests", 0, message("A", 2)), "PARAM_ERROR", omitted)
		}, "-: " + gone + "has other headers at requests, partition 0, offset 0\n"},
		{"the headers were left out too, and are those of the record", func(p *planted) {
			m := message("A", 0)
			m.Headers = []events.Header{{Key: "h", Value: []byte("large")}}
			p.dies(m, p.write("requests", 0, m), "PARAM_ERROR", func(d *records.DeadLetter) {
				d.Original.Headers = nil
				d.ValueOmitted = records.OmittedHeaders
			})
		}, "A: replay 1\n"},
		{"the key was left out as well", func(p *planted) {
			m := message("A", 0)
			p.dies(m, p.write("requests", 0, m), "PARAM_ERROR", func(d *records.DeadLetter) {
				d.Original.Key, d.Original.Headers, d.ValueOmitted = nil, nil, records.OmittedKey
			})
		}, "A: replay 1\n"},
		{"the topic is gone", func(p *planted) {
			p.dies(message("A", 0), events.Source{Topic: "old"}, "PARAM_ERROR", omitted)
		}, "-: " + gone + "cannot be read: topic old does not exist; create it with: closeorder topics create\n"},
		{"a filter sees what it asks for, too", func(p *planted) {
			p.dies(message("A", 0), p.write("requests", 1, message("A", 0)), "PARAM_ERROR", omitted)
			p.dies(message("B", 0), p.write("requests", 1, message("B", 0)), "PARAM_ERROR", omitted)
			p.options.Filter.OutTradeNo = "B"
		}, "B: replay 1\n"},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := plant(t)
			c.plant(p)
			if got := steps(p.plan()); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestALetterIsFoundAtItsPlace(t *testing.T) {
	p := plant(t)
	source := p.dead("A")
	l, err := deadletters.Get(p.ctx, p.reader, events.Source{Topic: "dead"})
	if err != nil || l.Err != nil || l.Source != source || l.Request.OutTradeNo != "A" || !l.Time().Equal(noon.Add(2*time.Minute)) {
		t.Errorf("%+v, %v", l, err)
	}
	for at, want := range map[events.Source]string{
		{Topic: "dead", Offset: 1}:    "dead, partition 0, offset 1: there is no such record yet: the log ends at offset 1",
		{Topic: "dead", Partition: 1}: "dead, partition 1, offset 0: there is no such partition, or it is empty",
		{Topic: "dead", Partition: 9}: "dead, partition 9, offset 0: there is no such partition, or it is empty",
	} {
		if _, err := deadletters.Get(p.ctx, p.reader, at); err == nil || err.Error() != want {
			t.Errorf("%+v: %v", at, err)
		}
	}
}
