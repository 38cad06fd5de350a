package kafka

import (
	"testing"
	"time"
)

// full is a fetcher that has so many bytes for its readers, of which most may
// be, and one source of it, without any.
func full(most, packed int) (f *fetcher, hungry *Source) {
	f = &fetcher{most: most, packed: packed, brokers: make(map[int32]*fetchedBroker), sources: make(map[*Source]struct{}), batches: make(map[string]int)}
	hungry = &Source{fetcher: f, place: place{"t", 0}, bytes: most / 8, ready: make(chan struct{}, 1)}
	f.sources[hungry] = struct{}{}
	return f, hungry
}

// What is asked for without room for it is thrown away when it comes, and asked
// for again at once: for as long as a large batch waits for its reader.
func TestNothingIsAskedForThatCouldNotBeKept(t *testing.T) {
	const most = 1 << 20
	for sentence, tt := range map[string]struct {
		packed         int
		fully, lightly bool
	}{
		"there is room":                                   {most / 2, true, false},
		"there is none, but for a little":                 {most, false, true},
		"there is not even room for a little":             {2*most - lightFetch + 1, false, false},
		"a batch is there that is larger than all may be": {3 * most, false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			f, s := full(most, tt.packed)
			fully, lightly := f.admits(s, time.Now())
			if fully != tt.fully || lightly != tt.lightly {
				t.Errorf("asked for fully: %v, lightly: %v, want %v, %v", fully, lightly, tt.fully, tt.lightly)
			}
			if !fully && !f.thwarted {
				t.Error("nobody makes room")
			}
			if lightly && !f.keep(s, lightFetch) {
				t.Error("what comes is not kept")
			}
		})
	}
}

// A broker has failed, and what it brought before waits for a reader that is away:
// others need its room.
func TestWhatAFailedBrokerHasBroughtMakesRoom(t *testing.T) {
	const most = 1 << 20
	f, hungry := full(most, 0)
	away := &Source{fetcher: f, place: place{"t", 1}, bytes: most, ready: make(chan struct{}, 1), away: time.Now().Add(-dropAfter)}
	f.sources[away] = struct{}{}
	b := &fetchedBroker{fetcher: f, wake: make(chan struct{}, 1)}
	away.home, b.sources = b, []*Source{away}
	f.brokers[0] = b
	if !f.keep(away, most) {
		t.Fatal("it is not kept")
	}
	away.size, away.position, away.doubted = most, 100, true
	b.remove(away)
	away.fail(errStalled)
	f.reclaim(time.Now())
	if fully, _ := f.admits(hungry, time.Now()); !fully || f.packed != 0 || !away.dropped {
		t.Errorf("%d bytes wait for a reader that is away; another one is asked for: %v", f.packed, fully)
	}
	if away.position != away.offset || away.doubted || !away.hungry() {
		t.Error("it is not fetched again when its reader comes back")
	}
}
