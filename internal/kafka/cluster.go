package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// oldestRoute is up to when requests go by metadata that are asked for anew
	// at the same time. What has moved meanwhile is said by the broker.
	oldestRoute = 10 * metadataTTL
	// refreshPatience is how long somebody waits for new metadata who could do
	// with the old ones: brokers may be away.
	refreshPatience = 500 * time.Millisecond
	// newestDoubt is the age below which metadata that lack a topic, or a leader,
	// are not asked for again at once.
	newestDoubt = 100 * time.Millisecond
)

// cluster is what is known of the brokers: metadata, and coordinators of
// groups. It is looked at again when somebody needs it, by no timer.
type cluster struct {
	topics []string // that are asked for; none for all

	mu           sync.Mutex
	latest       *view
	refreshing   *refresh
	coordinators map[group]string // addresses
}

// group is what has a coordinator: a group (0) or a transactional id (1).
type group struct {
	name string
	kind int8
}

// view is one answer to a metadata request. Only stale changes.
type view struct {
	metadata  *metadata.Response
	topics    map[string]metadata.ResponseTopic
	layout    protocol.Cluster
	addresses map[string]int32 // of the brokers
	at        time.Time
	stale     atomic.Bool // a broker has said so, or one is away
}

// refresh is a metadata request on its way.
type refresh struct {
	done chan struct{}
	err  error
}

// looker is who looks at the metadata.
type looker bool

const (
	// routing is content with older metadata that nothing speaks against.
	routing looker = true
	// asker wants none older than metadataTTL, and waits for them for as long as
	// refreshPatience.
	asker looker = false
)

// view returns the metadata, and asks for new ones where these are too old.
// Where no broker tells the old ones must do.
func (t *transport) view(ctx context.Context, who looker) (*view, error) {
	t.cluster.mu.Lock()
	v := t.latest
	t.cluster.mu.Unlock()
	if v != nil && !v.stale.Load() && time.Since(v.at) <= metadataTTL {
		return v, nil
	}
	r := t.refresh()
	var enough <-chan time.Time
	if v != nil {
		if who == routing && !v.stale.Load() && time.Since(v.at) <= oldestRoute {
			return v, nil
		}
		patience := time.NewTimer(refreshPatience)
		defer patience.Stop()
		enough = patience.C
	}
	select {
	case <-r.done:
	case <-enough:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t.cluster.mu.Lock()
	v = t.latest
	t.cluster.mu.Unlock()
	if v == nil {
		return nil, r.err
	}
	return v, nil
}

// refresh asks for the metadata, once for all who need them.
func (t *transport) refresh() *refresh {
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	if t.refreshing != nil {
		return t.refreshing
	}
	r := &refresh{done: make(chan struct{})}
	if r.err = t.spawn(func() { t.look(r) }); r.err != nil {
		close(r.done)
		return r
	}
	t.refreshing = r
	return r
}

func (t *transport) look(r *refresh) {
	answer, err := t.hedged(t.ctx, &metadata.Request{TopicNames: t.topics})
	var v *view
	if err == nil {
		v = viewOf(answer.(*metadata.Response), time.Now())
	}
	t.cluster.mu.Lock()
	t.refreshing, r.err = nil, err
	if v != nil {
		t.latest = v
	}
	t.cluster.mu.Unlock()
	close(r.done)
	if v != nil {
		// What led to the cluster, or to a broker that has gone elsewhere.
		t.each(func(c *conn) {
			if _, ok := v.addresses[c.address]; !ok {
				c.retire()
			}
		})
	}
}

// viewOf makes a view of an answer.
func viewOf(m *metadata.Response, at time.Time) *view {
	v := &view{metadata: m, at: at, topics: make(map[string]metadata.ResponseTopic, len(m.Topics)), addresses: make(map[string]int32, len(m.Brokers))}
	v.layout = protocol.Cluster{ClusterID: m.ClusterID, Controller: m.ControllerID, Brokers: make(map[int32]protocol.Broker, len(m.Brokers)), Topics: make(map[string]protocol.Topic, len(m.Topics))}
	for _, b := range m.Brokers {
		v.layout.Brokers[b.NodeID] = protocol.Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack}
		v.addresses[addressOf(b.Host, b.Port)] = b.NodeID
	}
	for _, topic := range m.Topics {
		v.topics[topic.Name] = topic
		partitions := make(map[int32]protocol.Partition, len(topic.Partitions))
		for _, p := range topic.Partitions {
			partitions[p.PartitionIndex] = protocol.Partition{
				ID: p.PartitionIndex, Error: p.ErrorCode, Leader: p.LeaderID,
				Replicas: p.ReplicaNodes, ISR: p.IsrNodes, Offline: p.OfflineReplicas,
			}
		}
		if topic.ErrorCode == 0 || len(partitions) > 0 {
			v.layout.Topics[topic.Name] = protocol.Topic{Name: topic.Name, Error: topic.ErrorCode, Partitions: partitions}
		}
	}
	return v
}

// known answers a metadata request from what is known.
func (t *transport) known(ctx context.Context, req *metadata.Request) (*metadata.Response, error) {
	v, err := t.view(ctx, asker)
	if err != nil {
		return nil, err
	}
	answer := *v.metadata
	answer.ThrottleTimeMs = 0
	if req.TopicNames == nil {
		return &answer, nil
	}
	answer.Topics = make([]metadata.ResponseTopic, len(req.TopicNames))
	for i, name := range req.TopicNames {
		topic, ok := v.topics[name]
		if !ok {
			topic = metadata.ResponseTopic{Name: name, ErrorCode: int16(UnknownTopic)}
		}
		answer.Topics[i] = topic
	}
	return &answer, nil
}

// route finds the broker of a request. What the metadata lack may be new.
func (t *transport) route(ctx context.Context, req protocol.BrokerMessage) (*view, protocol.Broker, error) {
	for try := 1; ; try++ {
		v, err := t.view(ctx, routing)
		if err != nil {
			return nil, protocol.Broker{}, err
		}
		broker, err := req.Broker(v.layout)
		if err == nil && broker.ID >= 0 && broker.Host == "" {
			err = fmt.Errorf("the cluster names no leader for it: %w", kafkago.LeaderNotAvailable)
		}
		if err == nil || try == 2 || time.Since(v.at) < newestDoubt {
			return v, broker, err
		}
		v.stale.Store(true)
	}
}

// await waits, for a while, until the metadata have the topics that were made:
// brokers hear of them one after the other.
func (t *transport) await(ctx context.Context, made *createtopics.Response) {
	ctx, cancel := context.WithTimeout(ctx, newTopicWait)
	defer cancel()
	var names []string
	for _, topic := range made.Topics {
		if topic.ErrorCode == 0 && (len(t.topics) == 0 || slices.Contains(t.topics, topic.Name)) {
			names = append(names, topic.Name)
		}
	}
	pause := NewPause(firstPause, longestPause)
	for begun := time.Now(); len(names) > 0; {
		r := t.refresh()
		select {
		case <-r.done:
		case <-ctx.Done():
			return
		}
		v, err := t.view(ctx, routing)
		if err == nil && v.at.After(begun) {
			names = slices.DeleteFunc(names, func(name string) bool { return len(v.layout.Topics[name].Partitions) > 0 })
		}
		if len(names) > 0 && pause.Wait(ctx) != nil {
			return
		}
	}
}

// coordinator finds the address of a group's coordinator. It is asked for once
// and kept until a broker says that it is another one, or is away.
func (t *transport) coordinator(ctx context.Context, g group) (string, error) {
	t.cluster.mu.Lock()
	address, ok := t.coordinators[g]
	t.cluster.mu.Unlock()
	if ok {
		return address, nil
	}
	if _, err := t.view(ctx, routing); err != nil { // brokers to ask
		return "", err
	}
	answer, err := t.hedged(ctx, &findcoordinator.Request{Key: g.name, KeyType: g.kind})
	if err != nil {
		return "", err
	}
	found := answer.(*findcoordinator.Response)
	if err := asError(found.ErrorCode); err != nil {
		if found.ErrorMessage != "" {
			return "", fmt.Errorf("find the coordinator: %w: %s", err, found.ErrorMessage)
		}
		return "", fmt.Errorf("find the coordinator: %w", err)
	}
	address = addressOf(found.Host, found.Port)
	t.cluster.mu.Lock()
	t.coordinators[g] = address
	t.cluster.mu.Unlock()
	return address, nil
}

// forget drops a coordinator that is none.
func (t *transport) forget(g group, address string) {
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	if t.coordinators[g] == address {
		delete(t.coordinators, g)
	}
}

// doubt has the metadata asked for anew by whoever looks at them next.
func (t *transport) doubt() {
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	if t.latest != nil {
		t.latest.stale.Store(true)
	}
}

// unreachable takes note that a broker could not be reached, or not any more:
// it may lead and coordinate no longer.
func (t *transport) unreachable(address string) {
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	maps.DeleteFunc(t.coordinators, func(_ group, at string) bool { return at == address })
	if t.latest != nil {
		t.latest.stale.Store(true)
	}
}

// addresses are those of the brokers that are known, with their numbers.
func (t *transport) addresses() map[string]int32 {
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	if t.latest == nil {
		return nil
	}
	return t.latest.addresses
}

// brokerID is the number of the broker at an address, -1 where it is not known.
func (t *transport) brokerID(address string) int32 {
	if id, ok := t.addresses()[address]; ok {
		return id
	}
	return -1
}

// moved reports whether a broker says that something is led elsewhere, or that
// it knows less than the metadata do, or more.
func moved(answer protocol.Message) bool {
	found := false
	eachCode(answer, func(code int16) {
		switch kafkago.Error(code) {
		case kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition,
			kafkago.ReplicaNotAvailable, kafkago.NotController, kafkago.KafkaStorageError, kafkago.ListenerNotFound,
			kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch, unknownTopicID, inconsistentTopicID:
			found = true
		}
	})
	return found
}

// Codes that kafka-go has no name for (KIP-516).
const (
	unknownTopicID      kafkago.Error = 100
	inconsistentTopicID kafkago.Error = 103
)

// notCoordinator reports whether a broker says that it is not the group's
// coordinator.
func notCoordinator(answer protocol.Message) bool {
	found := false
	eachCode(answer, func(code int16) {
		switch kafkago.Error(code) {
		case kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup:
			found = true
		}
	})
	return found
}
