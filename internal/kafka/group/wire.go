package group

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// protocolType is the ProtocolType of consumers in JoinGroup.
const protocolType = "consumer"

// assignors are the names offered in JoinGroup: the group settles on one that
// all members offer, and every client library offers one of these. The name
// binds the leader to nothing: see assign.
var assignors = []string{"range", "roundrobin"}

var errShort = errors.New("consumer protocol: message too short")

// encodeSubscription renders ConsumerProtocolSubscription v0 (Kafka,
// clients/.../ConsumerProtocolSubscription.json). userData travels to the
// leader and makes a rejoin with a changed one start a rebalance.
func encodeSubscription(topics []string, userData []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, t := range topics {
		b = appendString(b, t)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(userData)))
	return append(b, userData...)
}

// decodeSubscription reads the topics of a subscription of any version: later
// versions only append fields, and members of other libraries send those.
func decodeSubscription(b []byte) ([]string, error) {
	r := wireReader{b: b}
	r.int16()
	n := r.int32()
	var topics []string
	for i := int32(0); i < n && r.err == nil; i++ {
		topics = append(topics, r.string())
	}
	return topics, r.err
}

// encodeAssignment renders ConsumerProtocolAssignment v0.
func encodeAssignment(assigned map[string][]int) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(assigned)))
	for _, t := range slices.Sorted(maps.Keys(assigned)) {
		b = appendString(b, t)
		b = binary.BigEndian.AppendUint32(b, uint32(len(assigned[t])))
		for _, p := range assigned[t] {
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return binary.BigEndian.AppendUint32(b, 0) // user data: empty
}

// decodeAssignment reads an assignment of any version. No bytes at all are an
// empty assignment: leaders of some libraries send that to a member without
// partitions.
func decodeAssignment(b []byte) (map[string][]int, error) {
	assigned := make(map[string][]int)
	if len(b) == 0 {
		return assigned, nil
	}
	r := wireReader{b: b}
	r.int16()
	n := r.int32()
	for i := int32(0); i < n && r.err == nil; i++ {
		topic := r.string()
		m := r.int32()
		for j := int32(0); j < m && r.err == nil; j++ {
			assigned[topic] = append(assigned[topic], int(r.int32()))
		}
	}
	return assigned, r.err
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
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
