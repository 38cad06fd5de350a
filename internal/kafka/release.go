package kafka

import (
	"fmt"

	"github.com/segmentio/kafka-go/protocol"
)

// Release is a release of Apache Kafka: major and minor, {2, 5}. Releases can be
// compared with Before; the zero Release is not known.
type Release [2]int

// String is as Kafka writes it: 2.5.
func (r Release) String() string {
	if r == (Release{}) {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d", r[0], r[1])
}

// Before reports whether r is older than other.
func (r Release) Before(other Release) bool {
	return r[0] < other[0] || r[0] == other[0] && r[1] < other[1]
}

// releases are what first spoke a version of an API, the newest first. What lies
// between two of them cannot be told apart by the APIs that are used here.
var releases = []struct {
	release Release
	api     protocol.ApiKey
	version int16
}{
	{Release{4, 2}, protocol.ListOffsets, 11},
	{Release{4, 1}, protocol.Fetch, 18},
	{Release{4, 0}, protocol.Produce, 12},
	{Release{3, 9}, protocol.Fetch, 17},
	{Release{3, 8}, protocol.Produce, 11},
	{Release{3, 7}, protocol.Fetch, 16},
	{Release{3, 5}, protocol.Fetch, 15},
	{Release{3, 1}, protocol.Fetch, 13},
	{Release{3, 0}, protocol.OffsetFetch, 8},
	{Release{2, 8}, protocol.Produce, 9},
	{Release{2, 7}, protocol.Fetch, 12},
	{Release{2, 5}, protocol.OffsetFetch, 7},
	{Release{2, 4}, protocol.OffsetFetch, 6},
	{Release{2, 3}, protocol.Fetch, 11},
	{Release{2, 1}, protocol.Fetch, 10},
	{Release{2, 0}, protocol.Fetch, 8},
	{Release{1, 1}, protocol.Fetch, 7},
	{Release{1, 0}, protocol.Produce, 4},
	{Release{0, 11}, protocol.Produce, 3},
}

// release is the newest release all of whose marks the broker speaks: it is that
// one, or one that came between it and the next of the table. Others than Apache
// Kafka say what they are compatible with.
func (v versions) release() Release {
	for _, r := range releases {
		if v[r.api].to >= r.version {
			return r.release
		}
	}
	return Release{}
}
