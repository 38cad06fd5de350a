package consumer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Who is put off so that others need not wait behind it, and who never is.
func TestCrowd(t *testing.T) {
	for sentence, c := range map[string]struct {
		change func(n *inn, p *partition) // of what stands so that the next one is put off
		stays  bool
	}{
		"memory runs short, its merchant's requests wait, and another merchant waits for nothing": {func(n *inn, p *partition) {}, false},
		"there is room": {func(n *inn, p *partition) { p.bytes = 0 }, true},
		"the first of its merchant waits for a moment only": {func(n *inn, p *partition) {
			for _, i := range eight {
				n.over("slow" + i)
			}
			n.fill(p, "slow")
		}, true},
		"its merchant is alone, for an hour":                     {func(n *inn, p *partition) { time.Sleep(time.Hour) }, true},
		"nobody else has asked for some minutes":                 {func(n *inn, p *partition) { time.Sleep(10 * time.Minute) }, false},
		"the other waits, too":                                   {func(n *inn, p *partition) { n.fill(p, "brisk"); time.Sleep(3 * time.Second) }, true},
		"the gateway has just come back":                         {func(n *inn, p *partition) { n.breaker.limit = 3 }, true},
		"the brokers are slow":                                   {func(n *inn, p *partition) { n.unpublished = n.maxUnpublished / 2 }, true},
		"its partition is given up":                              {func(n *inn, p *partition) { n.pause([]*partition{p}) }, true},
		"its merchant rests, and what is new of it is held back": {func(n *inn, p *partition) { n.rest("slow 0", time.Minute, false); time.Sleep(3 * time.Second) }, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartition(t.Context(), topicPartition{"t", 0})
				p.begin(0, nil)
				n := newInn(1)
				defer n.breaker.stop()
				defer n.finishAll(p)
				n.widen(4)
				n.mostUncalled = 1
				n.asks(p, "brisk", "brisk")
				n.over("brisk")
				n.fill(p, "slow")
				time.Sleep(3 * time.Second)
				p.bytes = maxOpenBytes
				c.change(n, p)
				n.asks(p, "slow", "next")
				n.mu.Lock()
				defer n.mu.Unlock()
				stays := true
				for _, s := range n.started {
					stays = stays && s != "next/ without a call"
				}
				if stays != c.stays {
					t.Errorf("it stays: %v; started %v", stays, n.started)
				}
			})
		})
	}
}

var eight = []string{" 0", " 1", " 2", " 3", " 4", " 5", " 6", " 7"}

// fill takes all slots that a merchant may have, and lets some wait.
func (n *inn) fill(p *partition, mchID string) {
	for _, i := range eight {
		n.asks(p, mchID, mchID+i)
	}
}

// What filled the memory before anybody had waited for long is put off as well, the
// last first.
func TestTheLastThatWaitMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartition(t.Context(), topicPartition{"t", 0})
		p.begin(0, nil)
		n := newInn(1)
		defer n.breaker.stop()
		defer n.finishAll(p)
		n.widen(4)
		n.asks(p, "brisk", "brisk")
		n.over("brisk")
		p.bytes = maxOpenBytes
		n.fill(p, "slow")
		n.want(t, "brisk", "slow 0", "slow 1", "slow 2")
		time.Sleep(3 * time.Second)
		n.over("slow 0")
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, s := range []string{"slow 7/ without a call", "slow 4/ without a call"} {
			if !slices.Contains(n.started, s) {
				t.Errorf("started %v, want %s", n.started, s)
			}
		}
	})
}

func TestWhoIsCrowdedOutIsPutOffForLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{cfg: Config{Now: time.Now, Log: silent()}}
		for sentence, c := range map[string]struct {
			request *request
			want    time.Duration // 0: not at all
		}{
			"not one that was not marked":                 {&request{}, 0},
			"at first for as long as others wait":         {&request{crowded: 3 * time.Second}, 3 * time.Second},
			"then for as long as it has waited":           {&request{crowded: 3 * time.Second, hadBefore: 40 * time.Second}, 40 * time.Second},
			"for some minutes at the most":                {&request{crowded: 3 * time.Second, hadBefore: time.Hour}, longestCrowded},
			"not one that has expired: it is asked about": {&request{crowded: 3 * time.Second, req: events.Request{ExpiresAt: time.Now()}}, 0},
		} {
			r := c.request
			r.taken = time.Now()
			got, is := w.crowded(r)
			if got.verdict.RetryAfter != c.want || is != (c.want > 0) || is && got.turn != crowdedOut || r.crowded != 0 {
				t.Errorf("%s: %v, %v", sentence, is, got.verdict)
			}
		}
	})
}
