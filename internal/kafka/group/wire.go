package group

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// stable is the state of a group whose members all have their assignment.
const stable = "Stable"

// protocolType is the ProtocolType of consumers in JoinGroup.
const protocolType = "consumer"

// Protocols under which nobody gives up a partition before it is told to
// (KIP-429).
const (
	// rows is what members of ours alone offer, so that one of ours leads.
	rows = "closeorder-rows"
	// cooperative is that of Java, librdkafka and franz-go. Their leaders do not
	// deal retries and requests of one number alike, as those of range do: G4.
	cooperative = "cooperative-sticky"
)

// incremental reports whether a protocol is one of those.
func incremental(protocol string) bool { return protocol == rows || protocol == cooperative }

// assignors are the names offered in JoinGroup, best first: the group settles on
// one that all members offer, by their votes. range comes before cooperative:
// beside members that offer both, orders matter more than a rebalance that
// stops.
var assignors = []string{rows, "range", cooperative, "roundrobin"}

var errShort = errors.New("consumer protocol: message too short")

// subscription is what a member says of itself in JoinGroup.
type subscription struct {
	topics []string
	// owned are the partitions that it goes on with until it is told otherwise.
	// generation is the last one that it has been in, -1 for none: where two say
	// that they own the same, it says who is right. It also makes that what a
	// member says differs each time, so that a follower can begin a rebalance.
	owned      map[string][]int
	generation int32
	// ours: the member is a closeorder of this way to rebalance. record is where
	// its process can be found, see Proof and whereabouts; empty: nowhere.
	ours   bool
	record []byte
}

// ourMark stands in the user data of our members, behind the generation: that is
// where Java's cooperative-sticky assignor looked for it before there was a field.
const ourMark = "closeorder/1"

// encode renders ConsumerProtocolSubscription v2 (Kafka,
// clients/.../ConsumerProtocolSubscription.json), and all of it: coordinators
// that run KIP-848 read every field of the version.
func (s subscription) encode() []byte {
	data := binary.BigEndian.AppendUint32(nil, uint32(s.generation))
	data = append(append(data, ourMark...), s.record...)
	b := binary.BigEndian.AppendUint16(nil, 2)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.topics)))
	for _, t := range s.topics {
		b = appendString(b, t)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	b = appendPartitions(b, s.owned)
	return binary.BigEndian.AppendUint32(b, uint32(s.generation))
}

// decodeSubscription reads a subscription of any version: later versions only
// append fields, and members of other libraries send those. What a version
// promises and the bytes do not hold (kafka-go's Reader says 1 and sends 0) is
// not there; topics and user data must be.
func decodeSubscription(b []byte) (subscription, error) {
	r := wireReader{b: b}
	s := subscription{generation: -1}
	version := r.int16()
	n := r.int32()
	for i := int32(0); i < n && r.err == nil; i++ {
		s.topics = append(s.topics, r.string())
	}
	data := r.take(max(int(r.int32()), 0)) // -1 is null
	if r.err != nil {
		return s, r.err
	}
	if len(data) >= 4+len(ourMark) && string(data[4:4+len(ourMark)]) == ourMark {
		s.ours, s.record = true, data[4+len(ourMark):]
	}
	if version >= 1 {
		if owned := r.partitions(); r.err == nil {
			s.owned = owned
		}
	}
	if version >= 2 {
		if generation := r.int32(); r.err == nil {
			s.generation = generation
		}
	}
	return s, nil
}

// dealt is what a member is told in SyncGroup.
type dealt struct {
	assigned map[string][]int
	// ours: a leader of ours has dealt, for a member of ours. It leaves to its
	// owners what they own.
	ours bool
	// unsettled: something was left to a member that is to give it up. Nobody
	// has it after that until that member has joined once more. It is told to
	// members of ours alone.
	unsettled bool
}

// Versions of an assignment that a leader of ours has made for a member of ours.
// There are no such versions (Kafka, clients/.../ConsumerProtocolAssignment.json,
// ends at 3), and whoever reads a later one than it knows reads its own, as later
// ones only append. User data cannot say it: where an assignment has any, Kafka
// lets no member of KIP-848 into the group, for "userData from a custom assignor
// would be lost".
const (
	settledByOurs   int16 = 0x636f
	unsettledByOurs int16 = 0x6370
)

// encode renders ConsumerProtocolAssignment v0, under one of those versions for a
// member of ours.
func (d dealt) encode() []byte {
	version := int16(0)
	switch {
	case d.ours && d.unsettled:
		version = unsettledByOurs
	case d.ours:
		version = settledByOurs
	}
	b := appendPartitions(binary.BigEndian.AppendUint16(nil, uint16(version)), d.assigned)
	return binary.BigEndian.AppendUint32(b, 0) // no user data
}

// decodeAssignment reads an assignment of any version. No bytes at all are an
// empty one: leaders of some libraries send that to a member without partitions.
func decodeAssignment(b []byte) (dealt, error) {
	if len(b) == 0 {
		return dealt{assigned: make(map[string][]int)}, nil
	}
	r := wireReader{b: b}
	version := r.int16()
	d := dealt{assigned: r.partitions(), unsettled: version == unsettledByOurs}
	d.ours = d.unsettled || version == settledByOurs
	return d, r.err
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendPartitions renders an array of topics with their partitions.
func appendPartitions(b []byte, byTopic map[string][]int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic)))
	for _, t := range slices.Sorted(maps.Keys(byTopic)) {
		b = appendString(b, t)
		b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic[t])))
		for _, p := range byTopic[t] {
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

// wireReader reads big-endian fields; after the first error it returns zeros.
type wireReader struct {
	b   []byte
	err error
}

func (r *wireReader) take(n int) []byte {
	if r.err != nil || n < 0 || len(r.b) < n {
		r.err = errShort
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) string() string { return string(r.take(int(r.int16()))) }

func (r *wireReader) partitions() map[string][]int {
	byTopic := make(map[string][]int)
	n := r.int32()
	for i := int32(0); i < n && r.err == nil; i++ {
		topic := r.string()
		m := r.int32()
		for j := int32(0); j < m && r.err == nil; j++ {
			if p := int(r.int32()); r.err == nil {
				byTopic[topic] = append(byTopic[topic], p)
			}
		}
	}
	return byTopic
}
