package closer

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errRefused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}

func twoHosts(cfg *Config, _ *gateway) {
	cfg.Hosts = []string{"http://main.test", "http://backup.test"}
}

// hostsSeen counts the calls that arrived, by host.
func (g *gateway) hostsSeen() map[string]int {
	n := map[string]int{}
	for _, c := range g.seen() {
		n[c.host]++
	}
	return n
}

func TestFailoverWithinOneClose(t *testing.T) {
	noSuchHost := &net.DNSError{Err: "no such host", Name: "main.test", IsNotFound: true}
	for sentence, tt := range map[string]struct {
		down error
		wait time.Duration
		fail Failure
	}{
		"a refused connection":  {errRefused, 0, FailConnect},
		"a black hole":          {errHang, 5 * time.Second, FailConnect},
		"a name without answer": {noSuchHost, 0, FailDNS},
	} {
		t.Run(sentence, func(t *testing.T) {
			var first Attempt
			change := func(cfg *Config, g *gateway) {
				twoHosts(cfg, g)
				cfg.Observe = func(_ context.Context, a Attempt) {
					if a.Number == 1 {
						first = a
					}
				}
			}
			inBubble(t, script(code("ORDERCLOSED")), change, func(t *testing.T, c *Closer, g *gateway) {
				g.setDown("main.test", tt.down)
				c.cfg.Confirm = ConfirmNever
				start := time.Now()
				v := c.Close(t.Context(), order())
				if v.Class != Closed || v.Gateway.Host != "http://backup.test" || v.Calls != 2 {
					t.Errorf("got %+v", v)
				}
				if took, want := time.Since(start), tt.wait+500*time.Millisecond; took != want {
					t.Errorf("took %v, want %v", took, want)
				}
				if first.Failure != tt.fail || !first.Failure.hostDown() || first.Duration != tt.wait {
					t.Errorf("first attempt %+v", first)
				}
			})
		})
	}
}

// After more than two connect time-outs the main host is left, and tried
// again, by one call at a time, three minutes later.
func TestLeavingTheMainHostAndComingBack(t *testing.T) {
	inBubble(t, script(closeSuccess()), twoHosts, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		g.setDown("main.test", errHang)
		closes := func(want time.Duration, sentence string) {
			t.Helper()
			start := time.Now()
			if v := c.Close(t.Context(), order()); v.Class != Closed {
				t.Errorf("%s: %+v", sentence, v)
			}
			if took := time.Since(start); took != want {
				t.Errorf("%s: took %v, want %v", sentence, took, want)
			}
		}
		const slow = 5500 * time.Millisecond // connect time-out, pause, backup
		for range 3 {
			closes(slow, "while the main host is believed in")
		}
		for range 5 {
			closes(0, "on the backup")
		}
		if h := c.Hosts(); h[1].InUse || !h[0].InUse || c.hosts["http://main.test"].connectErrors != 3 || h[1].LastFailure != FailConnect {
			t.Errorf("health %+v", h)
		}

		time.Sleep(3 * time.Minute)
		var wg sync.WaitGroup
		took := make([]time.Duration, 20)
		for i := range took {
			wg.Go(func() {
				start := time.Now()
				c.Close(t.Context(), order())
				took[i] = time.Since(start)
			})
		}
		wg.Wait()
		waited := 0
		for _, d := range took {
			if d > 0 {
				waited++
			}
		}
		if waited != 1 {
			t.Errorf("%d of 20 calls found out that the main host is still dead, want 1", waited)
		}

		g.setDown("main.test", nil)
		closes(0, "left for another three minutes")
		before := g.hostsSeen()["main.test"]
		time.Sleep(3 * time.Minute)
		for range 10 {
			closes(0, "back on the main host")
		}
		if n := g.hostsSeen()["main.test"] - before; n != 10 {
			t.Errorf("%d of 10 calls went to the main host after it came back", n)
		}
		if h := c.Hosts(); !h[1].InUse || c.hosts["http://main.test"].connectErrors != 0 {
			t.Errorf("health %+v", h[1])
		}
	})
}

func TestReadErrorsDoNotMoveTheTraffic(t *testing.T) {
	answer := func(c call, _ int) reply {
		if c.host == "main.test" {
			return reply{} // hangs up
		}
		return closeSuccess()
	}
	inBubble(t, answer, twoHosts, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		for range 5 {
			if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 2 {
				t.Errorf("got %+v", v)
			}
		}
		if n := g.hostsSeen(); n["main.test"] != 5 || n["backup.test"] != 5 {
			t.Errorf("calls went to %v", n)
		}
	})
}

// A main host at which everything fails holds up nobody while the backup is
// well, and gets its traffic back.
func TestFailingMainHostUnderLoad(t *testing.T) {
	var mu sync.Mutex
	broken := true
	answer := func(c call, _ int) reply {
		mu.Lock()
		defer mu.Unlock()
		if broken && c.host == "main.test" {
			return after(50*time.Millisecond, reply{status: 503})
		}
		return after(50*time.Millisecond, closeSuccess())
	}
	inBubble(t, answer, twoHosts, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		c.cfg.Rate = -1
		load := func(n int) (slowest time.Duration) {
			var wg sync.WaitGroup
			var m sync.Mutex
			for range n {
				wg.Go(func() {
					start := time.Now()
					v := c.Close(t.Context(), order())
					if v.Class != Closed {
						t.Errorf("got %+v", v)
					}
					m.Lock()
					slowest = max(slowest, time.Since(start))
					m.Unlock()
				})
			}
			wg.Wait()
			return slowest
		}
		load(200)
		before := g.hostsSeen()
		slowest := load(200)
		if slowest > 2*time.Second {
			t.Errorf("the slowest of 200 closes took %v although the backup is well", slowest)
		}
		seen := g.hostsSeen()
		if n := seen["main.test"] - before["main.test"]; n > 40 {
			t.Errorf("%d of 200 closes began at the failing host", n)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		for range 10 {
			load(20)
		}
		before = g.hostsSeen()
		load(100)
		if n := g.hostsSeen()["main.test"] - before["main.test"]; n != 100 {
			t.Errorf("%d of 100 closes went to the main host after it got well", n)
		}
	})
}

// With every host gone nothing is failed, and the first host that is back is
// found.
func TestEveryHostGoneAndBack(t *testing.T) {
	inBubble(t, script(closeSuccess()), twoHosts, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		g.setDown("main.test", errRefused)
		g.setDown("backup.test", errRefused)
		for range 10 {
			if v := c.Close(t.Context(), order()); v.Class != NoAnswer || v.Code != "CONNECT_FAILED" {
				t.Errorf("got %+v", v)
			}
		}
		g.setDown("backup.test", nil)
		if v := c.Close(t.Context(), order()); v.Class != Closed || v.Gateway.Host != "http://backup.test" {
			t.Errorf("with the backup back: %+v", v)
		}
		start := time.Now()
		if v := c.Close(t.Context(), order()); v.Class != Closed || v.Calls != 1 || time.Since(start) != 0 {
			t.Errorf("the next one: %+v after %v", v, time.Since(start))
		}
	})
}

func TestMerchantsOwnHosts(t *testing.T) {
	inBubble(t, script(closeSuccess()), func(_ *Config, g *gateway) { g.m.Hosts = []string{"http://own.test/"} }, func(t *testing.T, c *Closer, g *gateway) {
		if v := c.Close(t.Context(), order()); v.Gateway.Host != "http://own.test" {
			t.Errorf("called %q", v.Gateway.Host)
		}
	})
}

func TestTrialIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{url: "http://x", slots: newSlots(1)}
		inUse := func() bool { used, _ := h.try(false, time.Now()); return used }
		try := func() bool { _, trial := h.try(true, time.Now()); return trial }
		for range 3 {
			h.report(FailConnect, time.Now())
		}
		if inUse() || try() {
			t.Error("still in use after three connect failures")
		}
		time.Sleep(leaveFor)
		if !try() || try() {
			t.Error("one call at a time should try a host that was left")
		}
		h.report(FailTimeout, time.Now()) // a call that began before the host was left
		if inUse() || try() {
			t.Error("a connection that hangs since before brings the host back, or ends the trial")
		}
		h.tried() // its context ended: it found out nothing
		if !try() {
			t.Error("nobody may try after an interrupted trial")
		}
		h.report(FailStatus, time.Now())
		if !inUse() {
			t.Error("a bad answer is a connection all the same")
		}
	})
}

// A backup that was left is used again when the main host, which is in use,
// lets a call down: 5xx and time-outs do not make anybody leave the main host.
func TestABackupThatWasLeftComesBack(t *testing.T) {
	bad := false
	answer := func(c call, _ int) reply {
		if bad && c.host == "main.test" {
			return reply{status: 502}
		}
		return closeSuccess()
	}
	inBubble(t, answer, twoHosts, func(t *testing.T, c *Closer, g *gateway) {
		c.cfg.Confirm = ConfirmNever
		g.setDown("main.test", errRefused)
		g.setDown("backup.test", errRefused)
		for range 2 {
			c.Close(t.Context(), order())
		}
		g.setDown("main.test", nil)
		g.setDown("backup.test", nil)
		time.Sleep(time.Hour)
		if v := c.Close(t.Context(), order()); v.Gateway.Host != "http://main.test" {
			t.Fatalf("the main host is not back: %+v", v)
		}
		if h := c.Hosts(); h[0].URL != "http://backup.test" || h[0].InUse {
			t.Fatalf("the backup was not left: %+v", h)
		}
		bad = true
		for range 3 {
			if v := c.Close(t.Context(), order()); v.Class != Closed || v.Gateway.Host != "http://backup.test" {
				t.Errorf("with the main host ill: %+v", v)
			}
		}
		if h := c.Hosts(); !h[0].InUse {
			t.Errorf("the backup is still left: %+v", h[0])
		}
	})
}

// Whoever was to find out whether a host is back and got no slot for it leaves
// that to the next one.
func TestATrialThatFindsNoSlot(t *testing.T) {
	now := time.Now()
	h := &host{slots: newSlots(1), leftUntil: now}
	if !h.slots.tryAcquire("other") {
		t.Fatal("no slot")
	}
	if _, err := take(t.Context(), "m", now, []*host{h}, 1, now); err == nil {
		t.Fatal("got a slot that is taken")
	}
	h.slots.giveBack("other")
	if s, err := take(t.Context(), "m", now.Add(time.Minute), []*host{h}, 1, now); err != nil || !s.trial {
		t.Errorf("the next call is no trial: %+v, %v", s, err)
	}
}
