//go:build apachekafka

package crashtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestRecordsThatATopicDoesNotTake is about what a real broker refuses for good:
// which record of a batch it names, and that nothing else stands still.
func TestRecordsThatATopicDoesNotTake(t *testing.T) {
	s := newStage(t, settings{partitions: 2, workers: []string{"worker-0"}})
	ctx, cancel := s.context()
	defer cancel()
	for _, topic := range s.topics()[1:] { // all but the requests
		s.set(ctx, topic, "cleanup.policy", "compact")
	}
	s.startAll()

	s.step("requests without a key are answered, retried and set aside over compacted topics", func() {
		for i := range 100 {
			m := plain(fmt.Sprintf("KEYED-%d", i), "")
			switch i {
			case 10:
				m = plain("SYSERR-keyless", "")
				m.Key = nil
			case 20:
				m = plain("DEAD-keyless", "")
				m.Key = nil
			case 30:
				m = world.Message{Value: []byte("not json")}
			}
			s.shop.send(ctx, m)
		}
		sent, err := s.shop.flush(ctx)
		s.must(err)
		s.awaitAnswers(sent)
		kept := 0
		for _, r := range s.observer.Records(deadLetters) {
			d, err := records.DecodeDeadLetter(r.Message)
			if err != nil || len(r.Message.Key) == 0 || (d.Original.Key == nil) != d.StandInKey {
				s.t.Errorf("dead letter with key %q of a request with key %q, %v", r.Message.Key, d.Original.Key, err)
			}
			if d.StandInKey {
				kept++
			}
		}
		if kept < 2 {
			s.t.Errorf("%d dead letters have a stand-in key, want 2 or more", kept)
		}
		if !s.logged("gets a stand-in key") {
			s.t.Error("nothing is told of stand-in keys")
		}
	})
	s.step("a record that fits compressed loses nothing", func() {
		s.limit(ctx, deadLetters, 10_000)
		padding := `,"padding":"` + strings.Repeat("x", 20_000) + `"`
		o := s.ask(plain("DEAD-compressible", padding))
		if d := s.deadLetterOf(o.Source); !bytes.Contains(d.Value, []byte(padding)) {
			s.t.Errorf("the dead letter has %d bytes of value, headers %v", len(d.Value), d.Headers)
		}
	})
	s.step("a timestamp that the topic does not take is told of, and taken when that is mended", func() {
		s.set(ctx, outcomes, "message.timestamp.before.max.ms", "0")
		for i := 0; !s.logged("ALARM: the topic does not take a record"); i++ {
			s.shop.send(ctx, plain(fmt.Sprintf("LATE-%d", i), ""))
			_, err := s.shop.flush(ctx)
			s.must(err)
			if !pause(ctx.Done(), 200*time.Millisecond) {
				s.t.Fatal("no alarm")
			}
		}
		for _, want := range []string{"[32]", "message.timestamp.before.max.ms", "topic " + outcomes} {
			if !s.logged(want) {
				s.t.Errorf("%q is not in the log", want)
			}
		}
		s.set(ctx, outcomes, "message.timestamp.before.max.ms", "9223372036854775807")
	})

	sent, err := s.shop.flush(ctx)
	s.must(err)
	s.awaitAnswers(sent)
	s.stopAndStart()
	for _, r := range s.observer.Records(outcomes) {
		if o, err := events.DecodeOutcome(r.Message); err != nil || len(o.Key) == 0 {
			t.Errorf("outcome %+v, %v", o, err)
		}
	}
	s.check()
}

// set sets a setting of a topic.
func (s *stage) set(ctx context.Context, topic, name, value string) {
	s.t.Helper()
	got, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	s.must(err)
	for _, r := range got {
		s.must(r.Err)
	}
}

// logged says whether a worker has logged a text.
func (s *stage) logged(text string) bool {
	for _, w := range s.workers {
		if log, err := os.ReadFile(w.log); err == nil && bytes.Contains(log, []byte(text)) {
			return true
		}
	}
	return false
}
