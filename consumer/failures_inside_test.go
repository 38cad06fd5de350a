package consumer

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

func failure(code, mchID string, n int) Answer {
	return Answer{
		Order: events.Order{MchID: mchID, OutTradeNo: fmt.Sprint("T", n)}, Result: events.Failed, Code: code, Message: "no such merchant",
		Source: events.Source{Topic: "requests", Partition: 3, Offset: int64(n)},
	}
}

func TestFailuresOfOneKindAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := test.NewNullLogger()
		f := newFailures(log)
		told := func() (lines []string) {
			for _, entry := range said.AllEntries() {
				if entry.Level != logrus.WarnLevel || entry.Data["remedy"] == "" || entry.Data["since"] == "" {
					t.Errorf("%v %v", entry.Level, entry.Data)
				}
				lines = append(lines, entry.Message)
			}
			said.Reset()
			return lines
		}
		check := func(when string, want ...string) {
			t.Helper()
			if got := told(); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s:\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		f.add(failure("UNKNOWN_MERCHANT", "1900000111", 0))
		check("the first one, at once", "UNKNOWN_MERCHANT 1900000111: a request has failed: T0: no such merchant")
		for i := range 30 {
			f.add(failure("UNKNOWN_MERCHANT", "1900000111", i+1))
		}
		f.add(failure("EXPIRED", "1900000109", 77))
		check("one of another kind, at once", "EXPIRED 1900000109: a request has failed: T77: no such merchant")
		time.Sleep(failuresEvery + time.Second)
		check("after ten seconds", "UNKNOWN_MERCHANT 1900000111: 30 more requests have failed in 10s, for example T30: no such merchant")
		time.Sleep(3 * failuresEvery)
		check("when none came any more")
		f.add(failure("UNKNOWN_MERCHANT", "1900000111", 50))
		check("the first one of the next time, at once", "UNKNOWN_MERCHANT 1900000111: a request has failed: T50: no such merchant")
		f.add(failure("UNKNOWN_MERCHANT", "1900000111", 51))
		f.close()
		check("at the stop", "UNKNOWN_MERCHANT 1900000111: 1 more requests have failed in 10s, for example T51: no such merchant")
		f.add(failure("UNKNOWN_MERCHANT", "1900000111", 52))
		check("after it", "UNKNOWN_MERCHANT 1900000111: a request has failed: T52: no such merchant")
	})
}

func TestFailuresOfManyKindsAreFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := test.NewNullLogger()
		f := newFailures(log)
		for i := range 20_000 {
			f.add(failure("UNKNOWN_MERCHANT", fmt.Sprint(i), i))
		}
		time.Sleep(failuresEvery + time.Second)
		count := 0
		for _, entry := range said.AllEntries() {
			count += entry.Data["count"].(int)
		}
		if n := len(said.AllEntries()); n != mostFailures+2 || count != 20_000 {
			t.Errorf("%d lines of %d requests, want %d of 20000", n, count, mostFailures+2)
		}
		f.close()
	})
}

// slowLog is written as slowly as somebody reads it.
type slowLog struct{ begun, reads chan struct{} }

func (s slowLog) Write(p []byte) (int, error) {
	s.begun <- struct{}{}
	<-s.reads
	return len(p), nil
}

// The way of a request must not wait for whoever reads the log.
func TestALogThatIsReadSlowlyHoldsUpOneAlone(t *testing.T) {
	log := logrus.New()
	slow := slowLog{make(chan struct{}, 10), make(chan struct{})}
	log.SetOutput(slow)
	f := newFailures(log)
	defer f.close()
	defer close(slow.reads)
	go f.add(failure("UNKNOWN_MERCHANT", "1900000111", 0))
	<-slow.begun
	added := make(chan struct{})
	go func() {
		defer close(added)
		for i := range 100 {
			f.add(failure("UNKNOWN_MERCHANT", "1900000111", i))
		}
	}()
	select {
	case <-added:
	case <-time.After(10 * time.Second):
		t.Error("the others wait for the line of the first one")
	}
}

// An expired request gets no dead letter, and has failed all the same.
func TestWithoutAnObserverFailuresAreToldAll(t *testing.T) {
	w, r := &Worker{}, &request{partition: newPartition(t.Context(), topicPartition{"requests", 0})}
	for sentence, d := range map[string]decision{
		"a dead letter": decision{}.fail(circumstances{}),
		"expired":       decision{}.fail(circumstances{expired: true}),
	} {
		if got := w.newsOf(r, &d).answer; got == nil || got.Result != events.Failed {
			t.Errorf("%s: %+v", sentence, got)
		}
	}
	if got := w.newsOf(r, &decision{next: conclude, verdict: Verdict{Class: Closed}}).answer; got != nil {
		t.Errorf("closed: %+v", got)
	}
}
