package consumer

import "strings"

// KeyPlace is a key, not empty, and the partition where a record of it stands.
type KeyPlace struct {
	Key       []byte
	Partition int
}

// KeyJudgement is what the places of keys say of who has put them there. The zero
// value: nothing speaks against one partitioner, or there are too few keys.
type KeyJudgement struct {
	// Mixed: requests of one order may stand in two partitions, and run side by
	// side in two workers.
	Mixed bool
	// Grown: so may old requests, from before partitions were added. It ends with
	// them.
	Grown bool
	// Seen says how many keys stand where which partitioner puts them, Remedy what
	// to set where; both are for people.
	Seen, Remedy string
}

// JudgeKeys says what keys say of a topic of so many partitions, as a worker does
// of what it reads. The same key in the same place counts once.
func JudgeKeys(keys []KeyPlace, partitions int) KeyJudgement {
	type at struct {
		key       string
		partition int
	}
	known := make(map[at]bool, len(keys))
	var seen []sighted
	for _, k := range keys {
		if place := (at{string(k.Key), k.Partition}); len(k.Key) > 0 && !known[place] {
			known[place] = true
			seen = append(seen, sighted{hashes: hashesOf(k.Key), partition: k.Partition})
		}
	}
	if len(seen) == 0 {
		return KeyJudgement{}
	}
	j := judge(seen, partitions)
	found := KeyJudgement{Mixed: j.kind == mixed || j.kind == unknown, Grown: j.kind == grown}
	switch j.kind {
	case nothing:
		return KeyJudgement{}
	case mixed:
		found.Remedy = "give all producers one partitioner, say murmur2: " + strings.Join(j.remedies(), "; ")
	case unknown:
		found.Remedy = "give all producers one partitioner, say murmur2: kafka.Murmur2Balancer in kafka-go, partitioner=murmur2_random in clients on librdkafka"
	}
	found.Seen = j.text()
	return found
}
