package world

import (
	"fmt"
	"net"
	"strconv"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/twmb/franz-go/pkg/kfake"
)

const kafkaPort = 9092

// Kafka is a cluster of kfake brokers, each on a host of its own: kafka-0,
// kafka-1 and so on, named as their node ids are.
//
// kfake keeps the records of all brokers in one place: a broker whose host is
// cut off loses nothing, and its partitions are led by another one from the
// moment that [Kafka.MoveLeader] says so.
type Kafka struct {
	network *Network
	broker  *broker.Broker
	hosts   []*Host
}

// StartKafka starts brokers with the given topics.
func StartKafka(n *Network, brokers int, topics []broker.Topic) (*Kafka, error) {
	k := &Kafka{network: n}
	for i := range brokers {
		k.hosts = append(k.hosts, n.Boot(BrokerName(i)))
	}
	b, err := broker.Start(broker.Config{
		Port: kafkaPort, Brokers: brokers, Topics: topics,
		// Broker i is told to listen on the i-th port from the first.
		ListenFn: func(_, address string) (net.Listener, error) {
			_, text, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			port, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			return k.hosts[port-kafkaPort].Listen(kafkaPort)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	k.broker = b
	return k, nil
}

// BrokerName is the host of a broker.
func BrokerName(node int) string { return fmt.Sprintf("kafka-%d", node) }

// Cluster is the fake cluster itself, for faults in its answers.
func (k *Kafka) Cluster() *kfake.Cluster { return k.broker.Cluster() }

// Addrs are the brokers to bootstrap from.
func (k *Kafka) Addrs() []string { return k.broker.Addrs() }

// Nodes is the number of brokers.
func (k *Kafka) Nodes() int { return len(k.hosts) }

// Broker is all that a broker has to do with anybody.
func (k *Kafka) Broker(node int) Path { return k.network.Between(BrokerName(node), "") }

// MoveLeader makes a broker the leader of a partition.
func (k *Kafka) MoveLeader(topic string, partition, node int) error {
	return k.Cluster().MoveTopicPartition(topic, int32(partition), int32(node))
}

// Close stops the brokers.
func (k *Kafka) Close() error { return k.broker.Close() }
