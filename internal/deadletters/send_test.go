package deadletters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAReplayIsTheOriginalByteForByte(t *testing.T) {
	p := plant(t)
	large := slices.Concat([]byte(`{"mch_id":"1","out_trade_no":"L","x":"`), bytes.Repeat([]byte("x"), 900<<10), []byte(`"}`))
	originals := []events.Message{
		{Key: []byte("\x00\xff"), Value: []byte(` { "mch_id":"1" ,  "out_trade_no":"A","x":1} `), Headers: []events.Header{
			{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null"},
		}},
		{Value: []byte("not JSON \xff")},
		{Key: []byte{}, Value: nil},
		{Key: []byte("L"), Value: large},
		// A request that was replayed twice, with a header that it must lose.
		withReplay(events.Message{Key: []byte("C"), Value: []byte(`{"mch_id":"1","out_trade_no":"C"}`)}, 2),
		// Somebody sent a dead letter to the requests topic.
		records.EncodeDeadLetter(records.DeadLetter{Original: message("D", 0), ErrorCode: "X", FailedAt: noon, Source: events.Source{Topic: "t"}}),
	}
	var at []events.Source
	for i, m := range originals {
		at = append(at, p.write("requests", 0, m))
		p.dies(m, at[i], "PARAM_ERROR")
	}
	keyless := events.Message{Value: []byte(`{"mch_id":"1","out_trade_no":"K"}`)}
	originals = append(originals, keyless)
	p.dies(keyless, p.write("requests", 0, keyless), "PARAM_ERROR", func(d *records.DeadLetter) { d.StandInKey = true })
	left := message("O", 0)
	originals = append(originals, left)
	p.dies(left, p.write("requests", 1, left), "RECORD_TOO_LARGE", omitted)

	end, err := p.reader.End(p.ctx, "requests")
	if err != nil {
		t.Fatal(err)
	}
	landed := map[events.Source]events.Source{}
	s := p.sending()
	s.OnSent = func(step deadletters.Step, at events.Source) { landed[step.Source] = at }
	if err := s.Send(p.ctx, p.plan()); err != nil {
		t.Fatal(err)
	}
	got := p.requests(end)
	if len(got) != len(originals) || len(landed) != len(originals) {
		t.Fatalf("%d were sent, %d reported, want %d", len(got), len(landed), len(originals))
	}
	for _, want := range originals {
		n := "1"
		want.Headers = slices.DeleteFunc(slices.Clone(want.Headers), func(h events.Header) bool {
			if h.Key == events.HeaderReplay && string(h.Value) == "2" {
				n = "3"
			}
			return h.Key == events.HeaderReplay
		})
		want.Headers = append(want.Headers, events.Header{Key: events.HeaderReplay, Value: []byte(n)})
		if !slices.ContainsFunc(got, func(m events.Message) bool { return same(m, want) }) {
			t.Errorf("%.80q %.80q with %q is not among what was sent", want.Key, want.Value, want.Headers)
		}
	}
	// And nothing is left to do.
	if again := p.plan(); again.Replays != 0 {
		t.Errorf("a second time:\n%s", steps(again))
	}
}

func same(a, b events.Message) bool {
	equal := func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }
	return equal(a.Key, b.Key) && equal(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y events.Header) bool { return x.Key == y.Key && equal(x.Value, y.Value) })
}

func TestAReplayThatIsStoppedGoesOnWhereItStopped(t *testing.T) {
	p := plant(t)
	for i := range 30 {
		p.dead(fmt.Sprint("T", i))
	}
	stop := errors.New("stopped")
	for runs := 1; ; runs++ {
		plan := p.plan()
		if plan.Replays == 0 {
			if runs != 5 {
				t.Errorf("done after %d runs", runs-1)
			}
			break
		}
		if runs == 5 {
			t.Fatalf("still to do after 4 runs:\n%s", steps(plan))
		}
		ctx, cancel := context.WithCancelCause(p.ctx)
		n := 0
		s := p.sending()
		s.Rate = 1000 // chunks of 100: but for the first run
		if runs < 4 {
			s.Rate = 19 // chunks of one
		}
		s.OnSent = func(deadletters.Step, events.Source) {
			if n++; n == 9 && runs < 4 {
				cancel(stop)
			}
		}
		if err := s.Send(ctx, plan); runs < 4 && err != stop || runs >= 4 && err != nil {
			t.Errorf("run %d: %v", runs, err)
		}
		cancel(nil)
		if runs < 4 && n != 9 {
			t.Errorf("run %d: %d sent", runs, n)
		}
	}
	count := map[string]int{}
	for _, m := range p.requests(nil) {
		replay, _ := m.Header(events.HeaderReplay)
		count[string(m.Key)+" "+string(replay)]++
	}
	for i := range 30 {
		for _, replay := range []string{"", "1"} {
			if n := count[fmt.Sprint("T", i, " ", replay)]; n != 1 {
				t.Errorf("T%d with replay %q: %d times", i, replay, n)
			}
		}
	}
	if len(count) != 60 {
		t.Errorf("%d requests", len(count))
	}
}

func TestWhatIsBeingWrittenWhenTheContextEndsIsFinished(t *testing.T) {
	p := plant(t)
	p.dead("A")
	p.dead("B")
	ctx, cancel := context.WithCancelCause(p.ctx)
	stop := errors.New("stopped")
	p.broker.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel(stop)
		return nil, nil, false
	})
	var sent []string
	s := p.sending()
	s.Rate = 19 // one at a time
	s.OnSent = func(step deadletters.Step, _ events.Source) { sent = append(sent, step.OutTradeNo) }
	if err := s.Send(ctx, p.plan()); err != stop {
		t.Errorf("ended with %v", err)
	}
	if strings.Join(sent, " ") != "A" || len(p.requests(nil)) != 3 {
		t.Errorf("%v were reported, %d requests are there", sent, len(p.requests(nil)))
	}
}

func TestWhatIsDeletedBetweenPlanAndSendingIsLeft(t *testing.T) {
	p := plant(t)
	p.dead("A")
	p.dead("B")
	m := message("C", 0)
	p.dies(m, p.write("requests", 1, m), "PARAM_ERROR", omitted)
	plan := p.plan()
	if plan.Replays != 3 {
		t.Fatal(steps(plan))
	}
	p.deletes("dead", 0, 1)
	p.deletes("requests", 1, 1)
	var left, sent []string
	s := p.sending()
	s.OnLeft = func(step deadletters.Step, reason deadletters.Skip, err error) {
		left = append(left, fmt.Sprintf("%s: %s: %v", step.OutTradeNo, reason, err))
	}
	s.OnSent = func(step deadletters.Step, _ events.Source) { sent = append(sent, step.OutTradeNo) }
	if err := s.Send(p.ctx, plan); err != nil {
		t.Fatal(err)
	}
	slices.Sort(left)
	if strings.Join(sent, " ") != "B" || len(left) != 2 || left[0] != "A: deleted: the dead letter was deleted meanwhile" || !strings.Contains(left[1], "C: original_gone: the dead letter has no value, and the original cannot be read") {
		t.Errorf("sent %v, left %v", sent, left)
	}
}

// The largest request that the topic takes does not fit any more once it has
// the number of its replay. What stands behind it is sent all the same.
func TestARecordThatTheTopicDoesNotTakeHoldsUpNothing(t *testing.T) {
	p := plantOn(t, map[string]string{"max.message.bytes": "100000"})
	noise := make([]byte, 99_925) // which no compression makes smaller
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	large := events.Message{Value: noise}
	p.dies(large, p.write("requests", 0, large), events.CodeInvalidRequest)
	for i := range 5 {
		p.dead(fmt.Sprint("S", i))
	}
	var sent, left []string
	s := p.sending()
	s.OnSent = func(step deadletters.Step, _ events.Source) { sent = append(sent, step.OutTradeNo) }
	s.OnLeft = func(step deadletters.Step, reason deadletters.Skip, err error) {
		left = append(left, fmt.Sprintf("%s: %s: %v", step.OutTradeNo, reason, err))
	}
	if err := s.Send(p.ctx, p.plan()); err != nil {
		t.Fatal(err)
	}
	if strings.Join(sent, " ") != "S0 S1 S2 S3 S4" || len(left) != 1 || !strings.HasPrefix(left[0], ": too_large: topic requests takes no record of ") {
		t.Errorf("sent %v, left %v", sent, left)
	}
	if plan := p.plan(); plan.Replays != 1 {
		t.Errorf("a second time:\n%s", steps(plan))
	}
	// Nor does it use up the limit of a run.
	p.dead("S5")
	p.dead("S6")
	p.options.Limit = 1
	sent, left = nil, nil
	plan := p.plan()
	if err := s.Send(p.ctx, plan); err != nil || strings.Join(sent, " ") != "S5" || len(left) != 1 || plan.Replays != 2 {
		t.Errorf("with a limit: sent %v, left %v, %v\n%s", sent, left, err, steps(plan))
	}
}

func TestReplaysKeepToTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := world.NewNetwork()
		k, err := world.StartKafka(network, 1, []broker.Topic{{Name: "requests", Partitions: 2}, {Name: "outcomes", Partitions: 2}, {Name: "dead", Partitions: 2}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
		p := plantIn(t, k.Addrs(), network.Boot("operator").DialContext)
		for i := range 60 {
			p.dead(fmt.Sprint("T", i))
		}
		plan := p.plan()
		for _, c := range []struct {
			rate float64
			want time.Duration
		}{{2, 29500 * time.Millisecond}, {20, 2900 * time.Millisecond}, {0, 0}} {
			began, n := time.Now(), 0
			s := p.sending()
			s.Rate = c.rate
			s.OnSent = func(deadletters.Step, events.Source) { n++ }
			if err := s.Send(p.ctx, plan); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); n != 60 || took < c.want || took > c.want+time.Second {
				t.Errorf("%v per second: %d in %v, want %v", c.rate, n, took, c.want)
			}
		}
	})
}

func TestEachCallsForWhatMatches(t *testing.T) {
	p := plant(t)
	for i := range 5 {
		p.dead(fmt.Sprint("T", i))
	}
	f := deadletters.Filter{Since: noon.Add(5 * time.Minute), Until: noon.Add(11 * time.Minute)}
	s, err := deadletters.Find(p.ctx, p.reader, "dead", f)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	seen := 0
	if err := deadletters.Each(p.ctx, p.reader, s, f, func() { seen++ }, func(l deadletters.Letter) error {
		got = append(got, l.Request.OutTradeNo)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != "T1 T2" || seen != 5 || s.Records() != 5 {
		t.Errorf("%v of %d", got, seen)
	}
	// A letter without its value is found by what its request says.
	m := message("O", 0)
	p.dies(m, p.write("requests", 1, m), "PARAM_ERROR", omitted)
	f = deadletters.Filter{OutTradeNo: "O", MchID: "1900000109"}
	if s, err = deadletters.Find(p.ctx, p.reader, "dead", f); err != nil {
		t.Fatal(err)
	}
	found := 0
	if err := deadletters.Each(p.ctx, p.reader, s, f, func() {}, func(l deadletters.Letter) error {
		if found++; l.Request.OutTradeNo != "O" || l.ValueOmitted == "" || l.Original.Value != nil {
			t.Errorf("found %+v", l)
		}
		return nil
	}); err != nil || found != 1 {
		t.Errorf("%d found, %v", found, err)
	}
	// Without a stretch of time, from the first record that is left.
	p.deletes("dead", 0, 2)
	if s, err = deadletters.Find(p.ctx, p.reader, "dead", deadletters.Filter{}); err != nil || s.Records() != 4 || s.From[0] != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}
