package world

// TakeDown switches a broker off: its connections are reset, nobody can
// connect, the other brokers lead its partitions and coordinate its groups.
// A broker that is alone is gone with all it has until it is brought up.
func (k *Kafka) TakeDown(node int, group string) {
	k.Broker(node).Refuse()
	if k.Nodes() < 2 {
		return
	}
	for _, t := range k.topics {
		for p := range t.Partitions {
			if int(k.Cluster().LeaderFor(t.Name, int32(p))) == node {
				// The error is for a topic that a test has deleted.
				_ = k.MoveLeader(t.Name, p, (node+1+p%(k.Nodes()-1))%k.Nodes())
			}
		}
	}
	if int(k.Cluster().CoordinatorFor(group)) == node {
		k.MoveCoordinator(group)
	}
}

// BringUp switches a broker on again. It leads nothing yet.
func (k *Kafka) BringUp(node int) { k.Broker(node).Heal() }

// MoveCoordinator gives the group another coordinator, which knows all that
// the old one knew, and reports whether there is another one.
func (k *Kafka) MoveCoordinator(group string) bool {
	if k.Nodes() < 2 {
		return false
	}
	// kfake picks by a hash of the name and the number of moves so far.
	for old := k.Cluster().CoordinatorFor(group); k.Cluster().CoordinatorFor(group) == old; {
		k.Cluster().RehashCoordinators()
	}
	return true
}
