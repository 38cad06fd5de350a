package desk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

func TestAReplayFromItsPlanToItsEnd(t *testing.T) {
	s := newStage(t)
	s.bury("T1", "T2", "T3", "T4")
	s.answers("T3")
	r := s.plans(desk.Wish{Filter: deadletters.Filter{Codes: []string{"unknown_merchant"}}})
	if r.State != desk.Planned || r.Chosen != 3 || r.Skipped[deadletters.Answered] != 1 || r.Wish.MaxReplays != 3 {
		t.Errorf("planned: %+v", r)
	}
	if got := s.steps(r.ID); got != "T1 would_replay\nT2 would_replay\nT4 would_replay\nT3 skipped answered\n" {
		t.Errorf("the plan:\n%s", got)
	}
	if some, err := s.Steps(t.Context(), r.ID, 2, 1); err != nil || len(some) != 2 || some[0].OutTradeNo != "T2" || some[1].OutTradeNo != "T4" {
		t.Errorf("two steps behind the first: %+v, %v", some, err)
	}
	// Between plan and start one is answered, and another dies.
	s.answers("T2")
	s.bury("T5")
	s.starts(r.ID, desk.Order{Reason: " merchant added ", Rate: 50})
	r = s.until(r.ID, in(desk.Done))
	if r.Sent != 2 || r.Left != 1 || r.Trouble != "" || r.By != "lilei" || r.Reason != "merchant added" || r.Started.IsZero() || r.Ended.Before(r.Started) {
		t.Errorf("done: %+v", r)
	}
	if got := s.steps(r.ID); got != "T1 replayed\nT2 left answered\nT4 replayed\nT3 skipped answered\n" {
		t.Errorf("at the end:\n%s", got)
	}
	count, at, all := s.requests()
	if len(all) != 2 || count["T1"] != 1 || count["T4"] != 1 {
		t.Errorf("sent: %v", count)
	}
	for _, m := range all {
		if says, want := records.ReplayOf(m), (records.Replay{ID: r.ID, By: "lilei", Reason: "merchant added"}); says != want {
			t.Errorf("%s says %+v", m.Key, says)
		}
	}
	steps, err := s.Steps(t.Context(), r.ID, 10, 0)
	if err != nil || *steps[0].Sent != at["T1"] || *steps[2].Sent != at["T4"] || steps[1].Sent != nil || steps[1].Detail != "closed" {
		t.Errorf("landed: %+v, %v; want %v", steps, err, at)
	}
	if got := s.entries(); got != "lilei plan\nlilei start merchant added\n" {
		t.Errorf("who did what:\n%s", got)
	}
	for _, want := range []string{
		`"count":2,"level":"info","msg":"a replay begins","reason":"merchant added","replay_id":"` + r.ID,
		`"count":2,"left":0,"level":"info","msg":"a replay ends","reason":"merchant added","replay_id":"` + r.ID,
		`"did":"start","level":"info","msg":"at the console","of":"` + r.ID + `","reason":"merchant added","remote":"192.0.2.7"`,
	} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, s.log)
		}
	}
	if again := s.plans(desk.Wish{}); again.Chosen != 1 || again.Skipped[deadletters.Replayed] != 2 {
		t.Errorf("another plan: %+v", again)
	}
	all2, err := s.Replays(t.Context(), 1)
	if err != nil || len(all2) != 1 || all2[0].ID == r.ID {
		t.Errorf("the newest: %+v, %v", all2, err)
	}
}

func TestAPlanOfSomeLettersSendsThoseAlone(t *testing.T) {
	s := newStage(t)
	at := s.bury("T1", "T2", "T3")
	r := s.plans(desk.Wish{Only: []events.Source{{Partition: at[1].Partition, Offset: at[1].Offset}}})
	if got := s.steps(r.ID); got != "T2 would_replay\n" || r.Wish.Only[0] != at[1] {
		t.Errorf("%+v\n%s", r.Wish, got)
	}
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 50})
	s.until(r.ID, in(desk.Done))
	if count, _, all := s.requests(); len(all) != 1 || count["T2"] != 1 {
		t.Errorf("sent: %v", count)
	}
}

func TestWhoReplaysWhereNobodyLogsIn(t *testing.T) {
	s := newStage(t)
	s.bury("T1")
	for want, who := range map[string]desk.Who{"console@127.0.0.1": {Remote: "127.0.0.1"}, "console": {}} {
		r, err := s.Plan(t.Context(), who, desk.Wish{})
		if err != nil || r.MadeBy != want {
			t.Errorf("%+v: %s, %v", who, r.MadeBy, err)
		}
	}
}

func TestWhatIsWrongWithAWishOrAnOrderIsSaid(t *testing.T) {
	s := newStage(t)
	at := s.bury("T1")
	for sentence, c := range map[string]struct {
		wish desk.Wish
		want string
	}{
		"fewer than none":            {desk.Wish{Limit: -1}, "limit"},
		"replayed less than never":   {desk.Wish{MaxReplays: -1}, "max_replays"},
		"a place in another topic":   {desk.Wish{Only: []events.Source{{Topic: "closeorder.requests"}}}, "only"},
		"a place before the first":   {desk.Wish{Only: []events.Source{{Offset: -1}}}, "only"},
		"more letters than may be":   {desk.Wish{Only: make([]events.Source, 10_001)}, "only"},
		"letters that may be chosen": {desk.Wish{Only: at}, ""},
	} {
		_, err := s.Plan(t.Context(), who, c.wish)
		checkField(t, sentence, err, c.want)
	}
	r := s.plans(desk.Wish{})
	for sentence, c := range map[string]struct {
		order desk.Order
		want  string
	}{
		"no reason":                {desk.Order{Rate: 50}, "reason"},
		"a reason of blanks":       {desk.Order{Reason: "  ", Rate: 50}, "reason"},
		"a reason of two lines":    {desk.Order{Reason: "a\nb", Rate: 50}, "reason"},
		"a reason that turns text": {desk.Order{Reason: "\u202ea", Rate: 50}, "reason"},
		"much too long a reason":   {desk.Order{Reason: strings.Repeat("x", 1025), Rate: 50}, "reason"},
		"no rate":                  {desk.Order{Reason: "r"}, "rate"},
		"a rate that is none":      {desk.Order{Reason: "r", Rate: math.NaN()}, "rate"},
		"a rate without end":       {desk.Order{Reason: "r", Rate: math.Inf(1)}, "rate"},
		"too slow":                 {desk.Order{Reason: "r", Rate: 0.0001}, "rate"},
		"a pause before it begins": {desk.Order{Reason: "r", Rate: 1, PauseAfter: -1}, "pause_after"},
	} {
		checkField(t, sentence, s.Start(t.Context(), who, r.ID, c.order), c.want)
	}
	checkField(t, "a name that cannot stand in a header", s.Start(t.Context(), desk.Who{Name: "a\x00b"}, r.ID, desk.Order{Reason: "r", Rate: 1}), "by")
	none := s.plans(desk.Wish{Filter: deadletters.Filter{OutTradeNo: "T9"}})
	checkField(t, "a plan of nothing", s.Start(t.Context(), who, none.ID, desk.Order{Reason: "r", Rate: 1}), "replay")
	if _, _, all := s.requests(); len(all) != 0 {
		t.Errorf("%d were sent", len(all))
	}
	if strings.Contains(s.entries(), "start") {
		t.Errorf("the log says that something was started:\n%s", s.entries())
	}
}

func checkField(t *testing.T, sentence string, err error, want string) {
	t.Helper()
	wrong, is := errors.AsType[*desk.OrderError](err)
	if want == "" && err == nil || is && wrong.Field == want && wrong.What != "" {
		return
	}
	t.Errorf("%s: %v", sentence, err)
}

func TestOnlyWhatFitsTheStateIsDone(t *testing.T) {
	s := newStage(t)
	s.bury("T1")
	order := desk.Order{Reason: "r", Rate: 50}
	planned, done, stopped := s.plans(desk.Wish{}), s.plans(desk.Wish{}), s.plans(desk.Wish{})
	s.starts(done.ID, order)
	s.until(done.ID, in(desk.Done))
	if err := s.Stop(t.Context(), who, stopped.ID); err != nil {
		t.Fatal(err)
	}
	start := func(id string) error { return s.Start(t.Context(), who, id, order) }
	pause := func(id string) error { return s.Pause(t.Context(), who, id) }
	resume := func(id string) error { return s.Resume(t.Context(), who, id) }
	stop := func(id string) error { return s.Stop(t.Context(), who, id) }
	for sentence, c := range map[string]struct {
		do   func(string) error
		id   string
		want string
	}{
		"what is done is not started":     {start, done.ID, "is done; for this it must be planned"},
		"what is done is not paused":      {pause, done.ID, "is done; for this it must be running"},
		"what is done is not stopped":     {stop, done.ID, "is done; for this it must be planning or planned or running or paused"},
		"what is stopped is not resumed":  {resume, stopped.ID, "is stopped; for this it must be paused"},
		"what is stopped is not started":  {start, stopped.ID, "is stopped; for this it must be planned"},
		"what is planned is not resumed":  {resume, planned.ID, "is planned; for this it must be paused"},
		"what is planned is not paused":   {pause, planned.ID, "is planned; for this it must be running"},
		"what is not there is not paused": {pause, "none", "there is no replay none"},
	} {
		if err := c.do(c.id); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	if _, err := s.Replay(t.Context(), "none"); !isMissing(err) {
		t.Errorf("a replay that is not there: %v", err)
	}
	if _, err := s.Steps(t.Context(), "none", 1, 0); !isMissing(err) {
		t.Errorf("its steps: %v", err)
	}
	// A plan that another replay has overtaken sends nothing.
	s.starts(planned.ID, order)
	if r := s.until(planned.ID, in(desk.Done)); r.Sent != 0 || r.Left != 1 {
		t.Errorf("overtaken: %+v", r)
	}
	if got := s.steps(planned.ID); got != "T1 left replayed\n" {
		t.Errorf("overtaken:\n%s", got)
	}
}

func isMissing(err error) bool {
	_, missing := errors.AsType[*desk.MissingError](err)
	return missing
}

func TestAReplayIsPausedAndGoesOnUnderItsID(t *testing.T) {
	s := newStage(t)
	var orders []string
	for i := range 40 {
		orders = append(orders, fmt.Sprint("T", i))
	}
	s.bury(orders...)
	r, other := s.plans(desk.Wish{}), s.plans(desk.Wish{Limit: 1})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 40}) // chunks of 4, so that a pause meets one
	s.until(r.ID, func(r desk.Replay) bool { return r.Sent > 0 })
	busy := func(err error) {
		t.Helper()
		if b, is := errors.AsType[*desk.BusyError](err); !is || b.ID != r.ID {
			t.Errorf("another one beside it: %v", err)
		}
	}
	busy(s.Start(t.Context(), who, other.ID, desk.Order{Reason: "r", Rate: 50}))
	if err := s.Pause(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	paused := s.until(r.ID, in(desk.Paused))
	_, _, all := s.requests()
	if paused.Trouble != "" || paused.Sent == 0 || paused.Sent == 40 || paused.Sent != len(all) {
		t.Errorf("paused, with %d sent: %+v", len(all), paused)
	}
	// Meanwhile another one may send, and then it goes on with what is left.
	s.starts(other.ID, desk.Order{Reason: "r", Rate: 50})
	if one := s.until(other.ID, in(desk.Done)); one.Sent+one.Left != 1 {
		t.Errorf("the other: %+v", one)
	}
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	done := s.until(r.ID, in(desk.Done))
	count, _, all := s.requests()
	if done.Sent+done.Left != 40 || len(all) != 40 || len(count) != 40 {
		t.Errorf("%d records of %d orders: %+v", len(all), len(count), done)
	}
	// One that is stopped stays so.
	s.bury("U1", "U2", "U3")
	last := s.plans(desk.Wish{})
	s.starts(last.ID, desk.Order{Reason: "r", Rate: 0.001})
	s.until(last.ID, func(r desk.Replay) bool { return r.Sent == 1 })
	if err := s.Stop(t.Context(), who, last.ID); err != nil {
		t.Fatal(err)
	}
	if got := s.until(last.ID, in(desk.Stopped)); got.Sent != 1 || got.Ended.IsZero() {
		t.Errorf("stopped: %+v", got)
	}
	if got, want := s.entries(), "lilei plan\nlilei plan\nlilei start r\nlilei pause\nlilei start r\nlilei resume\nlilei plan\nlilei start r\nlilei stop\n"; got != want {
		t.Errorf("who did what:\n%s", got)
	}
}

func TestAReplayPausesByItselfWhenTooMuchOfItFails(t *testing.T) {
	s := newStage(t)
	s.work()
	var orders []string
	for i := range 60 {
		orders = append(orders, fmt.Sprint("DEAD", i))
	}
	s.bury(orders...)
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 10, PauseAfter: 2})
	r = s.until(r.ID, in(desk.Paused))
	if r.Trouble != "paused: 2 outcomes failed (PARAM_ERROR 2)" || r.Sent < 2 || r.Sent == 60 {
		t.Errorf("%+v", r)
	}
	if got := s.entries(); got != "lilei plan\nlilei start r\npause\n" {
		t.Errorf("who did what:\n%s", got)
	}
	// What failed again is not sent once more when it goes on, but to the same letters.
	sent := r.Sent
	if err := s.Resume(t.Context(), who, r.ID); err != nil {
		t.Fatal(err)
	}
	r = s.until(r.ID, func(r desk.Replay) bool { return r.State == desk.Paused && r.Trouble != "" })
	count, _, all := s.requests()
	if r.Sent <= sent || len(all) != r.Sent || len(count) != r.Sent {
		t.Errorf("%d records of %d orders, %d before: %+v", len(all), len(count), sent, r)
	}
}

func TestWhatTheDatabaseDoesNotKnowIsFoundInTheTopics(t *testing.T) {
	s := newStage(t)
	s.bury("SENT", "CLOSED", "FAILED AGAIN", "OPEN", "FORGOTTEN")
	r := s.plans(desk.Wish{})
	// As after a kill: it was running, and of what was sent the database has but one,
	// which in turn the topics do not have.
	by := records.Replay{ID: r.ID, By: "lilei", Reason: "r"}
	replays := func(order string) events.Source {
		m := by.Stamp(events.Message{Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"request_id":%q}`, order, order),
			Headers: []events.Header{{Key: events.HeaderReplay, Value: []byte("1")}}})
		landed, err := (&kafka.Writer{Client: s.client}).Write(t.Context(), s.topics.Requests, []events.Message{m})
		if err != nil {
			t.Fatal(err)
		}
		return landed[0].At
	}
	want := map[string]events.Source{"SENT": replays("SENT"), "CLOSED": replays("CLOSED"), "FAILED AGAIN": replays("FAILED AGAIN")}
	s.answers("CLOSED")
	if _, err := s.db.Write.ExecContext(t.Context(), `UPDATE desk_steps SET landed_partition = 0, landed_offset = 77 WHERE step LIKE '%"FORGOTTEN"%'`); err != nil {
		t.Fatal(err)
	}
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 50})
	r = s.until(r.ID, in(desk.Done))
	count, at, all := s.requests()
	if r.Sent != 5 || r.Left != 0 || len(all) != 4 || count["OPEN"] != 1 {
		t.Errorf("%v: %+v", count, r)
	}
	want["OPEN"], want["FORGOTTEN"] = at["OPEN"], events.Source{Topic: s.topics.Requests, Offset: 77}
	steps, err := s.Steps(t.Context(), r.ID, 10, 0)
	if err != nil || len(steps) != 5 {
		t.Fatal(steps, err)
	}
	for _, step := range steps {
		if step.Sent == nil || *step.Sent != want[step.OutTradeNo] {
			t.Errorf("%s: landed at %v, want %v", step.OutTradeNo, step.Sent, want[step.OutTradeNo])
		}
	}
}

func TestAPlanThatCannotBeMadeSaysWhy(t *testing.T) {
	t.Parallel() // it waits two seconds: not every broker knows a new topic at once
	s := newBroker(t)
	s.topics.Outcomes = "missing"
	s.open("")
	s.bury("T1")
	r := s.plans(desk.Wish{})
	if r.State != desk.Unplanned || !strings.Contains(r.Trouble, "missing") {
		t.Errorf("%+v", r)
	}
	if err := s.Start(t.Context(), who, r.ID, desk.Order{Reason: "r", Rate: 1}); err == nil {
		t.Error("it was started")
	}
}

func TestAReplayOfOtherTopicsDoesNotGoOn(t *testing.T) {
	s := newBroker(t)
	dir := t.TempDir()
	s.open(dir)
	s.bury("T1")
	r := s.plans(desk.Wish{})
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 1})
	s.until(r.ID, in(desk.Done))
	s.bury("T2")
	r = s.plans(desk.Wish{})
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	here := s.topics.DeadLetters
	s.topics.DeadLetters = "other"
	s.open(dir)
	s.starts(r.ID, desk.Order{Reason: "r", Rate: 1})
	if r = s.until(r.ID, in(desk.Paused)); r.Trouble != "it was planned for the topics "+here+" and closeorder.requests, and the console has others now; plan it again" {
		t.Errorf("%+v", r)
	}
}

func TestAStepIsALineOfTheCommand(t *testing.T) {
	step := desk.Step{Step: deadletters.Step{
		At: events.Source{Topic: "dead", Partition: 1, Offset: 2}, Source: events.Source{Topic: "requests", Partition: 3, Offset: 4},
		FailedAt: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC), Code: "X", MchID: "1900000109", OutTradeNo: "T1", Replay: 1, To: 3,
	}}
	for sentence, c := range map[string]struct {
		change func(*desk.Step)
		want   string
	}{
		"to be sent": {func(*desk.Step) {}, `{"action":"would_replay","partition":1,"offset":2,"source":{"topic":"requests","partition":3,"offset":4},"failed_at":"2026-01-31T08:00:00Z","code":"X","mch_id":"1900000109","out_trade_no":"T1","replay":1,"to_partition":3}`},
		"sent": {func(s *desk.Step) { s.Sent = &events.Source{Topic: "requests", Partition: 3, Offset: 9} },
			`{"action":"replayed","partition":1,"offset":2,"source":{"topic":"requests","partition":3,"offset":4},"failed_at":"2026-01-31T08:00:00Z","code":"X","mch_id":"1900000109","out_trade_no":"T1","replay":1,"to_partition":3,"landed":{"topic":"requests","partition":3,"offset":9}}`},
		"left": {func(s *desk.Step) { s.Left, s.Detail = deadletters.TooLarge, "too large" },
			`{"action":"left","reason":"too_large","detail":"too large","partition":1,"offset":2,"source":{"topic":"requests","partition":3,"offset":4},"failed_at":"2026-01-31T08:00:00Z","code":"X","mch_id":"1900000109","out_trade_no":"T1","replay":1,"to_partition":3}`},
	} {
		one := step
		c.change(&one)
		if got, err := json.Marshal(one.Told()); err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v", sentence, got, err)
		}
	}
}

// Fifty plans may be made while one runs: its page is not to be looked for behind them.
func TestWhatGoesOnIsListedBeforeWhatIsNewer(t *testing.T) {
	s := newBroker(t)
	s.openIdle("")
	defer s.closeIdle()
	for _, state := range []desk.State{desk.Planning, desk.Paused, desk.Running, desk.Paused, desk.Planned, desk.Unplanned, desk.Stopped, desk.Done} {
		if _, err := s.db.Write.ExecContext(t.Context(), `INSERT INTO desk_replays (id, state, made, made_by, wish, requests, dead_letters) SELECT ?1 || ' ' || (count(*) + 1), ?1, 1, '', '{}', 'r', 'd' FROM desk_replays`, state); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"running 3", "paused 4", "paused 2", "planning 1", "done 8", "stopped 7", "unplanned 6", "planned 5"}
	for _, limit := range []int{2, 4, 6, 100} {
		var got []string
		found, err := s.Replays(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			got = append(got, r.ID)
		}
		if want := all[:min(limit, len(all))]; !slices.Equal(got, want) {
			t.Errorf("%d of them: %q, want %q", limit, got, want)
		}
	}
}
