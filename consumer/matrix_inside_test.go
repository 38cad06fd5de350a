package consumer

import (
	"testing"
	"testing/synctest"
)

// However slow the gateway and the brokers are, of one partition no more than
// a window of offsets and maxOpenBytes, passed by one record, are in memory.
func TestIntakeOfAPartitionStopsAtItsBounds(t *testing.T) {
	for sentence, c := range map[string]struct {
		size int64
		most int
	}{
		"many small records":                     {1, window},
		"large ones":                             {1 << 20, maxOpenBytes >> 20},
		"one of a size that no bound allows for": {2 * maxOpenBytes, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartition(t.Context(), topicPartition{"t", 0})
				p.begin(0, nil)
				var opened []*request
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range int64(3 * window) {
						next := &request{partition: p, offset: i, size: c.size}
						if _, err := p.open(next); err != nil {
							return
						}
						opened = append(opened, next)
					}
				}()
				synctest.Wait()
				if len(opened) != c.most {
					t.Errorf("%d records are open, want %d", len(opened), c.most)
				}
				p.finish(opened[0])
				synctest.Wait()
				if len(opened) != c.most+1 {
					t.Errorf("%d records were opened when one had left, want %d", len(opened), c.most+1)
				}
				p.revoke(errStopped)
				<-done
			})
		})
	}
}
