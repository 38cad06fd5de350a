package topicreader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// askTimeout bounds one question to a broker; without a deadline a frozen
	// broker holds it for ever.
	askTimeout = 10 * time.Second
	// firstPause and longestPause lie between tries.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// persist calls ask until it succeeds, fails for good, patience or ctx ends.
// The error is then the last failure, which says more than "deadline
// exceeded", and wraps the context's. ask is told when it all began.
func (r *Reader) persist(ctx context.Context, topic string, partition int, ask func(ctx context.Context, began time.Time) error) error {
	pause := firstPause
	began := time.Now()
	for {
		once, cancel := context.WithTimeout(ctx, askTimeout)
		err := ask(once, began)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !lasting(err) {
			if took := time.Since(began); r.Patience > 0 && took > r.Patience {
				return &StalledError{Topic: topic, Partition: partition, For: took, Err: err}
			}
			r.retrying(topic, partition, err)
			if sleep(ctx, pause) == nil {
				pause = min(2*pause, longestPause)
				continue
			}
		}
		return r.failed(ctx, topic, err)
	}
}

func (r *Reader) retrying(topic string, partition int, err error) {
	if r.OnRetry != nil {
		r.OnRetry(topic, partition, err)
	}
}

// failed makes the error of a reading that ends.
func (r *Reader) failed(ctx context.Context, topic string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return cause
		}
		return fmt.Errorf("topic %s: %w (last failure: %w)", topic, cause, err)
	}
	var missing *MissingTopicError
	var stalled *StalledError
	if errors.As(err, &missing) || errors.As(err, &stalled) {
		return err // it names the topic
	}
	return fmt.Errorf("topic %s: %w", topic, err)
}

// lasting reports whether an error will still be there on another try. All
// that is not named here is worth one: connections break, leaders move.
func lasting(err error) bool {
	var missing *MissingTopicError
	var stalled *StalledError
	if errors.As(err, &missing) || errors.As(err, &stalled) {
		return true
	}
	for _, e := range []kafka.Error{
		kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.SASLAuthenticationFailed,
		kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState,
		kafka.InvalidTopic, kafka.UnsupportedVersion, kafka.UnsupportedForMessageFormat,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// unknownTopic reports whether err may mean that there is no such topic. It
// may as well mean that no broker was reached yet: ask Partitions.
func unknownTopic(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// sleep waits for d, or returns the cause at once when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
