package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
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
	// classic group; Empty, Assigning, Reconciling or Stable for the other.
	State string
	// Type is what a classic group is for: consumer, or connect for workers of
	// Kafka Connect. Empty for the other.
	Type string
	// Assignor is what the members of a classic group have settled on, empty
	// while they have not; or what the coordinator deals by.
	Assignor string
	Members  []GroupMember
}

// GroupMember is a member of a group.
type GroupMember struct {
	ID string
	// InstanceID is group.instance.id, empty for a dynamic member.
	InstanceID string
	ClientID   string
	// Host is where it connects from, as the broker writes it: /10.0.0.7.
	Host string
	// Protocol is what the member itself speaks. It is empty in a group of KIP-848
	// where the broker does not tell (before Kafka 4.0), or no member speaks that
	// any more.
	Protocol GroupProtocol
	// Assigned are its partitions by topic. They are not told of a classic group:
	// there Assignment holds them.
	Assigned map[string][]int
	// Metadata is what the member of a classic group has said of itself, and
	// Assignment what its leader has given it, in the bytes of their protocol: see
	// package group. Both are empty while the group is not Stable.
	Metadata, Assignment []byte
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
			all.Members = append(all.Members, GroupMember{
				ID: m.MemberID, InstanceID: m.GroupInstanceID, ClientID: m.ClientID, Host: m.ClientHost, Protocol: Classic,
				Metadata: slices.Clone(m.MemberMetadata), Assignment: slices.Clone(m.MemberAssignment),
			})
		}
		return all, nil
	}
	return c.describeConsumerGroup(ctx, group)
}

// describeConsumerGroup describes a group that a coordinator of KIP-848 runs. To
// brokers before Kafka 3.7 there is none.
func (c *Client) describeConsumerGroup(ctx context.Context, group string) (Group, error) {
	res, err := c.RoundTrip(ctx, requestTimeout, &groupDescribeRequest{Groups: []string{group}})
	if errors.Is(err, kafkago.UnsupportedVersion) {
		return Group{}, nil
	}
	if err != nil {
		return Group{}, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, g := range res.(*groupDescribeResponse).Groups {
		switch err := asError(g.ErrorCode); {
		case errors.Is(err, kafkago.GroupIdNotFound):
			continue
		case err != nil:
			return Group{}, fmt.Errorf("describe group %s: %w", group, err)
		}
		all := Group{Protocol: Consumer, State: g.GroupState, Assignor: g.AssignorName}
		// Before version 1 the type is 0, too.
		typed := slices.ContainsFunc(g.Members, func(m describedMember) bool { return m.MemberType > 0 })
		for _, m := range g.Members {
			all.Members = append(all.Members, m.member(typed))
		}
		return all, nil
	}
	return Group{}, nil
}

// member is a member as others know it; typed says that it has a type.
func (m *describedMember) member(typed bool) GroupMember {
	is := GroupMember{ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost, Assigned: make(map[string][]int)}
	for _, t := range m.Assignment.TopicPartitions {
		for _, id := range t.Partitions {
			is.Assigned[t.TopicName] = append(is.Assigned[t.TopicName], int(id))
		}
	}
	switch {
	case typed && m.MemberType == 0:
		is.Protocol = Classic
	case typed && m.MemberType == 1:
		is.Protocol = Consumer
	}
	return is
}
