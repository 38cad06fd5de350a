package consumer_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Brokers that have not fetched the key of a token endpoint yet refuse its tokens for
// a while. Who is about to begin transactions then waits, as others do.
func TestATokenThatIsRefusedForAWhileEndsNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		from := time.Now()
		stop := c.worker(&closing{}, func(cfg *consumer.Config) {
			exactly(cfg)
			cfg.Kafka.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if time.Since(from) < time.Minute {
					return nil, &kafka.RefusedTokenError{Another: true}
				}
				return c.net.dial(ctx, network, address)
			}
		})
		c.request("T1")
		time.Sleep(2 * time.Minute) // a worker that has ended is told of by stop
		stop()
		if seen := c.seen("outcomes", time.Second); len(seen) != 1 {
			t.Errorf("answered: %q", seen)
		}
	})
}
