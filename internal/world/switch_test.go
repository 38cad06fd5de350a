package world

import "slices"

// takeDown switches a broker off: its connections are reset, nobody can
// connect, the other brokers lead its partitions and coordinate its groups.
// A broker that is alone is gone with all it has until its path heals. One
// that comes back leads nothing yet.
func (w *World) takeDown(node int) {
	k, group := w.Kafka, w.Config.Kafka.Group
	k.Broker(node).Refuse()
	if k.Nodes() < 2 {
		return
	}
	for _, t := range w.Topics {
		for p := range t.Partitions {
			if int(k.Cluster().LeaderFor(t.Name, int32(p))) == node {
				// The error is for a topic that a test has deleted.
				_ = k.MoveLeader(t.Name, p, (node+1+p%(k.Nodes()-1))%k.Nodes())
			}
		}
	}
	// Those of the workers' transactions go, too. kfake picks by a hash: with
	// many of them there may be no number of moves that frees the broker.
	for range 100 {
		names := append(w.producers.ids(), group)
		if !slices.ContainsFunc(names, func(name string) bool { return int(k.Cluster().CoordinatorFor(name)) == node }) {
			return
		}
		k.Cluster().RehashCoordinators()
	}
	if int(k.Cluster().CoordinatorFor(group)) == node {
		k.MoveCoordinator(group)
	}
}

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
