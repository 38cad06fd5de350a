package peers

import "sync"

// watermark knows how far a partition has been finished when its records are
// finished in any order.
type watermark struct {
	mu   sync.Mutex
	idle *sync.Cond
	open []mark // in the order of their offsets
}

type mark struct {
	offset int64
	done   bool
}

func newWatermark() *watermark {
	w := &watermark{}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// begin opens an offset, which is greater than all before it.
func (w *watermark) begin(offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, mark{offset: offset})
}

// finish returns the offset to commit when that one has moved.
func (w *watermark) finish(offset int64) (commit int64, moved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	low, high := 0, len(w.open)
	for low < high {
		if middle := (low + high) / 2; w.open[middle].offset < offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	w.open[low].done = true
	for len(w.open) > 0 && w.open[0].done {
		commit, moved = w.open[0].offset+1, true
		w.open = w.open[1:]
	}
	if len(w.open) == 0 {
		w.idle.Broadcast()
	}
	return commit, moved
}

// wait returns when nothing is open.
func (w *watermark) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.open) > 0 {
		w.idle.Wait()
	}
}
