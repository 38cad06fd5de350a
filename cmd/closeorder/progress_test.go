package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestABarIsSeenLateAndTellsTheRateOfAllTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newStream()
		p := newProgress(out, "replaying", 1000, false)
		for second := range 5 {
			time.Sleep(time.Second) // of the bubble
			p.add(50)
			if shown := out.String() != ""; shown != (time.Duration(second+1)*time.Second >= barAfter) {
				t.Errorf("after %d s: %q", second+1, out)
			}
		}
		for _, want := range []string{"replaying", "(250/1000, 50 it/s)", ":15s]"} { // 750 are left
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s is not in %q", want, out)
			}
		}
		p.finish()
		p.add(1) // of a goroutine that ends later
	})
}

// A topic can hold more records than an int of 32 bits counts.
func TestABarCountsToMoreThan32Bits(t *testing.T) {
	const records int64 = 3 << 31
	if p := newProgress(newStream(), "reading", records, false); p.bar.GetMax64() != records {
		t.Errorf("counts to %d, want %d", p.bar.GetMax64(), records)
	}
}

func TestAShortWorkShowsNoBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newStream()
		p := newProgress(out, "reading", 2, false)
		p.add(1)
		time.Sleep(time.Second) // of the bubble
		p.add(1)
		time.Sleep(time.Minute) // of the bubble
		p.finish()
		if out.String() != "" {
			t.Errorf("%q", out)
		}
	})
}
