package timeline

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
)

func TestWhereAnOrderStands(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	made := func(state State, change func(*Request)) Request {
		q := Request{Topic: "requests", Partition: 3, Offset: 17, There: true, Time: now.Add(-30 * time.Second), State: state}
		if state.final() || state == Failed {
			q.answer = &Entry{Time: now.Add(-20 * time.Second), Outcome: events.Result(state), Code: "CODE", Message: "words"}
		}
		if state == Waiting {
			q.waits = &Entry{Topic: "retries", Partition: 3, Offset: 4, DueAt: now.Add(10 * time.Second), Code: "SYSTEMERROR"}
		}
		if change != nil {
			change(&q)
		}
		return q
	}
	safe := func(q *Request) { q.answer.SafeToReissue = true }
	code := func(code string) func(*Request) { return func(q *Request) { q.answer.Code = code } }
	for what, tt := range map[string]struct {
		requests     []Request
		state        State
		answer, next string // what they contain
	}{
		"closed for good":                               {[]Request{made(Closed, safe)}, Closed, "closed 10 s after the request; the old number cannot be paid any more", "nothing"},
		"closed in doubt":                               {[]Request{made(Closed, nil)}, Closed, "a create call may still arrive", "issue no new number"},
		"paid":                                          {[]Request{made(Paid, nil)}, Paid, "paid 10 s after the request", "normal paid trade"},
		"failed, the request is wrong":                  {[]Request{made(Failed, code("INVALID_REQUEST"))}, Failed, "failed 10 s after the request: INVALID_REQUEST: words; the order may be payable", "mend what the message names"},
		"failed, nobody knows the merchant":             {[]Request{made(Failed, code("UNKNOWN_MERCHANT"))}, Failed, "", "configure the merchant"},
		"failed, too late":                              {[]Request{made(Failed, code("EXPIRED"))}, Failed, "", "decide"},
		"failed after all tries":                        {[]Request{made(Failed, code("RETRIES_EXHAUSTED"))}, Failed, "", "deadletters replay --out-trade-no 'T|1'"},
		"failed, too large":                             {[]Request{made(Failed, code("RECORD_TOO_LARGE"))}, Failed, "", "max.message.bytes"},
		"failed, a code without underscores":            {[]Request{made(Failed, code("APPIDNOTEXIST"))}, Failed, "", "appid"},
		"failed, WeChat Pay refuses it":                 {[]Request{made(Failed, code("PARAM_ERROR"))}, Failed, "", "refuses the request as it stands"},
		"failed, and nobody knows the code":             {[]Request{made(Failed, code("NEW"))}, Failed, "", "ask WeChat Pay"},
		"waiting":                                       {[]Request{made(Waiting, nil)}, Waiting, "waits in retries[3]@4 until 2026-11-28 03:00:10Z (10 s from now) because SYSTEMERROR", "nothing: it is tried again"},
		"waiting for its merchant":                      {[]Request{made(Waiting, func(q *Request) { q.waits.WaitsFor = "mch_id" })}, Waiting, "its merchant is held (mch_id)", "mend the merchant M"},
		"waiting for its merchant, and long due":        {[]Request{made(Waiting, func(q *Request) { q.waits.WaitsFor, q.waits.DueAt = "mch_id", now.Add(-time.Hour) })}, Waiting, "its merchant is held (mch_id)", "mend the merchant M"},
		"waiting, and long due":                         {[]Request{made(Waiting, func(q *Request) { q.waits.DueAt = now.Add(-time.Hour) })}, Waiting, "has been due since 2026-11-28 02:00:00Z (1 h ago)", "closeorder status"},
		"in flight, the next":                           {[]Request{made(InFlight, nil)}, InFlight, "it is the next of its partition", "nothing"},
		"in flight, behind one":                         {[]Request{made(InFlight, func(q *Request) { q.Before = 1 })}, InFlight, "one request of its partition before it is", "nothing"},
		"in flight, behind many":                        {[]Request{made(InFlight, func(q *Request) { q.Before = MostBefore })}, InFlight, "perhaps nobody has read it yet", ""},
		"in flight, and read":                           {[]Request{made(InFlight, func(q *Request) { q.Passed = true })}, InFlight, "a worker has read it", ""},
		"in flight, for long":                           {[]Request{made(InFlight, func(q *Request) { q.Time = now.Add(-time.Hour) })}, InFlight, "for 1 h", "closeorder status"},
		"in flight until its time comes":                {[]Request{made(InFlight, func(q *Request) { q.Time, q.notBefore = now.Add(-time.Hour), now.Add(time.Hour) })}, InFlight, "nothing is done before 2026-11-28 04:00:00Z", "waits for its not_before"},
		"lost":                                          {[]Request{made(Lost, nil)}, Lost, "neither answered nor waiting", "--republish"},
		"lost, with a dead letter":                      {[]Request{made(Lost, func(q *Request) { q.dead = true })}, Lost, "a dead letter and no outcome", "--republish"},
		"not proven":                                    {[]Request{made(Unproven, func(q *Request) { q.Why = "of this" })}, Unproven, "cannot be told: of this", "--ask-gateway"},
		"failed, and the replay waits":                  {[]Request{made(Failed, nil), made(Waiting, nil)}, Waiting, "#2 waits", ""},
		"failed, and the replay failed":                 {[]Request{made(Failed, nil), made(Failed, code("EXPIRED"))}, Failed, "#2 failed", ""},
		"failed, and the replay is closed":              {[]Request{made(Failed, nil), made(Closed, safe)}, Closed, "#2 closed", ""},
		"closed, and a repeat is in flight":             {[]Request{made(Closed, safe), made(InFlight, nil)}, Closed, "#1 closed", ""},
		"closed in doubt, and a repeat for good":        {[]Request{made(Closed, nil), made(Closed, safe)}, Closed, "#2 closed", "nothing"},
		"closed in doubt, and paid after all":           {[]Request{made(Closed, nil), made(Paid, nil)}, Paid, "#2 paid", ""},
		"closed twice: the first is the answer":         {[]Request{made(Closed, safe), made(Closed, safe)}, Closed, "#1 closed", ""},
		"paid, and closed for good":                     {[]Request{made(Paid, nil), made(Closed, safe)}, Contradictory, "#1 says paid, and #2", "--ask-gateway"},
		"lost, and a later request was answered":        {[]Request{made(Lost, nil), made(Paid, nil)}, Paid, "#2 paid", ""},
		"waiting, and a later request failed":           {[]Request{made(Waiting, nil), made(Failed, nil)}, Waiting, "#1 waits", ""},
		"an answer that is older than its request":      {[]Request{made(Closed, func(q *Request) { q.answer.Time = q.Time.Add(-2 * time.Second) })}, Closed, "closed (2.0 s before the request by their clocks, which differ)", ""},
		"an answer whose request is not there any more": {[]Request{made(Paid, func(q *Request) { q.There = false })}, Paid, "paid", ""},
	} {
		t.Run(what, func(t *testing.T) {
			l := &Life{MchID: "M", OutTradeNo: "T|1", Requests: tt.requests}
			for i := range l.Requests {
				l.Requests[i].Number = i + 1
			}
			w := words{now: now}
			w.conclude(l)
			if l.State != tt.state || !strings.Contains(l.Answer, tt.answer) || !strings.Contains(l.Next, tt.next) || l.Next == "" {
				t.Errorf("%s: %s\nnext: %s", l.State, l.Answer, l.Next)
			}
			if bad := tt.state == Failed || tt.state == Lost || tt.state == Unproven || tt.state == Contradictory; l.State.Bad() != bad {
				t.Errorf("%s is bad: %t", l.State, l.State.Bad())
			}
		})
	}
}

func TestALostRequestSaysThatItWasSentAgain(t *testing.T) {
	lost := Request{Number: 1, Topic: "requests", Partition: 3, Offset: 17, State: Lost, RequestID: "R"}
	for what, tt := range map[string]struct {
		later Request
		says  bool
	}{
		"a replay of it":             {Request{Partition: 3, Offset: 18, RequestID: "R", Replay: 1}, true},
		"the same request once more": {Request{Partition: 3, Offset: 18, RequestID: "R"}, false},
		"a replay of another":        {Request{Partition: 3, Offset: 18, RequestID: "S", Replay: 1}, false},
		"a replay before it":         {Request{Partition: 3, Offset: 16, RequestID: "R", Replay: 1}, false},
	} {
		t.Run(what, func(t *testing.T) {
			tt.later.Number, tt.later.Topic, tt.later.State = 2, "requests", InFlight
			l := &Life{MchID: "M", OutTradeNo: "T1", Requests: []Request{lost, tt.later}}
			w := words{}
			w.conclude(l)
			if got := l.Requests[0].Answer; strings.HasSuffix(got, "; it was sent again as #2") != tt.says {
				t.Error(got)
			}
		})
	}
}

func TestSpansHaveTwoUnitsAtMost(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 20 * time.Millisecond: "20 ms", 3200 * time.Millisecond: "3.2 s", 42 * time.Second: "42 s", 303 * time.Second: "5 min 3 s",
		time.Hour: "1 h", 156 * time.Minute: "2 h 36 min", 76 * time.Hour: "3 d 4 h", -2 * time.Second: "-2.0 s", 59700 * time.Millisecond: "1 min", math.MinInt64: "-106751 d 23 h",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestWordsForAShellAreQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"T2026": "T2026", "a-b_c@d": "a-b_c@d", "T|1": "'T|1'", "T*": "'T*'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "": "''", "-T": "-T",
	} {
		if got := Quoted(word); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}
