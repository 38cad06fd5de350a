// Package topics is the plan of closeorder's topics: how many partitions and
// which settings each one gets, and what is wrong with one that exists. It is
// told what exists and asks nobody.
package topics

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Shape is what new topics get.
type Shape struct {
	// Partitions is of requests, outcomes and retries, at least 1.
	Partitions int
	// DeadLetterPartitions is at least 1.
	DeadLetterPartitions int
	// Replication is how many replicas each partition gets. See [Shape.On] for 0.
	Replication int
	// MinInSync is how many replicas must have a record before it is
	// acknowledged. With more than there are, nothing can be written. See
	// [Shape.On] for 0.
	MinInSync int
	// Retention is of requests, outcomes and retries.
	Retention           time.Duration
	DeadLetterRetention time.Duration
	// Format is the message.format.version that topics get, empty for what the
	// brokers give them. See [kafka.Client.OldFormat].
	Format string
}

// On fills in what a cluster of so many brokers decides: 3 replicas, or as many
// as there are brokers, and all but one of them in sync.
func (s Shape) On(brokers int) Shape {
	if s.Replication == 0 {
		s.Replication = max(1, min(3, brokers))
	}
	if s.MinInSync == 0 {
		s.MinInSync = max(1, s.Replication-1)
	}
	return s
}

// State is how a topic stands to its plan.
type State string

const (
	Missing State = "missing"
	Exists  State = "exists"
	Wrong   State = "wrong" // exists, and the worker's promises do not hold with it
	// Theirs is missing, and the brokers make it by themselves.
	Theirs State = "left to the brokers"
)

// Topic is one topic: as it is, or as it should be where it is missing.
type Topic struct {
	Name        string `json:"topic"`
	State       State  `json:"state"`
	Partitions  int    `json:"partitions"`
	Replication int    `json:"replication"`
	// Settings are of one that is missing.
	Settings map[string]string `json:"settings,omitempty"`
	// Note says what is wrong and how to mend it, or how one that exists
	// differs from a new one; empty for nothing.
	Note string `json:"note,omitempty"`
}

// Plan says what each topic should be or is, requests first. there holds those
// that exist.
//
// Retry topics get the partitions of the requests topic as it is, or as it will
// be. A worker gets the same partition numbers of all of them: with another
// number, requests of one order can be with two workers, and side by side.
func (s Shape) Plan(names config.Topics, there map[string]kafka.Topic) []Topic {
	retries := names.Retries()
	var plan []Topic
	var requests int // the partitions of that topic
	for _, name := range names.All() {
		t := s.topic(name, names)
		is, exists := there[name]
		if exists {
			wanted := t.Partitions
			t = Topic{Name: name, State: Exists, Partitions: is.Partitions, Replication: is.Replication}
			if is.Partitions != wanted {
				t.Note = fmt.Sprintf("left as it is; a new one would get %d partitions", wanted)
			}
		}
		risk := ""
		if exists {
			risk = Risk(names, name, is.Settings)
		}
		switch {
		case name == names.Requests:
			requests = t.Partitions
		case !slices.Contains(retries, name):
		case !exists:
			t.Partitions = requests
		case is.Partitions < requests:
			t.State, t.Note = Wrong, fmt.Sprintf("%s has %d: add partitions to this one (kafka-topics.sh --alter --topic %s --partitions %d)", names.Requests, requests, name, requests)
		case is.Partitions > requests:
			t.State, t.Note = Wrong, fmt.Sprintf("%s has %d: let this one run empty, stop the workers, delete it and create it again", names.Requests, requests)
		default:
			t.Note = "" // it is as it must be, whatever a new one would get
		}
		if risk != "" {
			if t.State == Wrong {
				risk = t.Note + "; " + risk
			}
			t.State, t.Note = Wrong, risk
		}
		plan = append(plan, t)
	}
	return plan
}

// largeRecord is what topics take that carry an original and why it is there.
const largeRecord = 2 << 20

// topic is a new topic.
func (s Shape) topic(name string, names config.Topics) Topic {
	partitions, kept := s.Partitions, s.Retention
	if name == names.DeadLetters {
		partitions, kept = s.DeadLetterPartitions, s.DeadLetterRetention
	}
	t := Topic{Name: name, State: Missing, Partitions: partitions, Replication: s.Replication, Settings: map[string]string{
		cleanupPolicy:         "delete",
		"min.insync.replicas": strconv.Itoa(s.MinInSync),
		retention:             strconv.FormatInt(kept.Milliseconds(), 10),
	}}
	if s.Format != "" {
		t.Settings[kafka.FormatSetting] = s.Format
	}
	if name != names.Requests && name != names.Outcomes {
		t.Settings["max.message.bytes"] = strconv.Itoa(largeRecord)
	}
	return t
}
