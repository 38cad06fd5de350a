package desk_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/kafka"
)

// audits runs one and waits for its end.
func (s *stage) audits(since time.Time) desk.Audit {
	s.t.Helper()
	a, err := s.RunAudit(s.t.Context(), who, since)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.untilAudit(a.ID, over)
}

func over(a desk.Audit) bool { return !a.Ended.IsZero() }

// untilAudit waits until an audit is as it should be.
func (s *stage) untilAudit(id int64, is func(desk.Audit) bool) desk.Audit {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for version := uint64(0); ; {
		a, err := s.Audit(ctx, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if is(a) {
			return a
		}
		if version, err = s.Changed(ctx, version); err != nil {
			s.t.Fatalf("waited in vain: %+v, %v", a, err)
		}
	}
}

func TestAnAuditOfTheDeskIsThatOfTheCommand(t *testing.T) {
	s := newStage(t)
	s.bury("T1") // a dead letter without an outcome, of a request that is not there
	if _, err := s.Audit(t.Context(), 0); !isMissing(err) {
		t.Errorf("the last of none: %v", err)
	}
	if _, err := (&kafka.Writer{Client: s.client}).Write(t.Context(), s.topics.Requests, []events.Message{{Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T2"}`)}}); err != nil {
		t.Fatal(err)
	}
	a := s.audits(time.Time{})
	snapshot, err := audit.Take(t.Context(), audit.Scope{Reader: &kafka.Reader{Client: s.client}, Group: "closeorder", Topics: s.topics})
	if err != nil {
		t.Fatal(err)
	}
	want, err := snapshot.Audit(t.Context(), audit.Options{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.CheckGroup(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	snapshot.NoteGroup(t.Context(), want)
	if a.Report == nil || a.Trouble != "" || a.By != "lilei" || a.Read == 0 || a.Read != a.ToRead || a.Report.Requests != 1 {
		t.Fatalf("%+v", a)
	}
	want.AsOf = a.Report.AsOf
	if got, as := toJSON(t, a.Report), toJSON(t, want); got != as {
		t.Errorf("the desk\n%s\nthe command\n%s", got, as)
	}
	if last, err := s.Audit(t.Context(), 0); err != nil || last.ID != a.ID {
		t.Errorf("the last: %+v, %v", last, err)
	}
	since := s.audits(time.Now().Add(time.Hour))
	if since.Report == nil || since.Report.Requests != 0 || since.Since.IsZero() {
		t.Errorf("since: %+v", since)
	}
	if got := s.entries(); got != "lilei audit\nlilei audit\n" {
		t.Errorf("who did what:\n%s", got)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnAuditThatCannotBeMadeSaysWhy(t *testing.T) {
	t.Parallel() // it waits two seconds: not every broker knows a new topic at once
	s := newBroker(t)
	s.topics.Outcomes = "missing"
	s.open("")
	if a := s.audits(time.Time{}); a.Report != nil || !strings.Contains(a.Trouble, "missing") {
		t.Errorf("%+v", a)
	}
}

func TestOneAuditRunsAtATimeAndNoneOverARestart(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.openIdle(dir)
	first, err := s.RunAudit(t.Context(), who, time.Time{})
	if err != nil || !first.Ended.IsZero() {
		t.Fatal(first, err)
	}
	if second, err := s.RunAudit(t.Context(), desk.Who{Name: "hanmeimei"}, time.Time{}); err != nil || second.ID != first.ID {
		t.Errorf("beside it: %+v, %v", second, err)
	}
	if got := s.entries(); got != "lilei audit\n" {
		t.Errorf("who did what:\n%s", got)
	}
	s.closeIdle()
	s.open(dir)
	if a, err := s.Audit(t.Context(), first.ID); err != nil || a.Ended.IsZero() || a.Trouble != "the console ended; run it again" {
		t.Errorf("%+v, %v", a, err)
	}
	if a := s.audits(time.Time{}); a.ID == first.ID || a.Report == nil {
		t.Errorf("again: %+v", a)
	}
}

func TestTheLastAuditsHaveTheirReports(t *testing.T) {
	s := newStage(t)
	for range 22 {
		s.audits(time.Time{})
	}
	all, err := s.Audits(t.Context(), 100)
	if err != nil || len(all) != 22 {
		t.Fatal(len(all), err)
	}
	for i, a := range all {
		if (a.Report != nil) != (i < 20) || a.ID != int64(22-i) || a.Report != nil && a.Report.Findings != nil {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if _, err := s.Audit(t.Context(), 99); !isMissing(err) {
		t.Errorf("one that is not there: %v", err)
	}
}
