package consumer

import (
	"maps"
	"sync"
	"time"
)

// news says when something may be told again, so that what keeps happening does
// not fill the log. It is safe for concurrent use.
type news struct {
	every time.Duration

	mu   sync.Mutex // guards last; no other lock is taken under it
	last map[string]time.Time
}

// mostNews bounds what is remembered, as order services name merchants. What
// comes on top waits until something else may be told again.
const mostNews = 1000

// due says whether what is to be told now, and that it was.
func (n *news) due(what string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, told := n.last[what]; told && now.Sub(last) < n.every {
		return false
	}
	if len(n.last) >= mostNews {
		maps.DeleteFunc(n.last, func(_ string, last time.Time) bool { return now.Sub(last) >= n.every })
		if len(n.last) >= mostNews {
			return false
		}
	}
	if n.last == nil {
		n.last = make(map[string]time.Time)
	}
	n.last[what] = now
	return true
}
