package consumer

import (
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

const (
	// slowRequest is after how long a request under way no longer holds up the
	// partitions that are not in it: one follower that does not answer keeps a
	// request until the broker's time-out.
	slowRequest = 500 * time.Millisecond
	// gather is how far apart requests begin under load: when at least worthwhile
	// records come in that time. A broker that answers within some hundred
	// microseconds would else get, and answer, a request for one or two records
	// at a time. Where less comes nothing waits.
	gather     = 5 * time.Millisecond
	worthwhile = 10
	// lately is how far pace looks back: further than a gateway takes for a call,
	// after which many answers come at one time and none for a while.
	lately = 200 * time.Millisecond
	// inFlight is how many requests may be under way to one broker: as many as an
	// idempotent producer of Kafka's has at the most. A partition is in one of them.
	inFlight = 5
)

// sender writes the records of all partitions that one broker leads: one request
// with a batch of each one that has something to write, then the next. That of
// kafka.NoLeader finds out where its partitions belong.
//
// One goroutine, a [courier], does that. While its request is slow another one
// takes its place; there are inFlight at the most.
type sender struct {
	publisher *publisher
	wake      chan struct{}

	// publisher.mu guards what is below.
	ready    queue[*batcher] // what has something to write
	couriers int             // goroutines
	stuck    int             // those whose request is slow
	pace     pace
}

// pace says when the next request may begin.
type pace struct {
	begun time.Time // the last request
	// gap is about how much time lies between two of the last records, recent how
	// many there were lately, when the last request began. The one soon tells of a
	// load, the other remembers it.
	gap    time.Duration
	recent float64
}

// wait is for how long a request has to wait for more records.
func (p *pace) wait(now time.Time) time.Duration {
	if p.gap > gather/worthwhile && p.since(now)*float64(gather) < worthwhile*float64(lately) {
		return 0
	}
	return p.begun.Add(gather).Sub(now)
}

// since is how many records there were lately, as seen from now.
func (p *pace) since(now time.Time) float64 {
	return p.recent * float64(lately) / float64(lately+now.Sub(p.begun))
}

// begins is told of a request with so many records. Each changes the gap by a
// quarter of what it differs; a rest counts for not more than a few records at
// a slow pace.
func (p *pace) begins(now time.Time, records int) {
	gap := min(now.Sub(p.begun), 4*gather) / time.Duration(max(records, 1))
	p.gap += (gap - p.gap) / 4
	p.recent = p.since(now) + float64(records)*float64(lately)/float64(lately+now.Sub(p.begun))
	p.begun = now
}

// courier is a goroutine of a sender.
type courier struct {
	*sender
	timer *time.Timer // for relieve

	// publisher.mu guards what is below.
	left time.Time // when the request that is under way began; zero without one
	slow bool
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
		s = &sender{publisher: p, wake: make(chan struct{}, 1), pace: pace{gap: gather}}
		p.senders[b.leader] = s
		if b.leader == kafka.NoLeader {
			p.wg.Go(s.findLeaders)
		} else {
			s.hire()
		}
	}
	s.ready.push(b)
	signal(s.wake)
}

// hire starts a courier. publisher.mu is held.
func (s *sender) hire() {
	s.couriers++
	c := &courier{sender: s}
	s.publisher.wg.Go(c.run)
}

// run sends until the publisher is closed, or another courier goes on instead.
func (c *courier) run() {
	ctx := c.publisher.ctx
	c.timer = time.AfterFunc(slowRequest, c.relieve)
	c.timer.Stop()
	rest := time.NewTimer(gather)
	defer rest.Stop()
	for ctx.Err() == nil {
		parcels, wait := c.begin()
		if wait > 0 {
			rest.Reset(wait)
			select {
			case <-rest.C:
			case <-ctx.Done():
			}
			continue
		}
		if len(parcels) == 0 {
			select {
			case <-c.wake:
			case <-ctx.Done():
			}
			continue
		}
		c.timer.Reset(slowRequest)
		c.send(parcels)
		c.timer.Stop()
		if c.end() {
			return
		}
	}
}

// begin takes what goes with the next request, or says how long to wait for it.
func (c *courier) begin() (parcels []parcel, wait time.Duration) {
	c.publisher.mu.Lock()
	defer c.publisher.mu.Unlock()
	if c.ready.len() == 0 {
		return nil, 0
	}
	now := time.Now()
	if wait := c.pace.wait(now); wait > 0 {
		return nil, wait
	}
	parcels, records := c.take()
	c.pace.begins(now, records)
	c.left = now
	return parcels, 0
}

// relieve lets another courier go on when a request is slow.
func (c *courier) relieve() {
	c.publisher.mu.Lock()
	defer c.publisher.mu.Unlock()
	if c.left.IsZero() || time.Since(c.left) < slowRequest {
		return // of a request before
	}
	c.slow = true
	if c.stuck++; c.couriers == c.stuck && c.couriers < inFlight {
		c.hire()
	}
}

// end is told that a request is over. It returns true where another courier goes
// on.
func (c *courier) end() bool {
	c.publisher.mu.Lock()
	defer c.publisher.mu.Unlock()
	c.left = time.Time{}
	if !c.slow {
		return false
	}
	c.slow = false
	c.stuck--
	if c.couriers-c.stuck < 2 {
		return false
	}
	c.couriers--
	return true
}

// take takes a batch of each partition that has something to write, up to a
// request, and says how many records they are. publisher.mu is held.
func (s *sender) take() (parcels []parcel, records int) {
	parcels = make([]parcel, 0, s.ready.len())
	for bytes := 0; s.ready.len() > 0 && bytes+kafka.BatchBytes <= kafka.RequestBytes; {
		b := s.ready.pop()
		batch, size := b.take()
		bytes += size
		records += len(batch)
		parcels = append(parcels, parcel{b, batch})
	}
	return parcels, records
}

// send writes one request if the fences stand and the membership holds, and
// answers its records. A batch that was not written is left to its batcher.
func (s *sender) send(parcels []parcel) {
	p := s.publisher
	ctx := p.under()
	for {
		for i := range parcels {
			parcels[i].batch = slices.DeleteFunc(parcels[i].batch, func(pub publication) bool { return parcels[i].fencedOff(ctx, pub) })
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
		_ = kafka.Sleep(ctx, leaseLook)
	}
	batches := make([]kafka.Batch, len(parcels))
	for i, one := range parcels {
		messages := make([]events.Message, len(one.batch))
		for j, pub := range one.batch {
			messages[j] = pub.msg
		}
		batches[i] = kafka.Batch{Topic: one.topic, Partition: one.id, Messages: messages, Compression: kafka.Uncompressed}
	}
	for i, done := range p.produce(ctx, batches) {
		one := parcels[i]
		if done.Err != nil {
			one.alone(one.batch, done.Err)
			continue
		}
		one.acknowledged(one.batch)
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
			if batch, _ := b.take(); len(batch) > 0 {
				unknown = append(unknown, parcel{b, batch})
			} else {
				b.busy = false // they were taken back
			}
		}
		p.mu.Unlock()
		for _, one := range unknown {
			one.alone(one.batch, nil)
		}
	}
}
