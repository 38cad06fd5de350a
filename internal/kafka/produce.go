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
	// Base is the offset of the first message, if Err is nil; -1 where the
	// broker does not say it any more, because it had the batch already.
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
// The same batch tried again after any error is written once, while the broker
// remembers this client (producer.id.expiration.ms, a day by default): who
// does not know whether a batch arrived sends the same again, or nothing to that
// partition that must not follow it. See [Config.OnNotIdempotent] and
// [Config.OnRepeat] for where that ends. Batches of one partition that are sent
// concurrently go one after the other.
func (c *Client) ProduceMany(ctx context.Context, batches []Batch) []Produced {
	return c.lines.write(ctx, batches)
}

// production is what ProduceMany is about.
type production struct {
	*lines
	batches []Batch
	held    []*line // the lines of the batches, whose turn it is
	stamps  []stamp
	done    []Produced
}

// mostTries is how often a batch is sent in one call: what a broker has
// forgotten, or does not take from this producer any more, is sent anew.
const mostTries = 3

func (ls *lines) write(ctx context.Context, batches []Batch) []Produced {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	p := &production{lines: ls, batches: batches, held: make([]*line, len(batches)), stamps: make([]stamp, len(batches)), done: make([]Produced, len(batches))}
	todo := p.take(ctx)
	for try := 1; len(todo) > 0; try++ {
		if todo = p.stamp(ctx, todo); len(todo) > 0 {
			p.sendAll(ctx, todo)
		}
		todo = p.settle(todo, try < mostTries)
	}
	for _, l := range p.held {
		if l != nil {
			l.turn.give()
		}
	}
	return p.done
}

// take waits for the turn of each line, in an order that is the same for all
// who do, so that no two wait for each other.
func (p *production) take(ctx context.Context) (todo []int) {
	todo = make([]int, len(p.batches))
	for i := range todo {
		todo[i] = i
		p.done[i].Leader = NoLeader
	}
	place := func(i int) Place { return Place{p.batches[i].Topic, p.batches[i].Partition} }
	slices.SortFunc(todo, func(i, j int) int { return place(i).compare(place(j)) })
	taken := todo[:0]
	for _, i := range todo {
		l := p.line(place(i))
		if p.done[i].Err = l.turn.take(ctx); p.done[i].Err == nil {
			p.held[i] = l
			taken = append(taken, i)
		}
	}
	slices.Sort(taken)
	return taken
}

// stamp gives each batch what it says of its producer, and returns those that
// have it.
func (p *production) stamp(ctx context.Context, todo []int) []int {
	// Once for all: who cannot be asked now keeps each one waiting.
	if _, err := p.producer(ctx, nobody.id); err != nil {
		for _, i := range todo {
			p.done[i].Err = err
		}
		return nil
	}
	ready := todo[:0]
	for _, i := range todo {
		if p.fallenBack() {
			p.stamps[i] = unstamped
		} else if p.stamps[i], p.done[i].Err = p.held[i].stamp(ctx, p.lines, &p.batches[i]); p.done[i].Err != nil {
			continue
		}
		ready = append(ready, i)
	}
	return ready
}

// settle takes note of what became of batches and returns those that are to be
// sent again.
func (p *production) settle(todo []int, more bool) []int {
	left := todo[:0]
	for _, i := range todo {
		done, again := p.held[i].settled(p.lines, &p.batches[i], p.stamps[i], p.done[i])
		if p.done[i] = done; again && more {
			left = append(left, i)
		}
	}
	return left
}

// sendAll sends batches, by their indices, to their leaders.
func (p *production) sendAll(ctx context.Context, todo []int) {
	byLeader := p.byLeader(ctx, todo)
	if len(byLeader) == 1 {
		p.send(ctx, byLeader[0])
		return
	}
	finished := make(chan struct{})
	for _, part := range byLeader {
		go func() {
			p.send(ctx, part)
			finished <- struct{}{}
		}()
	}
	for range byLeader {
		<-finished
	}
}

// byLeader divides batches, by their indices, by the broker that leads their
// partition, and writes it down. Those of which no leader is known are each
// on their own: finding out is for who sends them, and so is its error.
func (p *production) byLeader(ctx context.Context, todo []int) (parts [][]int) {
	v, _ := p.client.transport.view(ctx, asker) // none is known then
	for n, i := range todo {
		leader := v.leader(p.batches[i].Topic, p.batches[i].Partition)
		p.done[i].Leader = leader
		// They are few.
		at := slices.IndexFunc(parts, func(part []int) bool { return leader != NoLeader && p.done[part[0]].Leader == leader })
		if at < 0 {
			at = len(parts)
			parts = append(parts, make([]int, 0, len(todo)-n))
		}
		parts[at] = append(parts[at], i)
	}
	return parts
}

// send sends some of the batches, by their indices, in one request.
func (p *production) send(ctx context.Context, part []int) {
	err := p.ask(ctx, part)
	var unsent *produce.Error
	if errors.As(err, &unsent) && len(part) > 1 {
		// A leader has moved since: the request has no broker to go to as a
		// whole, and nothing was sent.
		for _, i := range part {
			p.send(ctx, []int{i})
		}
		return
	}
	if err != nil {
		for _, i := range part {
			p.done[i].Err = err
		}
	}
}

var errUnanswered = errors.New("the broker's answer leaves the partition out")

func (p *production) ask(ctx context.Context, part []int) error {
	req := &produceRequest{now: time.Now(), Request: produce.Request{TransactionalID: p.transaction, Acks: int16(kafkago.RequireAll), Timeout: int32(acksTimeout.Milliseconds())}}
	for _, i := range part {
		req.add(&p.batches[i], p.stamps[i])
		p.done[i].Err = errUnanswered
	}
	res, err := p.client.transport.RoundTrip(ctx, nil, req) // ctx is bounded by write
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	next := 0 // in most answers the partitions stand as they were asked for
	for _, t := range res.(*produce.Response).Topics {
		for _, answer := range t.Partitions {
			is := func(i int) bool {
				return p.batches[i].Partition == int(answer.Partition) && p.batches[i].Topic == t.Topic
			}
			at := next
			if at >= len(part) || !is(part[at]) {
				if at = slices.IndexFunc(part, is); at < 0 {
					continue
				}
			}
			next = at + 1
			one := &p.done[part[at]]
			one.Base, one.Err = answer.BaseOffset, nil
			if answer.ErrorCode != 0 {
				one.Err = Explain(batchError(&answer), "Produce", "topic "+t.Topic)
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
