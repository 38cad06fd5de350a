package desk

import (
	"context"
	"sync"
)

// changes counts what changes, for those who show it.
type changes struct{ now *counted }

type counted struct {
	mu      sync.Mutex
	version uint64
	next    chan struct{}
}

func newChanges() changes { return changes{&counted{version: 1, next: make(chan struct{})}} }

// changed: something did.
func (c changes) changed() {
	c.now.mu.Lock()
	defer c.now.mu.Unlock()
	c.now.version++
	close(c.now.next)
	c.now.next = make(chan struct{})
}

// Changed waits until something changes after a version, and returns the new one; 0
// is before all. The error is the cause of ctx.
func (c changes) Changed(ctx context.Context, after uint64) (uint64, error) {
	for {
		c.now.mu.Lock()
		version, next := c.now.version, c.now.next
		c.now.mu.Unlock()
		if version > after {
			return version, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return version, context.Cause(ctx)
		}
	}
}
