package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// poll is how often a state of the cluster is asked for.
const poll = 50 * time.Millisecond

// WaitReady waits until every broker that was started (and not killed or
// stopped since) is a member of the cluster, every partition that has a replica
// on one of them has a leader, and consumer groups have a coordinator. It fails
// when ctx ends or a broker ends by itself, with the end of the logs.
func (c *Cluster) WaitReady(ctx context.Context) error {
	last := errors.New("not asked yet")
	for {
		ids, err := c.running()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.LogTail())
		}
		if err := c.ready(ctx, ids); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		if pause(ctx) != nil {
			return fmt.Errorf("not ready: %w (last: %w)\n%s", context.Cause(ctx), last, c.LogTail())
		}
	}
}

// running returns the ids of the brokers that run.
func (c *Cluster) running() ([]int32, error) {
	var ids []int32
	for _, n := range c.nodes {
		runs, err := n.running()
		if err != nil {
			return nil, err
		}
		if runs && n.isBroker {
			ids = append(ids, int32(n.id))
		}
	}
	return ids, nil
}

// ready returns nil when the cluster is as WaitReady wants it.
func (c *Cluster) ready(ctx context.Context, ids []int32) error {
	if len(ids) == 0 {
		return errors.New("no broker runs")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// Each one is asked by itself: they learn of changes at different times.
	for _, id := range ids {
		if err := c.readyAt(ctx, id, ids); err != nil {
			return fmt.Errorf("broker %d: %w", id, err)
		}
	}
	return nil
}

func (c *Cluster) readyAt(ctx context.Context, id int32, ids []int32) error {
	client, admin, err := admin(c.nodes[id-1].addr())
	if err != nil {
		return err
	}
	defer client.Close()
	meta, err := admin.Metadata(ctx)
	if err != nil {
		return err
	}
	members := meta.Brokers.NodeIDs()
	slices.Sort(members)
	if !slices.Equal(members, ids) {
		return fmt.Errorf("members are %v, want %v", members, ids)
	}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			replicaRuns := slices.ContainsFunc(p.Replicas, func(id int32) bool { return slices.Contains(ids, id) })
			if replicaRuns && !slices.Contains(ids, p.Leader) {
				return fmt.Errorf("%s[%d] has no leader", t.Topic, p.Partition)
			}
		}
	}
	// Asking for a coordinator makes __consumer_offsets.
	found := admin.FindGroupCoordinators(ctx, "closeorder-apachekafka-ready")
	if err := found.Error(); err != nil {
		return err
	}
	// A group that nobody has used is described as dead once its
	// coordinator has loaded its partition.
	_, err = admin.FetchOffsets(ctx, "closeorder-apachekafka-ready")
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return err
}

// admin returns a client of brokers.
func admin(addrs ...string) (*kgo.Client, *kadm.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RequestRetries(0), kgo.MetadataMinAge(poll))
	if err != nil {
		return nil, nil, err
	}
	return client, kadm.NewClient(client), nil
}

// pause waits for poll, or returns the error of a ctx that ends before.
func pause(ctx context.Context) error {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
