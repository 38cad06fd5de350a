// Package changes wakes those who show something when it changes.
package changes

import (
	"context"
	"sync"
)

// Counter counts the changes of something: its version. The zero value is at version
// 0, before all. It is safe for concurrent use, and must not be copied.
type Counter struct {
	mu      sync.Mutex
	version uint64
	next    chan struct{} // closed with the next change; nil where nobody waits
}

// Change counts one change, and wakes who waits for it.
func (c *Counter) Change() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// Version is the present one.
func (c *Counter) Version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// Changed waits until there is a change after a version, and returns the new one; 0 is
// before all. The error is the cause of ctx, and the version then the one given.
func (c *Counter) Changed(ctx context.Context, after uint64) (uint64, error) {
	for {
		version, next := c.look(after)
		if version > after {
			return version, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return after, context.Cause(ctx)
		}
	}
}

// look returns the version, and what is closed with the next change where that is
// waited for.
func (c *Counter) look(after uint64) (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version <= after && c.next == nil {
		c.next = make(chan struct{})
	}
	return c.version, c.next
}
