package deadletters_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAReplayThatGoesOnDoesNotSendOnceMoreWhatFailedAgain(t *testing.T) {
	p := plant(t)
	p.dead("A")
	end, err := p.reader.End(p.ctx, "requests")
	if err != nil {
		t.Fatal(err)
	}
	by := records.Replay{ID: "one", By: "ops", Reason: "the key is mended"}
	s := p.sending()
	s.Replay = by
	p.options.ReplayID = by.ID
	if err := s.Send(p.ctx, p.plan()); err != nil {
		t.Fatal(err)
	}
	sent := p.requests(end)
	if len(sent) != 1 || records.ReplayOf(sent[0]) != by {
		t.Fatalf("%d were sent, with %q", len(sent), sent)
	}
	p.dies(sent[0], p.write("requests", 0, message("ELSE", 0)), "PARAM_ERROR")
	const same = "A: replayed: replay 1 has failed too and has a dead letter of its own\n" +
		"A: failed_again: this very replay has sent it, and it has failed again; to send it once more give another --replay-id\n"
	if got := steps(p.plan()); got != same {
		t.Errorf("the same replay:\n%s", got)
	}
	p.options.ReplayID = "two"
	const another = "A: replayed: replay 1 has failed too and has a dead letter of its own\nA: replay 2\n"
	if got := steps(p.plan()); got != another {
		t.Errorf("another replay:\n%s", got)
	}
}

func TestOnlySomeLettersAreSteps(t *testing.T) {
	p := plant(t)
	// letter dies as a request, and returns where its dead letter is.
	letter := func(order string) events.Source {
		m := message(order, 0)
		return p.dies(m, p.write("requests", 0, m), "UNKNOWN_MERCHANT")
	}
	a, b, again := letter("A"), letter("B"), letter("B")
	gone := events.Source{Topic: "dead", Partition: 1, Offset: 7}
	for sentence, c := range map[string]struct {
		only []events.Source
		want string
	}{
		"those that are not named are no steps":                  {[]events.Source{a}, "A: replay 1\n"},
		"of two letters of a request the one that is named goes": {[]events.Source{again}, "B: replay 1\n"},
		"where both are named one goes":                          {[]events.Source{b, again}, "B: replay 1\nB: repeated: another dead letter of the same request is replayed\n"},
		"what is not there is no step":                           {[]events.Source{gone, a}, "A: replay 1\n"},
		"none is none, not all":                                  {[]events.Source{}, ""},
	} {
		p.options.Only = map[events.Source]bool{}
		for _, at := range c.only {
			p.options.Only[at] = true
		}
		if got := steps(p.plan()); got != c.want {
			t.Errorf("%s:\n%s", sentence, got)
		}
	}
	// One that is not named says of its request that it was replayed.
	p.dies(message("A", 1), p.write("requests", 0, message("A", 1)), "PARAM_ERROR")
	p.options.Only = map[events.Source]bool{a: true}
	if got := steps(p.plan()); got != "A: replayed: replay 1 has failed too and has a dead letter of its own\n" {
		t.Errorf("replayed:\n%s", got)
	}
}

func TestAReplayThatGoesOnFindsWhereItHasLanded(t *testing.T) {
	p := plant(t)
	for _, order := range []string{"CLOSED", "UNDER WAY", "FAILED AGAIN", "OTHERS", "OPEN"} {
		p.dead(order)
	}
	landed := map[string]events.Source{}
	s := p.sending()
	s.OnSent = func(step deadletters.Step, at events.Source) { landed[step.OutTradeNo] = at }
	one := records.Replay{ID: "one"}
	for order, by := range map[string]records.Replay{"CLOSED": one, "UNDER WAY": one, "FAILED AGAIN": one, "OTHERS": {ID: "two"}} {
		s.Replay, p.options.Filter.OutTradeNo = by, order
		if err := s.Send(p.ctx, p.plan()); err != nil {
			t.Fatal(err)
		}
	}
	p.options.Filter = deadletters.Filter{}
	p.outcome(message("CLOSED", 1), landed["CLOSED"], events.Closed)
	p.dies(one.Stamp(message("FAILED AGAIN", 1)), landed["FAILED AGAIN"], "PARAM_ERROR")
	p.write("requests", 0, one.Stamp(message("CLOSED", 1))) // twice: the first counts
	p.options.ReplayID = "one"
	plan := p.plan()
	got := map[string]events.Source{}
	for _, step := range plan.Steps {
		if at, ours := plan.Landed[step.At]; ours {
			if step.Skip == "" {
				t.Errorf("%s was sent, and would be sent again", step.OutTradeNo)
			}
			got[step.OutTradeNo] = at
		}
	}
	delete(landed, "OTHERS")
	if !maps.Equal(got, landed) || plan.Replays != 1 {
		t.Errorf("%v, want %v\n%s", got, landed, steps(plan))
	}
	p.options.ReplayID = ""
	if plan := p.plan(); len(plan.Landed) != 0 {
		t.Errorf("a new replay: %v", plan.Landed)
	}
}

func TestWordsOfAReplayThatCannotStandInHeaders(t *testing.T) {
	for sentence, c := range map[string]struct {
		says records.Replay
		want string
	}{
		"all is well":            {records.Replay{ID: "a", By: "李雷", Reason: "已\u3000修复"}, ""},
		"nobody and no reason":   {records.Replay{ID: "a"}, ""},
		"no id":                  {records.Replay{}, "replay-id"},
		"a reason of two lines":  {records.Replay{ID: "a", Reason: "a\nb"}, "reason"},
		"each is said":           {records.Replay{ID: "\x1b", By: "\u202e", Reason: "\xff"}, "by reason replay-id"},
		"somebody much too long": {records.Replay{ID: "a", By: strings.Repeat("x", 201)}, "by"},
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(deadletters.CheckWords(c.says))), " "); got != c.want {
			t.Errorf("%s: %q", sentence, got)
		}
	}
}

// What was sent, or answered, stands behind a transaction of somebody else, which ends
// while the plan is made: that is waited for, and nothing is sent twice.
func TestAPlanSeesWhatAnOpenTransactionHides(t *testing.T) {
	for topic, c := range map[string]struct {
		hidden func(p *planted, plan *deadletters.Plan)
		want   string
	}{
		"requests": {func(p *planted, plan *deadletters.Plan) {
			if err := p.sending().Send(p.ctx, plan); err != nil {
				t.Fatal(err)
			}
		}, "A: replayed: replay 1 is under way\n"},
		"outcomes": {func(p *planted, _ *deadletters.Plan) {
			p.outcome(message("A", 0), events.Source{Topic: "requests", Partition: 1, Offset: 9}, events.Closed)
		}, "A: answered: closed\n"},
	} {
		p := plant(t)
		p.dead("A")
		plan := p.plan()
		other, err := kgo.NewClient(kgo.SeedBrokers(p.broker.Addrs()...), kgo.TransactionalID("shop"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for partition := range int32(2) {
			if err := other.ProduceSync(p.ctx, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("{}")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		c.hidden(p, plan)
		held := ""
		p.options.OnHeld = func(by string) {
			if err := other.EndTransaction(p.ctx, kgo.TryAbort); err != nil {
				t.Error(err)
			}
			held += by
		}
		if got := steps(p.plan()); got != c.want || held != topic {
			t.Errorf("%s: held back in %q:\n%s", topic, held, got)
		}
	}
}
