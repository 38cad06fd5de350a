package topics

import (
	"fmt"
	"slices"

	"github.com/closeorder/closeorder/internal/kafka"
)

// Lack is something that the brokers cannot do, and what that means for a worker.
type Lack struct {
	Feature kafka.Feature
	// Consequence is what the worker does instead, or what does not work.
	Consequence string
	// Remedy is what to do besides an upgrade of the brokers; empty for nothing.
	Remedy string
}

// lacks says so of each feature but kafka.OpenIdempotence: whether that is missed
// depends on an ACL, and is told when it is.
var lacks = []Lack{
	{kafka.FetchSessions, "each fetch names all partitions: more work for worker and brokers, the more partitions the more", ""},
	{kafka.LastingPositions, "positions of a group are forgotten so long after their commit, members or not: the worker commits quiet ones again each hour, and asks for 30 days with each commit; behind a longer stop kafka.start decides", "set offsets.retention.minutes to 10080 or more in server.properties of each broker: other clients go by it"},
	{kafka.KnownJoins, "a worker that loses its connection while it joins leaves a nameless member behind, and the group waits for its session (kafka.session_timeout)", ""},
	{kafka.StaticMembers, "kafka.instance_id is left out: each restart is a rebalance", "leave kafka.instance_id empty"},
	{kafka.ToldRights, "closeorder doctor cannot see which ACLs are missing; the worker names one when it is refused", "compare with closeorder topics acls"},
	{kafka.BlamedRecords, "a batch that is refused does not name the record to blame: it is sent in halves until that is found", ""},
	{kafka.ExactlyOnce, "processing_guarantee must be at_least_once: after a crash some outcomes come again, with the same event id", "readers of outcomes go by the event id"},
}

// Lacks says what the brokers' lacking features mean, each once, the oldest feature
// first.
func Lacks(missing []kafka.Feature) (all []Lack) {
	for _, l := range lacks {
		if slices.Contains(missing, l.Feature) {
			all = append(all, l)
		}
	}
	return all
}

// Heading names the feature and the release that had it first.
func (l Lack) Heading() string {
	return fmt.Sprintf("the brokers lack %s (Kafka %s)", l.Feature, l.Feature.Since())
}

// WhatToDo is the remedy with the upgrade that makes it needless.
func (l Lack) WhatToDo() string {
	upgrade := fmt.Sprintf("upgrade the brokers to Kafka %s or later", l.Feature.Since())
	if l.Remedy == "" {
		return upgrade
	}
	return l.Remedy + "; or " + upgrade
}
