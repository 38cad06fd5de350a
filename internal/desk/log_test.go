package desk_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/closeorder/closeorder/internal/desk"
)

func TestTheLogKeepsWhateverIsSaid(t *testing.T) {
	s := newStage(t)
	for sentence, said := range map[string]string{
		"markup":                "<script>alert(1)</script>",
		"two lines":             "a\nlevel=error b",
		"controls":              "\x00\x1b[2J",
		"text that turns":       "\u202eabc",
		"what is no text":       "a\xffb",
		"very much":             strings.Repeat("长", 5000),
		"much, and then broken": strings.Repeat("x", 2047) + "长",
	} {
		if err := s.Note(t.Context(), desk.Who{Name: said, Remote: said}, "refused", said, said, said); err != nil {
			t.Errorf("%s: %v", sentence, err)
			continue
		}
		all, err := s.Entries(t.Context(), 1)
		if err != nil || len(all) != 1 {
			t.Fatal(sentence, all, err)
		}
		e := all[0]
		want := strings.ToValidUTF8(said, "\ufffd")
		if len(said) > 2<<10 {
			want = strings.ToValidUTF8(said[:2<<10]+"...", "\ufffd")
		}
		if e.Did != "refused" || e.At.IsZero() || e.Who != want || e.Remote != want || e.Of != want || e.Reason != want || e.Detail != want || !utf8.ValidString(e.Who) {
			t.Errorf("%s: %+.100v", sentence, e)
		}
	}
	for line := range strings.Lines(s.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["msg"] != "at the console" || fields["level"] != "warning" || fields["did"] != "refused" {
			t.Errorf("%.200s: %v", line, err)
		}
	}
}

// Somebody who is refused ever so often does not drive out of the log what was
// done.
func TestTheLogIsBounded(t *testing.T) {
	s := newStage(t)
	if desk.MostEntries != 10_000 {
		t.Errorf("%d are kept", desk.MostEntries)
	}
	s.KeepEntries(100)
	add := func(did string, n int) {
		t.Helper()
		tx, err := s.db.Write.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
			INSERT INTO desk_log (at, access, who, remote, did, of, reason, detail) SELECT 1, ?1 = 'refused', '', '', ?1, '', '', '' FROM n`, did, n); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	note := func(did string) {
		t.Helper()
		if err := s.Note(t.Context(), who, did, "", "", ""); err != nil {
			t.Fatal(err)
		}
	}
	note("rebuild")
	add("refused", 120)
	note("refused")
	count := func() (n [2]int) {
		t.Helper()
		if err := s.db.Read.QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE access = 0), count(*) FILTER (WHERE access = 1) FROM desk_log`).Scan(&n[0], &n[1]); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count(); got != [2]int{1, 100} {
		t.Errorf("%v", got)
	}
	add("start", 100)
	note("log_in")
	note("stop")
	if got := count(); got != [2]int{100, 100} {
		t.Errorf("%v", got)
	}
	if all, err := s.Entries(t.Context(), 2); err != nil || all[0].Did != "stop" || all[1].Did != "log_in" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestABrokenDatabaseEndsTheDesk: the console ends with its error, and can be run
// again.
func TestABrokenDatabaseEndsTheDesk(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.openIdle(dir)
	s.bury("T1", "T2")
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	r := s.plans(desk.Wish{})
	if _, err := s.db.Write.ExecContext(t.Context(), `CREATE TRIGGER desk_broken BEFORE UPDATE ON desk_steps BEGIN SELECT raise(ABORT, 'no more'); END`); err != nil {
		t.Fatal(err)
	}
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 50})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "no more") || !strings.Contains(err.Error(), dir) {
		t.Errorf("ended with %v", err)
	}
	if _, err := s.db.Write.ExecContext(t.Context(), `DROP TRIGGER desk_broken`); err != nil {
		t.Fatal(err)
	}
	s.closeIdle()
	s.open(dir)
	if r = s.until(r.ID, in(desk.Done)); r.Sent != 2 {
		t.Errorf("%+v", r)
	}
	if count, _, all := s.requests(); len(all) != 2 || len(count) != 2 {
		t.Errorf("%v", count)
	}
}

func TestADatabaseOfALaterConsoleIsNotTouched(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.openIdle(dir)
	if _, err := s.db.Write.ExecContext(t.Context(), `UPDATE parts SET version = 99 WHERE name = 'desk'`); err != nil {
		t.Fatal(err)
	}
	_, err := desk.Open(t.Context(), desk.Config{DB: s.db})
	if err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("%v", err)
	}
	var n int
	if err := s.db.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM desk_log`).Scan(&n); err != nil {
		t.Error(err)
	}
	s.closeIdle()
}

// What is kept of replays is bounded, and what may go on is not let go of.
func TestOldReplaysAreLetGoOf(t *testing.T) {
	s := newStage(t)
	s.bury("T1")
	old := map[string]desk.State{"old and done": desk.Done, "old and planned": desk.Planned, "old and paused": desk.Paused, "older and paused": desk.Paused}
	add := func(ids []string, steps int) {
		t.Helper()
		for _, id := range ids {
			if _, err := s.db.Write.ExecContext(t.Context(), `INSERT INTO desk_replays (id, state, made, made_by, wish, requests, dead_letters, steps, chosen) VALUES (?1, ?2, 1, '', '{}', 'r', 'd', ?3, ?3)`, id, old[id], steps); err != nil {
				t.Fatal(err)
			}
			if _, err := s.db.Write.ExecContext(t.Context(), `INSERT INTO desk_steps (replay, n, chosen, at_partition, at_offset, step) SELECT n, 0, 1, 0, 0, '{}' FROM desk_replays WHERE id = ?`, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept := func() string {
		t.Helper()
		var got []string
		for _, id := range []string{"older and paused", "old and done", "old and planned", "old and paused"} {
			r, err := s.Replay(t.Context(), id)
			if isMissing(err) {
				got = append(got, "gone")
				continue
			}
			steps, err := s.Steps(t.Context(), id, 10, 0)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(r.State, " ", len(steps)))
		}
		return strings.Join(got, ", ")
	}
	add([]string{"older and paused", "old and done", "old and planned", "old and paused"}, 300_000)
	s.plans(desk.Wish{})
	if got, want := kept(), "paused 1, done 0, unplanned 0, paused 1"; got != want {
		t.Errorf("of too many steps: %s", got)
	}
	if _, err := s.db.Write.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		INSERT INTO desk_replays (id, state, made, made_by, wish, requests, dead_letters) SELECT 'new ' || i, 'done', 1, '', '{}', 'r', 'd' FROM n`); err != nil {
		t.Fatal(err)
	}
	s.plans(desk.Wish{})
	if got, want := kept(), "paused 1, gone, gone, paused 1"; got != want {
		t.Errorf("of too many replays: %s", got)
	}
}

// A plan that has more steps than are kept of old ones can be started all the same,
// until a newer one takes its place.
func TestAPlanOfMoreStepsThanAreKeptCanBeStarted(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	s.KeepSteps(2)
	s.bury("T1", "T2", "T3")
	plan := func() desk.Replay {
		t.Helper()
		r, err := s.Plan(t.Context(), who, desk.Wish{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PlanLate(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		return s.until(r.ID, in(desk.Planned))
	}
	first := plan()
	if _, err := s.Plan(t.Context(), who, desk.Wish{}); err != nil { // it has no steps so far
		t.Fatal(err)
	}
	if got := s.steps(first.ID); got != "T1 would_replay\nT2 would_replay\nT3 would_replay\n" {
		t.Errorf("its steps:\n%s", got)
	}
	second := plan()
	if r := s.until(first.ID, in(desk.Unplanned)); r.Trouble != "its plan was let go of for newer ones; plan it again" || s.steps(r.ID) != "" {
		t.Errorf("the older one: %+v", r)
	}
	s.starts(second.ID, desk.Order{Reason: "mended", Rate: 1000})
	if err := s.CarryLate(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if r := s.until(second.ID, in(desk.Done)); r.Sent != 3 || s.steps(r.ID) != "T1 replayed\nT2 replayed\nT3 replayed\n" {
		t.Errorf("the newest one: %+v", r)
	}
}
