package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
	"github.com/sirupsen/logrus"
)

// committer commits the watermarks of partitions: as soon as one has
// something new and the request before has been answered, all that have
// something new go into one request. It is safe for concurrent use.
type committer struct {
	cluster *cluster
	group   string
	log     logrus.FieldLogger
	wake    chan struct{}

	mu sync.Mutex
	// gen is what commits are made under; nil between generations. The
	// coordinator refuses commits of an older one: that is the last fence.
	gen   *generation
	dirty map[*partition]struct{}

	// turn holds a token: one request at a time, or an older one could
	// overtake. A channel, because the holder waits for the network.
	turn       chan struct{}
	noMetadata bool // the holder's: the broker takes less metadata than we write
}

func newCommitter(c *cluster, group string, log logrus.FieldLogger) *committer {
	return &committer{cluster: c, group: group, log: log, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1), dirty: make(map[*partition]struct{})}
}

// under sets the generation that commits are made under, nil for none.
func (c *committer) under(gen *generation) {
	c.mu.Lock()
	c.gen = gen
	c.mu.Unlock()
	signal(c.wake)
}

// markDirty says that the partition has something new to commit.
func (c *committer) markDirty(p *partition) {
	c.mu.Lock()
	c.dirty[p] = struct{}{}
	c.mu.Unlock()
	signal(c.wake)
}

// run commits until ctx ends.
func (c *committer) run(ctx context.Context) {
	retry := newPause(20*time.Millisecond, 2*time.Second)
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		if err := c.commit(ctx); err != nil && ctx.Err() == nil {
			c.log.WithError(err).Warn("commit failed: trying again")
			if retry.wait(ctx) != nil {
				return
			}
			signal(c.wake)
			continue
		}
		retry.reset()
	}
}

// flush commits until nothing is left to commit, or ctx ends.
func (c *committer) flush(ctx context.Context) error {
	retry := newPause(20*time.Millisecond, time.Second)
	for {
		err := c.commit(ctx)
		c.mu.Lock()
		left := len(c.dirty) > 0 && c.gen != nil
		c.mu.Unlock()
		switch {
		case err == nil && !left:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if retry.wait(ctx) != nil {
				return err
			}
		}
	}
}

// commit sends one request for all that is dirty. What could not be committed
// is dirty again, unless its partition is lost.
func (c *committer) commit(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	c.mu.Lock()
	gen := c.gen
	if gen == nil || len(c.dirty) == 0 {
		c.mu.Unlock()
		return nil
	}
	dirty := c.dirty
	c.dirty = make(map[*partition]struct{})
	c.mu.Unlock()

	req := &offsetcommit.Request{
		GroupID: c.group, GenerationID: gen.id, MemberID: gen.memberID, GroupInstanceID: gen.instanceID,
		RetentionTimeMs: -1, // the broker's own
	}
	sent := make(map[place]*partition, len(dirty))
	topics := make(map[string]int)
	for p := range dirty {
		watermark, metadata, ok := p.position()
		if !ok || p.owned.Err() != nil {
			continue
		}
		if c.noMetadata {
			metadata = ""
		}
		i, seen := topics[p.topic]
		if !seen {
			i = len(req.Topics)
			topics[p.topic] = i
			req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: p.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, offsetcommit.RequestPartition{
			PartitionIndex: int32(p.id), CommittedOffset: watermark, CommittedMetadata: metadata,
			// 0 would be a real epoch: another client would see a truncated log.
			CommittedLeaderEpoch: -1,
		})
		sent[p.place] = p
	}
	if len(sent) == 0 {
		return nil
	}
	again := func(p *partition) {
		if p.owned.Err() == nil {
			c.mu.Lock()
			c.dirty[p] = struct{}{}
			c.mu.Unlock()
		}
	}
	res, err := c.cluster.roundTrip(ctx, requestTimeout, req)
	if err != nil {
		for _, p := range sent {
			again(p)
		}
		return fmt.Errorf("commit offsets of group %s: %w", c.group, err)
	}
	var errs []error
	for _, t := range res.(*offsetcommit.Response).Topics {
		for _, r := range t.Partitions {
			p := sent[place{t.Name, int(r.PartitionIndex)}]
			code := kafka.Error(r.ErrorCode)
			if p == nil || code == 0 {
				continue
			}
			again(p)
			switch code {
			case kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.FencedInstanceID:
				// Not ours to commit any more.
				c.mu.Lock()
				if c.gen == gen {
					c.gen = nil
				}
				c.mu.Unlock()
				if code == kafka.FencedInstanceID {
					gen.end(errFenced)
				} else {
					gen.end(code)
				}
			case kafka.OffsetMetadataTooLarge:
				c.noMetadata = true
				c.log.Warn("the broker takes less commit metadata than closeorder writes (offset.metadata.max.bytes): after a crash more requests are repeated")
				errs = append(errs, code)
			default:
				errs = append(errs, fmt.Errorf("commit offset of %s[%d]: %w", p.topic, p.id, code))
			}
		}
	}
	return errors.Join(errs...)
}

// committed is what the group has committed for one partition.
type committed struct {
	offset   int64
	metadata string
}

// startOf returns where to begin with a partition: what the group has
// committed, or without that the start of the log, so that no request is
// missed.
func (c *committer) startOf(ctx context.Context, at place) (committed, error) {
	res, err := c.cluster.roundTrip(ctx, requestTimeout, &offsetfetch.Request{
		GroupID: c.group,
		Topics:  []offsetfetch.RequestTopic{{Name: at.topic, PartitionIndexes: []int32{int32(at.id)}}},
	})
	if err != nil {
		return committed{}, fmt.Errorf("fetch committed offset: %w", err)
	}
	fetched := res.(*offsetfetch.Response)
	// A group without any commit is unknown to some brokers.
	if code := kafka.Error(fetched.ErrorCode); code != 0 && code != kafka.GroupIdNotFound {
		return committed{}, fmt.Errorf("fetch committed offset: %w", code)
	}
	for _, t := range fetched.Topics {
		for _, p := range t.Partitions {
			if t.Name != at.topic || int(p.PartitionIndex) != at.id {
				continue
			}
			if p.ErrorCode != 0 {
				return committed{}, fmt.Errorf("fetch committed offset: %w", kafka.Error(p.ErrorCode))
			}
			if p.CommittedOffset >= 0 {
				return committed{p.CommittedOffset, p.Metadata}, nil
			}
		}
	}
	start, err := c.cluster.offsetAt(ctx, at.topic, at.id, logStart)
	return committed{offset: start}, err
}
