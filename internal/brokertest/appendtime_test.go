//go:build apachekafka

package brokertest

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/records"
)

// TestTheBrokersClockCounts where the topic has message.timestamp.type of
// LogAppendTime, whatever the producer says: for requested_at, for dead letters,
// and for audits of a range.
func TestTheBrokersClockCounts(t *testing.T) {
	s := newStandWith(t, 1, map[string]string{"message.timestamp.type": "LogAppendTime"}, time.Second)
	began := time.Now()
	all := append(requests("T", 20), request("DEAD1", ""))
	for _, r := range all {
		r.Timestamp = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	}
	s.send(all[:20]...)
	s.send(all[20])
	s.worker(nil)
	recent := func(at time.Time) bool {
		return at.After(began.Add(-5*time.Second)) && at.Before(time.Now().Add(5*time.Second))
	}
	for _, o := range s.awaitAnswers(len(all)) {
		if !recent(o.RequestedAt) {
			t.Errorf("%s was requested at %v", o.OutTradeNo, o.RequestedAt)
		}
	}
	s.awaitCommitted()
	ctx, cancel := s.context()
	defer cancel()
	dead, err := s.read(ctx, s.cfg.Topics.DeadLetters)
	s.must(err)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters", len(dead))
	}
	if d, err := records.DecodeDeadLetter(message(dead[0])); err != nil || !recent(d.SourceTimestamp) {
		t.Errorf("the dead letter's request is of %v (%v)", d.SourceTimestamp, err)
	}
	if report := s.audit(began.Add(-time.Minute)); report.Requests != int64(len(all)) {
		t.Errorf("an audit of the last minute counts %d of %d requests", report.Requests, len(all))
	}
}

// TestRetriesKeepTheBrokersClock: a request that was put off is no older than
// the broker says either.
func TestRetriesKeepTheBrokersClock(t *testing.T) {
	s := newStandWith(t, 1, map[string]string{"message.timestamp.type": "LogAppendTime"}, time.Second)
	began := time.Now()
	r := request("SYSERR1", "")
	r.Timestamp = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	s.send(r)
	s.worker(nil)
	for _, o := range s.awaitAnswers(1) {
		if o.RequestedAt.Before(began.Add(-5 * time.Second)) {
			t.Errorf("after a retry it was requested at %v: %+v", o.RequestedAt, o)
		}
	}
}
