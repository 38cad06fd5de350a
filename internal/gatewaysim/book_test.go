package gatewaysim

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestTheBookKnowsEveryCall(t *testing.T) {
	var observed []Call
	cfg := Config{Latency: Latency{Min: time.Second, Max: time.Second}, Observe: func(c Call) { observed = append(observed, c) }}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		began := time.Now()
		c.close("T1")
		c.query("T1")
		c.create("T1")
		c.call(CloseOrder, c.fields("T1", "sign", "wrong"))

		e, ok := s.Lookup(order1("T1"))
		if !ok || e.Closes != 1 || e.Queries != 1 || e.Creates != 1 || e.MaxInProgress != 1 || e.InProgress != 0 {
			t.Fatalf("%+v", e)
		}
		if len(e.Calls) != 3 || len(observed) != 4 {
			t.Fatalf("%d calls in the book, %d observed", len(e.Calls), len(observed))
		}
		for i, want := range []Call{
			{Op: CloseOrder, Answer: "SUCCESS"}, {Op: OrderQuery, Answer: "CLOSED"}, {Op: UnifiedOrder, Answer: "ORDERCLOSED"},
		} {
			got := e.Calls[i]
			if got.Op != want.Op || got.Answer != want.Answer || got.N != i+1 || got.Host != "127.0.0.1:80" || got.Order != order1("T1") ||
				!got.Start.Equal(began.Add(time.Duration(i)*time.Second)) || got.End.Sub(got.Start) != time.Second {
				t.Errorf("call %d: %+v", i, got)
			}
			if o := observed[i]; o.N != got.N || o.Answer != got.Answer || !o.End.Equal(got.End) {
				t.Errorf("observed %+v", o)
			}
		}
		if last := observed[3]; last.Answer != "SIGNERROR" || last.N != 0 || last.Order != (Order{}) {
			t.Errorf("refused: %+v", last)
		}
		if _, ok := s.Lookup(order1("T2")); ok {
			t.Error("looking up an order made it up")
		}
	})
}

func TestTwoCallsOfOneOrderAtOnceAreSeen(t *testing.T) {
	virtual(t, Config{Latency: Latency{Min: time.Second, Max: time.Second}}, func(t *testing.T, s *Simulator, c *client) {
		var wg sync.WaitGroup
		for _, number := range []string{"T1", "T1", "T1", "T2", "T3"} {
			wg.Go(func() { c.close(number) })
		}
		time.Sleep(500 * time.Millisecond)
		if st := s.Stats(); st.InProgress != 5 {
			t.Errorf("%d calls in progress, want 5", st.InProgress)
		}
		wg.Wait()
		c.close("T2")
		if e, _ := s.Lookup(order1("T1")); e.MaxInProgress != 3 {
			t.Errorf("T1: %d at once, want 3", e.MaxInProgress)
		}
		if e, _ := s.Lookup(order1("T2")); e.MaxInProgress != 1 {
			t.Errorf("T2: %d at once, want 1", e.MaxInProgress)
		}
		if st := s.Stats(); st.InProgress != 0 || st.MaxInProgress != 5 || st.Calls != 6 {
			t.Errorf("%+v", st)
		}
	})
}

// A client that asks again the moment it has the answer, or has given up,
// must not be seen with two calls at once.
func TestACallIsOverWhenItsClientHasTheAnswerOrGaveUp(t *testing.T) {
	for _, prefix := range []string{"T", "RESET", "DRIP", "LOST", "STALL", "HTML", "STATUS", "SLOW"} {
		virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
			c.http.Timeout = 2 * time.Second
			for range 5 {
				c.close(prefix + "-1")
				time.Sleep(time.Nanosecond) // the least back-off: the server has seen that the client is gone
			}
			if e, _ := s.Lookup(order1(prefix + "-1")); e.MaxInProgress != 1 || e.Closes != 5 {
				t.Errorf("%s: %d at once in %d calls", prefix, e.MaxInProgress, e.Closes)
			}
		})
	}
}

// Over TCP, where the reply and the next call really race.
func TestACallIsOverBeforeItsClientCanAskAgain(t *testing.T) {
	s := newSimulator(t, Config{FlakyCalls: 3})
	c := serveTCP(t, s)
	for i := range 100 {
		for _, prefix := range []string{"T", "RESET", "LOST", "STATUS", "HTML", "HUGE"} {
			number := fmt.Sprint(prefix, "-", i)
			for range 4 {
				c.close(number)
			}
			if e, _ := s.Lookup(order1(number)); e.MaxInProgress != 1 || e.Closes != 4 {
				t.Fatalf("%s: %d at once in %d calls", number, e.MaxInProgress, e.Closes)
			}
		}
	}
}

func TestADripThatIsReadToItsEndIsAReply(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		c.http.Timeout = 0
		expect(t, "drip", c.close("DRIP-1"), "SUCCESS")
		e, _ := s.Lookup(order1("DRIP-1"))
		if d := e.Calls[0].End.Sub(e.Calls[0].Start); d < 5*time.Minute {
			t.Errorf("took %v", d)
		}
	})
}

// Half of the calls that are given up before the close take effect all the
// same, as at the real gateway nobody can tell.
func TestACallThatWasGivenUpMayTakeEffect(t *testing.T) {
	virtual(t, Config{Latency: Latency{Min: time.Hour, Max: time.Hour}}, func(t *testing.T, s *Simulator, c *client) {
		const n = 60
		for i := range n {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, said := c.post(ctx, CloseOrder, document(c.fields(fmt.Sprint("T", i)))); said != "time-out" {
				t.Errorf("got %s", said)
			}
			cancel()
		}
		time.Sleep(time.Second)
		st := s.Stats()
		if closed := st.Orders[Closed]; closed < n/4 || closed > n*3/4 {
			t.Errorf("%d of %d closed", closed, n)
		}
		if e, _ := s.Lookup(order1("T0")); !e.Calls[0].GaveUp {
			t.Errorf("%+v", e.Calls[0])
		}
	})
}

func TestARepeatedNonceIsCounted(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		for _, nonce := range []string{"a", "b", "b", "a", "a"} {
			c.call(CloseOrder, c.fields("T1", "nonce_str", nonce))
		}
		if e, _ := s.Lookup(order1("T1")); e.RepeatedNonces != 2 {
			t.Errorf("%d repeated", e.RepeatedNonces)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	for history, want := range map[int]int{0: 10, 3: 3, -1: 0} {
		virtual(t, Config{History: history}, func(t *testing.T, s *Simulator, c *client) {
			for range 10 {
				c.close("T1")
			}
			e, _ := s.Lookup(order1("T1"))
			if len(e.Calls) != want || e.CallsForgotten != 10-want || e.Closes != 10 {
				t.Errorf("history %d: %d calls, %d forgotten, of %d", history, len(e.Calls), e.CallsForgotten, e.Closes)
			}
			if want > 0 && e.Calls[want-1].N != 10 {
				t.Errorf("the newest call is %d", e.Calls[want-1].N)
			}
			if len(e.Events) != 2 {
				t.Errorf("events %v", e.Events)
			}
		})
	}
}

// Many clients at once over TCP: nothing is lost, and every order is closed
// exactly once.
func TestTheBookBalancesUnderConcurrency(t *testing.T) {
	s := newSimulator(t, Config{History: 8})
	c := serveTCP(t, s)
	const orders, clients = 50, 8
	var mu sync.Mutex
	got := make(map[string]int)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range orders {
				answer := c.close(fmt.Sprint("T", i))
				mu.Lock()
				got[answer]++
				mu.Unlock()
				s.Lookup(order1("T0"))
			}
		})
	}
	wg.Wait()
	if got["SUCCESS"] != orders || got["ORDERCLOSED"] != orders*(clients-1) {
		t.Errorf("%v", got)
	}
	book := s.Book()
	if len(book) != orders {
		t.Fatalf("%d orders", len(book))
	}
	for i, e := range book {
		if e.State != Closed || e.Closes != clients || len(e.Events) != 2 || e.InProgress != 0 {
			t.Errorf("%+v", e)
		}
		if i > 0 && book[i-1].OutTradeNo >= e.OutTradeNo {
			t.Errorf("not sorted: %s before %s", book[i-1].OutTradeNo, e.OutTradeNo)
		}
	}
}

func TestServeStopsWithinItsGrace(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		// stop, called at the end, must cut this one: it waits for ever.
		s.SetOutage(AllHosts, OutageFreeze)
		hurried := &http.Client{Transport: c.http.Transport}
		c.http = hurried
		go c.close("FROZEN")
		time.Sleep(time.Second)
	})
}

func TestServeLetsACallFinish(t *testing.T) {
	result := make(chan string, 1)
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		go func() { result <- c.close("SLOW-1") }()
		time.Sleep(time.Second) // SLOW takes 3 s; the server is stopped now
	})
	expect(t, "the last call", <-result, "SUCCESS")
}
