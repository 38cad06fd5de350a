package kafka

import (
	"slices"

	"github.com/segmentio/kafka-go/protocol"
)

// Feature is something that brokers could not do from the beginning.
type Feature string

const (
	// FetchSessions: a fetch names the partitions that have changed (KIP-227).
	FetchSessions Feature = "fetch-sessions"
	// LastingPositions: a group's offsets are kept while it has members (KIP-211).
	LastingPositions Feature = "lasting-positions"
	// KnownJoins: who joins a group gets its id before it is waited for (KIP-394).
	KnownJoins Feature = "known-joins"
	// StaticMembers: group.instance.id (KIP-345).
	StaticMembers Feature = "static-members"
	// ToldRights: brokers say what a client may do (KIP-430).
	ToldRights Feature = "told-rights"
	// BlamedRecords: a refused batch comes back with the records to blame (KIP-467).
	BlamedRecords Feature = "blamed-records"
	// ExactlyOnce: transactions fence by a group's generation (KIP-447).
	ExactlyOnce Feature = "exactly-once"
	// OpenIdempotence: who may write to a topic may do so idempotently (KIP-679).
	OpenIdempotence Feature = "open-idempotence"
)

// features are what shows that a broker has one, and the release of Apache Kafka
// that had it first; in the order of these.
var features = []struct {
	feature Feature
	since   Release
	shown   map[protocol.ApiKey]int16
}{
	{FetchSessions, Release{1, 1}, map[protocol.ApiKey]int16{protocol.Fetch: 7}},
	{LastingPositions, Release{2, 1}, map[protocol.ApiKey]int16{protocol.OffsetCommit: ownsRetention}},
	{KnownJoins, Release{2, 2}, map[protocol.ApiKey]int16{protocol.JoinGroup: 4}},
	{StaticMembers, Release{2, 3}, map[protocol.ApiKey]int16{protocol.JoinGroup: 5}},
	{ToldRights, Release{2, 3}, map[protocol.ApiKey]int16{protocol.Metadata: 8, protocol.DescribeGroups: 3}},
	{BlamedRecords, Release{2, 4}, map[protocol.ApiKey]int16{protocol.Produce: 8}},
	{ExactlyOnce, Release{2, 5}, map[protocol.ApiKey]int16{protocol.TxnOffsetCommit: commitFences, protocol.OffsetFetch: fetchIsStable}},
	{OpenIdempotence, Release{2, 8}, map[protocol.ApiKey]int16{protocol.Produce: 9}},
}

// Since is the release of Apache Kafka that had the feature first.
func (f Feature) Since() Release {
	for _, is := range features {
		if is.feature == f {
			return is.since
		}
	}
	return Release{}
}

// Features are all of them, the oldest first.
func Features() (all []Feature) {
	for _, f := range features {
		all = append(all, f.feature)
	}
	return all
}

// lacks are the features that a broker does not have.
func (v versions) lacks() (all []Feature) {
	for _, f := range features {
		for api, least := range f.shown {
			if v[api].to < least && !slices.Contains(all, f.feature) {
				all = append(all, f.feature)
			}
		}
	}
	return all
}
