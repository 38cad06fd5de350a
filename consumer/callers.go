package consumer

import (
	"context"
	"sync"
)

// callers are the goroutines on which requests have their turns. One whose turn
// is over waits for the next: its stack has grown to what a call takes, which a
// new goroutine would have to do again. They are safe for concurrent use.
type callers struct {
	serve func(job) // what a turn is
	most  int       // that wait at the most

	mu   sync.Mutex
	idle []chan job
	over bool // none waits any more
	all  sync.WaitGroup
}

// job is one turn.
type job struct {
	ctx     context.Context // ends it
	request *request
	permit  permit
	called  bool // with a permit: else it is one without a call
}

// do has a turn served by somebody else, at once.
func (c *callers) do(j job) {
	c.mu.Lock()
	if last := len(c.idle) - 1; last >= 0 {
		next := c.idle[last] // its stack is warm
		c.idle = c.idle[:last]
		c.mu.Unlock()
		next <- j
		return
	}
	c.mu.Unlock()
	c.all.Go(func() { c.run(j) })
}

// run serves turns until too many wait for one, or all is over.
func (c *callers) run(j job) {
	jobs := make(chan job, 1)
	for more := true; more; j, more = <-jobs {
		c.serve(j)
		c.mu.Lock()
		if c.over || len(c.idle) >= c.most {
			c.mu.Unlock()
			return
		}
		c.idle = append(c.idle, jobs)
		c.mu.Unlock()
	}
}

// Wait waits until no turn goes on and no goroutine is left. What is done after
// it leaves none either.
func (c *callers) Wait() {
	c.mu.Lock()
	c.over = true
	for _, jobs := range c.idle {
		close(jobs)
	}
	c.idle = nil
	c.mu.Unlock()
	c.all.Wait()
}
