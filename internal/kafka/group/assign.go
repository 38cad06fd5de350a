package group

import (
	"cmp"
	"slices"
)

// subscriber is one member as the leader sees it.
type subscriber struct {
	id         string
	instanceID string
	topics     []string
}

// assign deals the partitions of each topic in contiguous ranges to the
// members that subscribe to it, as Kafka's range assignor does, and returns
// member id to topic to partitions. Every member is in the result.
//
// Topics with the same number of partitions are dealt alike, so that a retry
// topic's partition goes to the member that has the requests of that number:
// that is what keeps two records of one order with one member (G4). The price
// is that the first members have one partition more of every topic.
//
// Members are taken in the order of their group.instance.id, else of their
// member id, so that a restarted static member gets back what it had.
func assign(members []subscriber, counts map[string]int) map[string]map[string][]int {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b subscriber) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.instanceID, a.id), cmp.Or(b.instanceID, b.id)), cmp.Compare(a.id, b.id))
	})
	assigned := make(map[string]map[string][]int, len(members))
	subscribers := make(map[string][]string)
	for _, m := range members {
		assigned[m.id] = make(map[string][]int)
		for _, t := range slices.Compact(slices.Sorted(slices.Values(m.topics))) {
			subscribers[t] = append(subscribers[t], m.id)
		}
	}
	for topic, n := range counts {
		ids := subscribers[topic]
		for i, id := range ids {
			for p := i * n / len(ids); p < (i+1)*n/len(ids); p++ {
				assigned[id][topic] = append(assigned[id][topic], p)
			}
		}
	}
	return assigned
}
