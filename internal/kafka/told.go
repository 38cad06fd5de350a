package kafka

import (
	"maps"
	"regexp"
	"sync"
	"time"
)

// tellEvery is how soon the same kind of trouble is told again.
const tellEvery = time.Minute

// Told remembers which trouble was told, so that what lasts is told once and
// then each minute, however often it is tried and from however many ports. The
// zero value has told nothing. It is safe for concurrent use.
type Told struct {
	mu sync.Mutex
	at map[string]time.Time // by kind
}

// Due reports whether err is to be told now, and takes it as told. about keeps
// the same error of different things apart.
func (t *Told) Due(about string, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Connections have ports of their own, and nobody waits equally long twice.
	kind := about + " " + varying.ReplaceAllString(err.Error(), "")
	maps.DeleteFunc(t.at, func(_ string, at time.Time) bool { return time.Since(at) >= tellEvery })
	if _, before := t.at[kind]; before {
		return false
	}
	if t.at == nil {
		t.at = map[string]time.Time{}
	}
	t.at[kind] = time.Now()
	return true
}

// varying is what differs each time: one end of a connection, or both, as net's
// errors have them, and durations.
var varying = regexp.MustCompile(`\S+:\d+(->\S+:\d+)?|\b[0-9.]+(ns|µs|ms|s|m|h)([0-9.]+(s|m))*\b`)
