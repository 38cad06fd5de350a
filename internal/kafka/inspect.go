package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Broker is a broker as the cluster advertises it.
type Broker struct {
	ID int
	// Address is host:port of the listener that this client has come by.
	Address string
	Rack    string
}

// TopicLayout is where the partitions of a topic stand.
type TopicLayout struct {
	Partitions int
	// Replication is how many replicas a partition has, the fewest of them.
	Replication int
	// Leaderless are the partitions that nobody leads: they can be neither read
	// nor written. Lagging have replicas that are not in sync.
	Leaderless, Lagging []int
	// InSync is the least number of replicas in sync that a partition has.
	InSync int
	// Rights are what this client may do with the topic.
	Rights Rights
	// Hidden: it may not be described, and may be there or not.
	Hidden bool
}

// Layout is a cluster at one moment.
type Layout struct {
	ID      string
	Brokers []Broker
	// Topics are those that exist, by name, and those that are hidden.
	Topics map[string]TopicLayout
}

// Rights is what the brokers say that a client may do (KIP-430). Brokers before
// Kafka 2.3 do not say.
type Rights struct {
	// Known: the brokers have said.
	Known bool
	bits  int32
}

// Right is an operation of ACLs, with Kafka's own number
// (org.apache.kafka.common.acl.AclOperation).
type Right uint

// What a worker needs.
const (
	MayRead            Right = 3
	MayWrite           Right = 4
	MayDescribe        Right = 8
	MayDescribeConfigs Right = 10
)

// May reports whether the operation is allowed. Of rights that are not known
// none is.
func (r Rights) May(right Right) bool { return r.Known && r.bits&(1<<right) != 0 }

// notTold is what stands where the brokers do not say: the least number.
const notTold = -1 << 31

// rightsOf are those of an answer. In a version that lacks the field it is 0,
// which no answer that has it is: who may do nothing gets an error.
func rightsOf(bits int32) Rights { return Rights{Known: bits != 0 && bits != notTold, bits: bits} }

// Layout asks for the cluster, topics and the rights of this client. Unlike what
// else is asked of metadata it is never older than the call.
func (c *Client) Layout(ctx context.Context, topics ...string) (Layout, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.transport.hedged(ctx, &metadata.Request{TopicNames: topics, IncludeTopicAuthorizedOperations: true})
	if err != nil {
		return Layout{}, err
	}
	m := answer.(*metadata.Response)
	l := Layout{ID: m.ClusterID, Topics: make(map[string]TopicLayout)}
	for _, b := range m.Brokers {
		l.Brokers = append(l.Brokers, Broker{ID: int(b.NodeID), Address: addressOf(b.Host, b.Port), Rack: b.Rack})
	}
	slices.SortFunc(l.Brokers, func(a, b Broker) int { return a.ID - b.ID })
	for _, t := range m.Topics {
		switch err := asError(t.ErrorCode); {
		case errors.Is(err, kafkago.TopicAuthorizationFailed):
			l.Topics[t.Name] = TopicLayout{Hidden: true, Rights: Rights{Known: true}}
		case err != nil && len(t.Partitions) == 0:
		default:
			l.Topics[t.Name] = layoutOf(t)
		}
	}
	return l, nil
}

func layoutOf(t metadata.ResponseTopic) TopicLayout {
	l := TopicLayout{Partitions: len(t.Partitions), Rights: rightsOf(t.TopicAuthorizedOperations)}
	for i, p := range t.Partitions {
		if id := int(p.PartitionIndex); p.LeaderID < 0 {
			l.Leaderless = append(l.Leaderless, id)
		} else if len(p.IsrNodes) < len(p.ReplicaNodes) {
			l.Lagging = append(l.Lagging, id)
		}
		if i == 0 || len(p.ReplicaNodes) < l.Replication {
			l.Replication = len(p.ReplicaNodes)
		}
		if i == 0 || len(p.IsrNodes) < l.InSync {
			l.InSync = len(p.IsrNodes)
		}
	}
	slices.Sort(l.Leaderless)
	slices.Sort(l.Lagging)
	return l
}

// GroupRights asks what this client may do with a group. That it may not even be
// described is no error.
func (c *Client) GroupRights(ctx context.Context, group string) (Rights, error) {
	res, err := c.RoundTrip(ctx, requestTimeout, &describegroups.Request{Groups: []string{group}, IncludeAuthorizedOperations: true})
	if errors.Is(err, kafkago.GroupAuthorizationFailed) { // of its coordinator
		return Rights{Known: true}, nil
	}
	if err != nil {
		return Rights{}, err
	}
	groups := res.(*describegroups.Response).Groups
	if len(groups) == 0 {
		return Rights{}, errors.New("the coordinator's answer lacks the group")
	}
	switch err := asError(groups[0].ErrorCode); {
	case errors.Is(err, kafkago.GroupAuthorizationFailed):
		return Rights{Known: true}, nil
	case err != nil:
		return Rights{}, fmt.Errorf("describe group %s: %w", group, err)
	}
	return rightsOf(groups[0].AuthorizedOperations), nil
}

// MayWriteOnce asks for a producer id, as a worker does, and lets it go: nil where
// records that are sent again are written once. The error says which ACL lacks.
func (c *Client) MayWriteOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.transport.hedged(ctx, &producerIDRequest{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return err
	}
	if err := asError(answer.(*initproducerid.Response).ErrorCode); err != nil {
		return notIdempotent(err)
	}
	return nil
}

// Met is what one broker says to a client that connects to it.
type Met struct {
	// Took is from the dial to the last handshake.
	Took time.Duration
	// Release is the oldest release that speaks as it does.
	Release Release
	// Lacks are the features that it does not have, as it says itself: a broker
	// that is none of Apache Kafka may lack others than that release.
	Lacks []Feature
	// Chain is what it shows of itself, its own certificate first; nil without TLS.
	Chain []*x509.Certificate
}

// Meet connects to one broker by its address, makes the connection ready as any
// other, authentication included, and closes it.
func (c *Client) Meet(ctx context.Context, address string) (Met, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	begun := time.Now()
	conn, err := c.transport.connect(ctx, address)
	if err != nil {
		return Met{}, Explain(err, "", "broker "+address)
	}
	met := Met{Took: time.Since(begun), Release: conn.versions.release(), Lacks: conn.versions.lacks()}
	if secure, is := conn.net.(*tls.Conn); is {
		met.Chain = secure.ConnectionState().PeerCertificates
	}
	conn.net.Close()
	return met, nil
}
