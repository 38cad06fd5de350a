package deadletters_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

func TestARunPausesByWhatItHasSentAlone(t *testing.T) {
	for sentence, c := range map[string]struct {
		// comes says what comes of a record that was sent, by where it landed.
		comes  func(p *planted, m events.Message, landed events.Source)
		paused bool
	}{
		"what it sent fails":     {func(p *planted, m events.Message, landed events.Source) { p.outcome(m, landed, events.Failed) }, true},
		"what it sent is closed": {func(p *planted, m events.Message, landed events.Source) { p.outcome(m, landed, events.Closed) }, false},
		"what others sent fails": {func(p *planted, m events.Message, landed events.Source) {
			landed.Offset += 1000
			p.outcome(m, landed, events.Failed)
		}, false},
		"what it sent fails and is answered once more": {func(p *planted, m events.Message, landed events.Source) {
			p.outcome(m, landed, events.Closed)
			p.outcome(m, landed, events.Failed)
		}, false},
	} {
		p := plant(t)
		const letters = 8
		for i := range letters {
			p.dead(fmt.Sprint("T", i))
		}
		log, told := test.NewNullLogger()
		sent := 0
		run := deadletters.Run{PauseAfter: 2, Log: log, Sending: p.sending()}
		run.Rate, run.Replay = 15, records.Replay{ID: "one", By: "ops"} // one at a time
		run.OnSent = func(s deadletters.Step, landed events.Source) {
			sent++
			c.comes(p, message(s.OutTradeNo, 1), landed)
		}
		err := run.Do(p.ctx, p.plan())
		paused, is := errors.AsType[*deadletters.PausedError](err)
		switch {
		case is != c.paused || !is && err != nil:
			t.Errorf("%s: %v, with %d sent", sentence, err, sent)
		case is && (sent < 2 || sent == letters || paused.Failed != 2 || paused.ID != "one" || !strings.HasPrefix(err.Error(), "paused: 2 outcomes failed (")):
			t.Errorf("%s: %v, with %d sent", sentence, err, sent)
		case !is && sent != letters:
			t.Errorf("%s: %d sent", sentence, sent)
		}
		all := told.AllEntries()
		begins, ends := logrus.Fields{"count": letters, "topic": "requests", "replay_id": "one", "by": "ops"}, logrus.Fields{"count": sent, "left": letters - sent, "topic": "requests", "replay_id": "one", "by": "ops"}
		if len(all) != 2 || all[0].Message != "a replay begins" || all[1].Message != "a replay ends" || !maps.Equal(all[0].Data, begins) || !maps.Equal(all[1].Data, ends) {
			t.Errorf("%s: the log has %v", sentence, all)
		}
	}
}

func TestARunOfNothingSaysNothing(t *testing.T) {
	p := plant(t)
	log, told := test.NewNullLogger()
	if err := (deadletters.Run{PauseAfter: 1, Log: log, Sending: p.sending()}).Do(p.ctx, p.plan()); err != nil || len(told.AllEntries()) != 0 {
		t.Errorf("%v, %v", err, told.AllEntries())
	}
}

func TestCodesThatAreNoTextAreQuoted(t *testing.T) {
	err := &deadletters.PausedError{Failed: 1, Codes: map[string]int{"A\x1b\u202eB": 1}}
	if got := err.Error(); got != `paused: 1 outcome failed ("A\x1b\u202eB" 1)` {
		t.Error(got)
	}
}
