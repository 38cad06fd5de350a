package consumer

import (
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// slowRequest is after how long a request under way no longer holds up the
// partitions that are not in it: one follower that does not answer keeps a
// request until the broker's time-out.
const slowRequest = 500 * time.Millisecond

// sender writes the records of all partitions that one broker leads: one request
// with a batch of each one that has something to write, then the next. That of
// kafka.NoLeader finds out where its partitions belong.
type sender struct {
	publisher *publisher
	wake      chan struct{}
	ready     queue[*batcher] // what has something to write; publisher.mu guards it
}

// parcel is a batch on its way.
type parcel struct {
	*batcher
	batch []publication
}

// list hands a batcher that has something to write to the sender of its broker.
// p.mu is held.
func (p *publisher) list(b *batcher) {
	s := p.senders[b.leader]
	if s == nil {
		s = &sender{publisher: p, wake: make(chan struct{}, 1)}
		p.senders[b.leader] = s
		if b.leader == kafka.NoLeader {
			p.wg.Go(s.findLeaders)
		} else {
			p.wg.Go(s.run)
		}
	}
	s.ready.push(b)
	signal(s.wake)
}

// run sends until the publisher is closed. One request is under way, and a
// second while that is slow.
func (s *sender) run() {
	ctx := s.publisher.ctx
	patience := time.NewTimer(slowRequest)
	defer patience.Stop()
	var slow chan struct{} // closed when the slow one is done; nil without one
	for ctx.Err() == nil {
		parcels := s.take()
		if len(parcels) == 0 {
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
			continue
		}
		done := make(chan struct{})
		s.publisher.wg.Go(func() {
			defer close(done)
			s.send(parcels)
		})
		patience.Reset(slowRequest)
		select {
		case <-done:
			continue
		case <-patience.C:
		}
		if slow == nil {
			slow = done
			continue
		}
		select {
		case <-done:
		case <-slow:
			slow = done
		}
	}
}

// take takes a batch of each partition that has something to write, up to a
// request.
func (s *sender) take() (parcels []parcel) {
	s.publisher.mu.Lock()
	defer s.publisher.mu.Unlock()
	for bytes := 0; s.ready.len() > 0 && bytes+kafka.BatchBytes <= kafka.RequestBytes; {
		b := s.ready.pop()
		batch, size := b.take()
		bytes += size
		parcels = append(parcels, parcel{b, batch})
	}
	return parcels
}

// send writes one request if the fences stand and the membership holds, and
// answers its records. A batch that was not written is left to its batcher.
func (s *sender) send(parcels []parcel) {
	p := s.publisher
	for {
		for i := range parcels {
			parcels[i].batch = slices.DeleteFunc(parcels[i].batch, func(pub publication) bool { return fencedOff(p.ctx, pub) })
		}
		parcels = slices.DeleteFunc(parcels, func(one parcel) bool {
			if len(one.batch) > 0 {
				return false
			}
			one.next(one.leader)
			return true
		})
		if len(parcels) == 0 {
			return
		}
		if p.leaseValid(time.Now()) {
			break
		}
		_ = kafka.Sleep(p.ctx, leaseLook)
	}
	batches := make([]kafka.Batch, len(parcels))
	for i, one := range parcels {
		messages := make([]events.Message, len(one.batch))
		for j, pub := range one.batch {
			messages[j] = pub.msg
		}
		batches[i] = kafka.Batch{Topic: one.topic, Partition: one.id, Messages: messages, Compression: kafka.Uncompressed}
	}
	for i, done := range p.client.ProduceMany(p.ctx, batches) {
		one := parcels[i]
		if done.Err != nil {
			one.alone(one.batch, done.Err)
			continue
		}
		finishAll(one.batch, nil)
		one.next(done.Leader)
	}
}

// findLeaders lists batchers with the senders of their brokers, until the
// publisher is closed. One whose leader is not known writes alone: the way of a
// single request finds it, or the error to tell of.
func (s *sender) findLeaders() {
	p := s.publisher
	for p.ctx.Err() == nil {
		var topics []string
		var strays []*batcher
		p.mu.Lock()
		for s.ready.len() > 0 {
			b := s.ready.pop()
			strays = append(strays, b)
			if !slices.Contains(topics, b.topic) {
				topics = append(topics, b.topic)
			}
		}
		p.mu.Unlock()
		if len(strays) == 0 {
			select {
			case <-s.wake:
			case <-p.ctx.Done():
			}
			continue
		}
		leaders, _ := p.client.Leaders(p.ctx, topics...) // none is known then
		var unknown []parcel
		p.mu.Lock()
		for _, b := range strays {
			if b.leader = kafka.LeaderOf(leaders, b.topic, b.id); b.leader != kafka.NoLeader {
				p.list(b)
				continue
			}
			batch, _ := b.take()
			unknown = append(unknown, parcel{b, batch})
		}
		p.mu.Unlock()
		for _, one := range unknown {
			one.alone(one.batch, nil)
		}
	}
}
