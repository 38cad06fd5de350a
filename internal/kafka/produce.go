package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// Most that one batch should carry, and all batches of one request. Apache Kafka
// refuses batches of more than 1 MiB by default.
const (
	BatchRecords = 1000
	BatchBytes   = 512 << 10 // of Size
	RequestBytes = 4 << 20   // of Size
)

// acksTimeout is how long a broker waits for the in-sync replicas.
const acksTimeout = produceTimeout / 2

// Compression of a batch.
type Compression = compress.Compression

const (
	Uncompressed = compress.None
	Gzip         = compress.Gzip
)

// Size is about what a message takes in a batch, in bytes.
func Size(m events.Message) int {
	n := 32 + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

// Batch is what is written to one partition at once.
type Batch struct {
	Topic       string
	Partition   int
	Messages    []events.Message // at least one
	Compression Compression
}

// Produced is what became of a batch.
type Produced struct {
	// Base is the offset of the first message, if Err is nil.
	Base int64
	// Leader is the broker that it was sent to, NoLeader where none is known.
	Leader int
	// Err is a *BatchError where a broker refused the batch. With any other
	// error nobody knows whether it was written.
	Err error
}

// Produce writes messages to a partition in one request, as one batch, and
// returns the offset of the first when all in-sync replicas have them. See
// [Client.ProduceMany].
func (c *Client) Produce(ctx context.Context, topic string, partition int, messages []events.Message, compression Compression) (base int64, err error) {
	done := c.ProduceMany(ctx, []Batch{{topic, partition, messages, compression}})[0]
	return done.Base, done.Err
}

// ProduceMany writes batches, each partition at most once, and returns what
// became of each one, in their order, when all in-sync replicas have them or
// will not. Those of one leader go in one request; what a broker says of one
// does not touch the others. It takes as long as the slowest of the brokers,
// and not longer than produceTimeout.
//
// There is no idempotent producer in kafka-go: who tries again after a lost
// answer can write them twice.
func (c *Client) ProduceMany(ctx context.Context, batches []Batch) []Produced {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	done := make([]Produced, len(batches))
	byLeader := c.byLeader(ctx, batches, done)
	if len(byLeader) == 1 {
		c.produce(ctx, batches, byLeader[0], done)
		return done
	}
	finished := make(chan struct{})
	for _, part := range byLeader {
		go func() {
			c.produce(ctx, batches, part, done)
			finished <- struct{}{}
		}()
	}
	for range byLeader {
		<-finished
	}
	return done
}

// byLeader divides batches, by their indices, by the broker that leads their
// partition, and writes it down. Those of which no leader is known are each
// on their own: finding out is for who sends them, and so is its error.
func (c *Client) byLeader(ctx context.Context, batches []Batch, done []Produced) (parts [][]int) {
	v, _ := c.transport.view(ctx, asker) // none is known then
	for i, b := range batches {
		leader := v.leader(b.Topic, b.Partition)
		done[i].Leader = leader
		// They are few.
		at := slices.IndexFunc(parts, func(part []int) bool { return leader != NoLeader && done[part[0]].Leader == leader })
		if at < 0 {
			at = len(parts)
			parts = append(parts, make([]int, 0, len(batches)-i))
		}
		parts[at] = append(parts[at], i)
	}
	return parts
}

// produce sends some of the batches, by their indices, in one request.
func (c *Client) produce(ctx context.Context, batches []Batch, part []int, done []Produced) {
	err := c.send(ctx, batches, part, done)
	var unsent *produce.Error
	if errors.As(err, &unsent) && len(part) > 1 {
		// A leader has moved since: the request has no broker to go to as a
		// whole, and nothing was sent.
		for _, i := range part {
			c.produce(ctx, batches, []int{i}, done)
		}
		return
	}
	if err != nil {
		for _, i := range part {
			done[i].Err = err
		}
	}
}

var errUnanswered = errors.New("the broker's answer leaves the partition out")

func (c *Client) send(ctx context.Context, batches []Batch, part []int, done []Produced) error {
	req := &produceRequest{now: time.Now(), Request: produce.Request{Acks: int16(kafkago.RequireAll), Timeout: int32(acksTimeout.Milliseconds())}}
	for _, i := range part {
		req.add(&batches[i])
		done[i].Err = errUnanswered
	}
	res, err := c.transport.RoundTrip(ctx, nil, req) // ctx is bounded by ProduceMany
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	next := 0 // in most answers the partitions stand as they were asked for
	for _, t := range res.(*produce.Response).Topics {
		for _, p := range t.Partitions {
			is := func(i int) bool { return batches[i].Partition == int(p.Partition) && batches[i].Topic == t.Topic }
			at := next
			if at >= len(part) || !is(part[at]) {
				if at = slices.IndexFunc(part, is); at < 0 {
					continue
				}
			}
			next = at + 1
			one := &done[part[at]]
			one.Base, one.Err = p.BaseOffset, nil
			if p.ErrorCode != 0 {
				one.Err = Explain(batchError(&p), "Produce", "topic "+t.Topic)
			}
		}
	}
	return nil
}

// Halve writes a batch whose records a broker may refuse. It refuses the batch
// as a whole: the records that it names, see [BatchError], are left out, and
// what it refuses without a name is sent in halves, down to the one that is to
// blame. refuse is told of each of them. The order is kept. Halve stops at the
// first error of send that is no refusal and returns it, and what has been
// neither sent nor refused by then.
func Halve[T any](batch []T, send func([]T) error, refused func(error) bool, refuse func(T, error)) (left []T, err error) {
	err = send(batch)
	switch {
	case err == nil:
		return nil, nil
	case !refused(err):
		return batch, err
	case len(batch) == 1:
		refuse(batch[0], err)
		return nil, nil
	}
	var answer *BatchError
	if errors.As(err, &answer) && answer.names(len(batch)) {
		rest := make([]T, 0, len(batch))
		for i, one := range batch {
			if why, named := answer.Records[i]; named {
				refuse(one, &BatchError{Code: answer.Code, Message: cmp.Or(why, answer.Message)})
			} else {
				rest = append(rest, one)
			}
		}
		if len(rest) == 0 {
			return nil, nil
		}
		return Halve(rest, send, refused, refuse)
	}
	half := len(batch) / 2
	if left, err = Halve(batch[:half], send, refused, refuse); err != nil {
		return slices.Concat(left, batch[half:]), err
	}
	return Halve(batch[half:], send, refused, refuse)
}
