package topics_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

func TestWhatIsWrongWithTopicsIsTold(t *testing.T) {
	type settings = map[string]string
	for _, tt := range []struct {
		sentence string
		topic    string
		brokers  int // 0 for 3
		layout   func(*kafka.TopicLayout)
		missing  bool
		settings settings // over those of topics create
		check    string   // "" for nothing
		grade    topics.Grade
		evidence string
		remedy   string
	}{
		{sentence: "as topics create makes it", topic: "requests"},
		{sentence: "a topic that is not there", topic: "outcomes", missing: true, check: "topic-exists", grade: topics.Unsafe, evidence: "does not exist", remedy: "closeorder topics create"},
		{sentence: "one that may not be seen is judged by its ACLs alone", topic: "outcomes", layout: func(l *kafka.TopicLayout) { *l = kafka.TopicLayout{Hidden: true} }},
		{sentence: "retries with fewer partitions", topic: "retries.1m", layout: func(l *kafka.TopicLayout) { l.Partitions = 3 }, check: "topic-partitions", grade: topics.Unsafe, evidence: "3 partitions, and requests has 12", remedy: "--alter --topic retries.1m --partitions 12"},
		{sentence: "retries with more", topic: "retries.1m", layout: func(l *kafka.TopicLayout) { l.Partitions = 13 }, check: "topic-partitions", grade: topics.Unsafe, remedy: "let this one run empty"},
		{sentence: "outcomes may have any number", topic: "outcomes", layout: func(l *kafka.TopicLayout) { l.Partitions = 1 }},
		{sentence: "partitions that nobody leads", topic: "requests", layout: func(l *kafka.TopicLayout) { l.Leaderless = []int{0, 3} }, check: "topic-leaders", grade: topics.Unsafe, evidence: "2 partitions without a leader (0, 3)"},
		{sentence: "replicas that are behind", topic: "requests", layout: func(l *kafka.TopicLayout) { l.Lagging, l.InSync = []int{7}, 2 }, check: "topic-leaders", grade: topics.Doubtful, evidence: "1 partition with replicas that are not in sync (7)"},
		{sentence: "one replica on three brokers", topic: "requests", layout: func(l *kafka.TopicLayout) { l.Replication, l.InSync = 1, 1 }, settings: settings{"min.insync.replicas": "1"}, check: "topic-replication", grade: topics.Unsafe, evidence: "1 replica on 3 brokers", remedy: "min.insync.replicas=2"},
		{sentence: "one replica on the only broker", topic: "requests", brokers: 1, layout: func(l *kafka.TopicLayout) { l.Replication, l.InSync = 1, 1 }, settings: settings{"min.insync.replicas": "1"}, check: "topic-replication", grade: topics.Noted, evidence: "on the only broker"},
		{sentence: "one in sync of three is enough: it loses", topic: "outcomes", settings: settings{"min.insync.replicas": "1"}, check: "topic-min-insync", grade: topics.Unsafe, evidence: "min.insync.replicas=1 of 3 replicas", remedy: "--entity-name outcomes --add-config min.insync.replicas=2"},
		{sentence: "one in sync of two is the best there is on two brokers", topic: "outcomes", brokers: 2, layout: func(l *kafka.TopicLayout) { l.Replication, l.InSync = 2, 2 }, settings: settings{"min.insync.replicas": "1"}, check: "topic-min-insync", grade: topics.Noted},
		{sentence: "all in sync, or nothing goes", topic: "outcomes", settings: settings{"min.insync.replicas": "3"}, check: "topic-min-insync", grade: topics.Doubtful, evidence: "while one of their brokers is away nothing can be written"},
		{sentence: "more in sync than there are", topic: "outcomes", settings: settings{"min.insync.replicas": "4"}, check: "topic-min-insync", grade: topics.Unsafe, evidence: "nothing can be written"},
		{sentence: "fewer in sync at this moment than must be", topic: "outcomes", layout: func(l *kafka.TopicLayout) { l.InSync = 1 }, check: "topic-min-insync", grade: topics.Unsafe, evidence: "a partition has 1 in sync"},
		{sentence: "whoever lags may lead", topic: "outcomes", settings: settings{"unclean.leader.election.enable": "true"}, check: "topic-unclean-election", grade: topics.Unsafe, remedy: "unclean.leader.election.enable=false"},
		{sentence: "compacted requests", topic: "requests", settings: settings{"cleanup.policy": "compact"}, check: "topic-cleanup", grade: topics.Unsafe, evidence: "only the last is kept", remedy: "cleanup.policy=delete"},
		{sentence: "compacted outcomes: the last of each order stays", topic: "outcomes", settings: settings{"cleanup.policy": "compact"}},
		{sentence: "requests kept for a minute", topic: "requests", settings: settings{"retention.ms": "60000"}, check: "topic-retention", grade: topics.Unsafe, evidence: "retention.ms=60000: requests are lost", remedy: "retention.ms=1209600000"},
		{sentence: "requests kept for ten hours", topic: "requests", settings: settings{"retention.ms": "36000000"}, check: "topic-retention", grade: topics.Doubtful, evidence: "(10h)", remedy: "retention.ms=1209600000"},
		{sentence: "requests kept for ever", topic: "requests", settings: settings{"retention.ms": "-1"}},
		{sentence: "requests kept while there is room", topic: "requests", settings: settings{"retention.bytes": "1073741824"}, check: "topic-retention-bytes", grade: topics.Doubtful, evidence: "retention.bytes=1073741824", remedy: "retention.bytes=-1"},
		{sentence: "retries with the brokers' own limit of size", topic: "retries.1m", settings: settings{"max.message.bytes": "1048588"}, check: "topic-record-size", grade: topics.Doubtful, evidence: "RECORD_TOO_LARGE", remedy: "max.message.bytes=2097176"},
		{sentence: "dead letters with it", topic: "dead", settings: settings{"max.message.bytes": "1048588"}, check: "topic-record-size", grade: topics.Doubtful, evidence: "without its value"},
		{sentence: "outcomes with it", topic: "outcomes", settings: settings{"max.message.bytes": "1048588"}},
		{sentence: "outcomes with less than a large request", topic: "outcomes", settings: settings{"max.message.bytes": "4096"}, check: "topic-record-size", grade: topics.Doubtful},
		{sentence: "the brokers' clock on requests", topic: "requests", settings: settings{"message.timestamp.type": "LogAppendTime"}, check: "topic-timestamp", grade: topics.Noted},
		{sentence: "the brokers' clock on outcomes", topic: "outcomes", settings: settings{"message.timestamp.type": "LogAppendTime"}},
	} {
		c := topics.Cluster{Brokers: 3, Topics: map[string]kafka.TopicLayout{}, Settings: map[string]map[string]string{}}
		if tt.brokers > 0 {
			c.Brokers = tt.brokers
		}
		for _, name := range names.All() {
			l := kafka.TopicLayout{Partitions: 12, Replication: 3, InSync: 3}
			c.Settings[name] = settings{"cleanup.policy": "delete", "retention.ms": "1209600000", "retention.bytes": "-1", "min.insync.replicas": "2", "max.message.bytes": "1048588", "message.timestamp.type": "CreateTime", "unclean.leader.election.enable": "false"}
			if name == "dead" || name == "retries.1m" {
				c.Settings[name]["max.message.bytes"] = "2097152"
			}
			if name == tt.topic {
				if tt.layout != nil {
					tt.layout(&l)
				}
				maps.Copy(c.Settings[name], tt.settings)
				if tt.missing {
					continue
				}
			}
			c.Topics[name] = l
		}
		var got []topics.Fault
		for _, f := range c.Faults(names) {
			if f.Topic == tt.topic {
				got = append(got, f)
			} else if tt.brokers == 0 && !(f.Check == "topic-partitions" && tt.topic == "requests") {
				t.Errorf("%s: %+v", tt.sentence, f)
			}
		}
		switch {
		case tt.check == "" && len(got) > 0, tt.check != "" && len(got) != 1:
			t.Errorf("%s: %+v", tt.sentence, got)
		case tt.check != "" && (got[0].Check != tt.check || got[0].Grade != tt.grade || !strings.Contains(got[0].Evidence, tt.evidence) || !strings.Contains(got[0].Remedy, tt.remedy) || got[0].Remedy == ""):
			t.Errorf("%s:\ngot  %+v\nwant %s %d %s; %s", tt.sentence, got[0], tt.check, tt.grade, tt.evidence, tt.remedy)
		}
	}
	unseen := topics.Cluster{Brokers: 3, Topics: map[string]kafka.TopicLayout{}}
	for _, name := range names.All() {
		unseen.Topics[name] = kafka.TopicLayout{Partitions: 1, Replication: 3, InSync: 3}
	}
	if got := unseen.Faults(names); got != nil {
		t.Errorf("settings that nobody knows: %+v", got)
	}
}
