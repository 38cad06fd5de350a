package group

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// subscriber is one member as the leader sees it.
type subscriber struct {
	id         string
	instanceID string
	subscription
}

// place is one partition.
type place struct {
	topic string
	id    int
}

// assignment is member to topic to partitions, in rising order.
type assignment map[string]map[string][]int

// assign deals the partitions to the members that subscribe to their topics.
// meant is what each member is to have in the end, now what it may have in this
// generation: a partition that another
// member says it owns is nobody's until that one has given it up (KIP-429). It
// gives it up, and joins again, because it finds it missing. Every member is in
// both results.
//
// What is dealt are rows: the partitions of one number of all topics that have
// the same count. A row goes to one member, as far as that subscribes to its
// topics: a retry topic's partition to who has the requests of that number, which
// is what keeps two records of one order with one member (G4). A client that
// reads the requests alone leaves the retries of its rows to others. Of each kind
// of row a member gets its share, give or take one; it keeps what it has as far
// as the share goes, so that no more moves than must.
//
// It depends on nothing but its arguments, and not on their order: whoever leads
// deals the same. A static member that was restarted owns nothing, and what it
// had is nobody's, so that it gets it back, but for one row where they do not
// divide evenly.
func assign(members []subscriber, counts map[string]int) (now, meant assignment) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b subscriber) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.instanceID, a.id), cmp.Or(b.instanceID, b.id)), cmp.Compare(a.id, b.id))
	})
	now, meant = make(assignment, len(members)), make(assignment, len(members))
	for _, m := range members {
		now[m.id], meant[m.id] = make(map[string][]int), make(map[string][]int)
	}
	owners := claims(members)
	dealt := make(map[row]string)              // the member that each row goes to
	rows := make(map[string]int, len(members)) // rows dealt to each member
	for _, k := range kinds(members, counts) {
		for number, id := range k.deal(owners, dealt, rows) {
			if _, before := dealt[row{k.count, number}]; !before {
				dealt[row{k.count, number}] = id
				rows[id]++
			}
			for _, topic := range k.topics {
				meant[id][topic] = append(meant[id][topic], number)
				if owner, claimed := owners[place{topic, number}]; !claimed || owner == id {
					now[id][topic] = append(now[id][topic], number)
				}
			}
		}
	}
	return now, meant
}

// claims says which member owns each partition. Where two say so the later
// generation is right; where that is the same, both must give it up, and the
// owner is "".
func claims(members []subscriber) map[place]string {
	owners := make(map[place]string)
	since := make(map[place]int32)
	for _, m := range members {
		for topic, ids := range m.owned {
			for _, id := range ids {
				at := place{topic, id}
				owner, claimed := owners[at]
				switch {
				case !claimed || m.generation > since[at]:
					owners[at], since[at] = m.id, m.generation
				case owner != m.id && m.generation == since[at]:
					owners[at] = ""
				}
			}
		}
	}
	return owners
}

// row is the partitions of one number of all topics with so many of them.
type row struct{ count, number int }

// kind are topics of one count with the same subscribers.
type kind struct {
	count       int
	topics      []string
	subscribers []subscriber
}

// kinds are in the order in which they are dealt: of one count those first that
// most members subscribe to, because the others follow them.
func kinds(members []subscriber, counts map[string]int) []*kind {
	var all []*kind
	byKey := make(map[string]*kind)
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		k := kind{count: counts[topic]}
		var key strings.Builder
		key.WriteString(strconv.Itoa(k.count))
		for _, m := range members {
			if slices.Contains(m.topics, topic) {
				k.subscribers = append(k.subscribers, m)
				key.WriteString("\x00" + m.id)
			}
		}
		if len(k.subscribers) == 0 {
			continue
		}
		same := byKey[key.String()]
		if same == nil {
			same = &k
			byKey[key.String()] = same
			all = append(all, same)
		}
		same.topics = append(same.topics, topic)
	}
	slices.SortStableFunc(all, func(a, b *kind) int { return cmp.Compare(len(b.subscribers), len(a.subscribers)) })
	return all
}

// deal returns the subscriber that each row goes to, by its number: the one that
// it was dealt to before, of another kind, and of the others each subscriber gets
// its share. rows is how many each has of other kinds.
func (k *kind) deal(owners map[place]string, before map[row]string, rows map[string]int) []string {
	to := make([]string, k.count)
	dealt := make(map[string][]int, len(k.subscribers))
	var free []int
	left := 0 // rows that are to be shared
	for number := range k.count {
		if id := before[row{k.count, number}]; k.has(id) {
			to[number] = id
			continue
		}
		left++
		if id := k.holder(number, owners); id != "" {
			dealt[id] = append(dealt[id], number)
		} else {
			free = append(free, number)
		}
	}
	// Who has more than the lesser share keeps one more before others get it.
	share, larger := left/len(k.subscribers), left%len(k.subscribers)
	ranked := slices.Clone(k.subscribers)
	slices.SortStableFunc(ranked, func(a, b subscriber) int {
		above := func(m subscriber) int { return min(max(len(dealt[m.id])-share, 0), 1) }
		return cmp.Or(cmp.Compare(above(b), above(a)), cmp.Compare(rows[a.id], rows[b.id]))
	})
	quota := make(map[string]int, len(ranked))
	for i, m := range ranked {
		quota[m.id] = share
		if i < larger {
			quota[m.id]++
		}
		if has := dealt[m.id]; len(has) > quota[m.id] {
			free = append(free, has[quota[m.id]:]...)
			dealt[m.id] = has[:quota[m.id]]
		}
	}
	slices.Sort(free)
	for _, m := range k.subscribers {
		n := quota[m.id] - len(dealt[m.id])
		for _, number := range slices.Concat(dealt[m.id], free[:n]) {
			to[number] = m.id
		}
		free = free[n:]
	}
	return to
}

// holder is the subscriber that owns the first partition of a row that one owns.
func (k *kind) holder(number int, owners map[place]string) string {
	for _, topic := range k.topics {
		if owner := owners[place{topic, number}]; k.has(owner) {
			return owner
		}
	}
	return ""
}

// has reports whether a member is a subscriber.
func (k *kind) has(id string) bool {
	return slices.ContainsFunc(k.subscribers, func(m subscriber) bool { return m.id == id })
}
