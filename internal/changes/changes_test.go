package changes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoWaitsIsWokenByTheNextChangeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Counter
		woken := make(chan uint64, 2)
		for range 2 {
			go func() {
				version, err := c.Changed(t.Context(), 0)
				if err != nil {
					t.Error(err)
				}
				woken <- version
			}()
		}
		synctest.Wait()
		if len(woken) != 0 {
			t.Fatal("somebody was woken before anything had changed")
		}
		c.Change()
		synctest.Wait()
		if len(woken) != 2 || <-woken != 1 || <-woken != 1 {
			t.Error("both are to see version 1")
		}
	})
}

func TestWhatHasChangedIsNotWaitedFor(t *testing.T) {
	var c Counter
	c.Change()
	c.Change()
	if version, err := c.Changed(t.Context(), 1); version != 2 || err != nil || c.Version() != 2 {
		t.Errorf("version %d, %v", version, err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Counter
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if version, err := c.Changed(ctx, 7); version != 7 || err == nil {
			t.Errorf("version %d, %v", version, err)
		}
	})
}
