package desk_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Run sees what is to go on, and takes it on a moment later. Who pauses or stops a
// replay in between finds no job to end.
func TestWhatIsEndedBeforeItIsTakenOnSendsNothing(t *testing.T) {
	for state, end := range map[desk.State]func(s *stage, id string) error{
		desk.Paused:  func(s *stage, id string) error { return s.Pause(s.t.Context(), who, id) },
		desk.Stopped: func(s *stage, id string) error { return s.Stop(s.t.Context(), who, id) },
	} {
		t.Run(string(state), func(t *testing.T) {
			s := newBroker(t)
			s.openIdle("")
			defer s.closeIdle()
			s.bury("L1", "L2")
			r, err := s.Plan(t.Context(), who, desk.Wish{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.PlanLate(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			s.starts(r.ID, desk.Order{Reason: "mended", Rate: 1000})
			if err := end(s, r.ID); err != nil {
				t.Fatal(err)
			}
			if err := s.CarryLate(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			if _, _, sent := s.requests(); len(sent) > 0 {
				t.Errorf("%d were sent of a replay that is %s", len(sent), state)
			}
			if r := s.until(r.ID, func(desk.Replay) bool { return true }); r.State != state || r.Sent != 0 {
				t.Errorf("then it is %s, %d sent", r.State, r.Sent)
			}
		})
	}
}

func TestAPlanThatIsStoppedLeavesNothingBehind(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	s.bury("L1", "L2")
	steps := func(what string, want int) {
		t.Helper()
		var n int
		if err := s.db.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM desk_steps`).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d steps, %v; want %d", what, n, err, want)
		}
	}
	r, err := s.Plan(t.Context(), who, desk.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.PlanLate(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	steps("stopped before it was taken on", 0)
	// Stopped in the middle: what is written of its plan goes with the next one.
	if err := s.WriteAnyway(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO desk_steps (replay, n, chosen, at_partition, at_offset, step) SELECT n, 0, 1, 0, 0, '{}' FROM desk_replays`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	steps("stopped while it was written", 1)
	if _, err := s.Plan(t.Context(), who, desk.Wish{}); err != nil {
		t.Fatal(err)
	}
	steps("when another one is planned", 0)
}

// While an index is made, one transaction may be open for longer than a moment.
func TestAWriteWaitsForAsLongAsTheConsoleRuns(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	if err := s.WriteAnyway(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
		if until, is := ctx.Deadline(); is {
			t.Errorf("it is given up at %s", until)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.WriteAnyway(ended, func(ctx context.Context, _ *sql.Tx) error { return ctx.Err() }); err != nil && !strings.Contains(err.Error(), "deadline") {
		t.Errorf("when the console ends: %v", err)
	}
}

// Whoever may write into the topic of the dead letters chooses the timestamp of what is
// none of them.
func TestAPlanHoldsATimeThatJSONCannot(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	r, err := s.Plan(t.Context(), who, desk.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	at, last := events.Source{Topic: s.topics.DeadLetters, Partition: 1, Offset: 7}, time.Date(9999, 12, 31, 20, 0, 0, 0, time.UTC)
	if err := s.KeepPlan(t.Context(), r.ID, &deadletters.Plan{Steps: []deadletters.Step{
		{At: at, FailedAt: time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC), Skip: deadletters.Unreadable, Why: "it is no dead letter"},
		{At: at, FailedAt: last.In(time.FixedZone("", 8*60*60)), Skip: deadletters.Unreadable, Why: "where this runs it is the year 10000"},
	}}); err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps(t.Context(), r.ID, 10, 0)
	if err != nil || len(steps) != 2 || steps[0].At != at || !steps[0].FailedAt.IsZero() || !steps[1].FailedAt.Equal(last) {
		t.Errorf("%+v, %v", steps, err)
	}
}

// A place says which letter is meant for as long as the topic is the same.
func TestALetterThatStandsInTheOthersPlaceIsNotSent(t *testing.T) {
	s := newStage(t)
	s.bury("O1", "O2")
	r := s.plans(desk.Wish{})
	if r.Chosen != 2 {
		t.Fatalf("%+v", r)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if _, err := admin.DeleteTopic(t.Context(), s.topics.DeadLetters); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, s.topics.DeadLetters); err != nil {
		t.Fatal(err)
	}
	s.bury("N1", "N2")
	s.starts(r.ID, desk.Order{Reason: "mended", Rate: 1000})
	r = s.until(r.ID, in(desk.Done))
	if _, _, sent := s.requests(); len(sent) > 0 || r.Sent != 0 || r.Left != 2 {
		t.Errorf("%d were sent: %+v", len(sent), r)
	}
	if got := s.steps(r.ID); got != "O1 left deleted\nO2 left deleted\n" {
		t.Errorf("%s", got)
	}
}

// A clock that was wrong when a letter was written has its replays searched for where
// none can stand.
func TestALetterThatFailsInTheFutureIsReplayedOnce(t *testing.T) {
	s := newStage(t)
	m := records.EncodeDeadLetter(records.DeadLetter{
		Original:  events.Message{Key: []byte("F1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"F1","request_id":"F1"}`)},
		ErrorCode: "UNKNOWN_MERCHANT", FailedAt: time.Now().Add(24 * time.Hour), Source: events.Source{Topic: s.topics.Requests, Partition: 3, Offset: 1001},
	})
	if _, err := (&kafka.Writer{Client: s.client}).Write(t.Context(), s.topics.DeadLetters, []events.Message{m}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0} {
		r := s.plans(desk.Wish{})
		if r.Chosen != want {
			t.Fatalf("plan %d: %d chosen, %v", i+1, r.Chosen, r.Skipped)
		}
		if want == 0 {
			break
		}
		s.starts(r.ID, desk.Order{Reason: "mended", Rate: 1000})
		s.until(r.ID, in(desk.Done))
	}
}

// A job that is paused may find only then what somebody is about to have seen: it leaves
// that to the next one.
func TestWhatIsPausedForgivesNothing(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	s.bury("T1")
	r, err := s.Plan(t.Context(), who, desk.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PlanLate(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.starts(r.ID, desk.Order{Reason: "mended", Rate: 1})
	paused, pause := context.WithCancel(t.Context())
	pause()
	for _, c := range []struct {
		ctx       context.Context
		when      string
		all, want int
	}{
		{paused, "paused", 1, 1},
		{t.Context(), "the first that goes on", 3, 0},
		{t.Context(), "the next one", 5, 2},
		{paused, "paused then", 6, 3},
	} {
		if got, err := s.Failed(c.ctx, r.ID, map[string]int{"X": c.all}); err != nil || got["X"] != c.want {
			t.Errorf("%s: %d of %d count, want %d: %v", c.when, got["X"], c.all, c.want, err)
		}
	}
}
