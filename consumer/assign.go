package consumer

import (
	"cmp"
	"slices"
)

// groupMember is one member as the leader sees it.
type groupMember struct {
	id         string
	instanceID string
	topics     []string
}

// assign deals the partitions of each topic in contiguous ranges to the
// members that subscribe to it, as Kafka's range assignor does, and returns
// member id to topic to partitions. Every member is in the result.
//
// Members are taken in the order of their group.instance.id, else of their
// member id, so that a restarted static member gets back what it had. Each
// further topic begins one member later than the one before it: with plain
// ranges the first member would get the odd partition of every topic.
func assign(members []groupMember, counts map[string]int) map[string]map[string][]int {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b groupMember) int {
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
	topics := make([]string, 0, len(counts))
	for t := range counts {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	for i, topic := range topics {
		ids := subscribers[topic]
		if len(ids) == 0 {
			continue
		}
		n := counts[topic]
		for j := range ids {
			id := ids[(j+i)%len(ids)]
			for p := j * n / len(ids); p < (j+1)*n/len(ids); p++ {
				assigned[id][topic] = append(assigned[id][topic], p)
			}
		}
	}
	return assigned
}
