package kafka

import (
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
	// Partitions fail each on a connection of its own: only the ports differ.
	kind := about + " " + addresses.ReplaceAllString(err.Error(), "")
	if at, before := t.at[kind]; before && time.Since(at) < tellEvery {
		return false
	}
	if t.at == nil {
		t.at = map[string]time.Time{}
	}
	t.at[kind] = time.Now()
	return true
}

// addresses are one end of a connection, or both, as net's errors have them.
var addresses = regexp.MustCompile(`\S+:\d+(->\S+:\d+)?`)
