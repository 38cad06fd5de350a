package broker

import (
	"math"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tellAborted has kfake tell readers of committed records which of them were
// aborted. It forgets to where an answer is full in the middle of a partition, by
// max_bytes of the whole: such a reader takes them for committed then. So once
// there are transactions no answer is full by that, only by the bytes of each
// partition. Kafka's clients take more than they have asked for (KIP-74).
func tellAborted(c *kfake.Cluster, persistent bool) {
	var transactions atomic.Bool
	transactions.Store(persistent) // from before, perhaps
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if r.(*kmsg.InitProducerIDRequest).TransactionalID != nil {
			transactions.Store(true)
		}
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if fetch := r.(*kmsg.FetchRequest); fetch.IsolationLevel == 1 && transactions.Load() {
			fetch.MaxBytes = math.MaxInt32
		}
		return nil, nil, false
	})
}
