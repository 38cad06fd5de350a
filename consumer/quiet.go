package consumer

import (
	"context"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

// keepEvery is how often positions are committed again that do not move. A
// coordinator that forgets them does so after offsets.retention.minutes, a day by
// default, or after what the commit itself says, see [kafka.Client.Commit].
const keepEvery = time.Hour

// keepPositions commits the positions of all partitions again from time to time
// where the coordinator would forget those of quiet ones (before Kafka 2.1, KIP-211):
// who gets such a partition next would begin with its first record, and do all of it
// again.
func (w *Worker) keepPositions(ctx context.Context) {
	for kafka.Sleep(ctx, keepEvery) == nil {
		forgets, err := w.client.ForgetsPositions(ctx, w.cfg.Group)
		if err != nil {
			continue // of a cluster that is away others tell
		}
		if !forgets {
			return
		}
		for _, p := range w.owned.all() {
			w.committer.markDirty(p)
		}
	}
}
