package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/listgroups"
)

// GroupProtocol is the protocol that a consumer group is run by.
type GroupProtocol string

const (
	// Classic: a member leads and deals the partitions.
	Classic GroupProtocol = "classic"
	// Consumer: the coordinator deals them (KIP-848, group.protocol=consumer).
	// Classic members may be in such a group, too.
	Consumer GroupProtocol = "consumer"
)

// Group is a consumer group as the cluster describes it.
type Group struct {
	// Protocol is empty where there is no such group.
	Protocol GroupProtocol
	// State is Empty, PreparingRebalance, CompletingRebalance or Stable for a
	// classic group, and empty for any other.
	State string
	// Type is what a classic group is for: consumer, or connect for workers of
	// Kafka Connect. Assignor is the protocol that its members have settled on,
	// empty while they have not. Both are empty for any other.
	Type, Assignor string
	// Members are those of a classic group. Those of the other protocol are not
	// to be had: kafka-go ends at the APIs of Kafka 2.6, and they are described
	// by a later one (ConsumerGroupDescribe, KIP-848).
	Members []GroupMember
}

// GroupMember is a member of a classic group.
type GroupMember struct {
	ID string
	// InstanceID is group.instance.id, empty for a dynamic member.
	InstanceID string
	ClientID   string
	// Host is where it connects from, as the broker writes it: /10.0.0.7.
	Host string
}

// dead is the state of a classic group that the coordinator does not know:
// because there is none, or because it is run by the other protocol.
const dead = "Dead"

// DescribeGroup describes a consumer group. It needs leave to DESCRIBE the group.
func (c *Client) DescribeGroup(ctx context.Context, group string) (Group, error) {
	res, err := c.RoundTrip(ctx, requestTimeout, &describegroups.Request{Groups: []string{group}})
	if err != nil {
		return Group{}, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, g := range res.(*describegroups.Response).Groups {
		if err := asError(g.ErrorCode); err != nil {
			return Group{}, fmt.Errorf("describe group %s: %w", group, err)
		}
		if g.GroupState == dead {
			continue
		}
		all := Group{Protocol: Classic, State: g.GroupState, Type: g.ProtocolType, Assignor: g.ProtocolData}
		for _, m := range g.Members {
			all.Members = append(all.Members, GroupMember{ID: m.MemberID, InstanceID: m.GroupInstanceID, ClientID: m.ClientID, Host: m.ClientHost})
		}
		return all, nil
	}
	// The list has groups of every protocol.
	res, err = c.RoundTrip(ctx, requestTimeout, &listgroups.Request{})
	if err != nil {
		return Group{}, fmt.Errorf("list groups: %w", err)
	}
	listed := res.(*listgroups.Response)
	if err := asError(listed.ErrorCode); err != nil {
		return Group{}, fmt.Errorf("list groups: %w", err)
	}
	if slices.ContainsFunc(listed.Groups, func(g listgroups.ResponseGroup) bool { return g.GroupID == group }) {
		return Group{Protocol: Consumer}, nil
	}
	return Group{}, nil
}
