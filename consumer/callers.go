package consumer

import (
	"context"
	"sync"
)

// callers are the goroutines on which requests have their turns. One whose turn
// is over goes on with the turn that its end has made room for, which wakes
// nobody, or waits for another: its stack has grown to what a call takes, which a
// new goroutine would have to do again. They are safe for concurrent use.
type callers struct {
	serve func(job) // what a turn is; it calls ending at its end
	most  int       // that wait at the most

	mu   sync.Mutex
	ends int        // turns that are about to end, and have no next one
	next queue[job] // for those that have
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
	if c.ends > 0 {
		c.ends--
		c.next.push(j)
		c.mu.Unlock()
		return
	}
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

// ending says that the turn on this goroutine does nothing more that takes time.
func (c *callers) ending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends++
}

// run serves turns until too many wait for one, or all is over.
func (c *callers) run(j job) {
	jobs := make(chan job, 1)
	for more := true; more; {
		c.serve(j)
		c.mu.Lock()
		if c.next.len() > 0 {
			j = c.next.pop() // its own, or of another that is about to end
			c.mu.Unlock()
			continue
		}
		c.ends--
		if c.over || len(c.idle) >= c.most {
			c.mu.Unlock()
			return
		}
		c.idle = append(c.idle, jobs)
		c.mu.Unlock()
		j, more = <-jobs
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
