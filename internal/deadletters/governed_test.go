package deadletters_test

import (
	"testing"

	"github.com/closeorder/closeorder/internal/records"
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
