package topics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

var names = config.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", RetriesPrefix: "retries", RetryDelays: []time.Duration{time.Minute}}

var shape = topics.Shape{Partitions: 12, DeadLetterPartitions: 3, Retention: time.Hour, DeadLetterRetention: 2 * time.Hour}

func TestWhatExistsIsComparedWithThePlan(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		there    map[string]int // partitions
		want     string         // of requests, outcomes, dead letters, retries
	}{
		{"nothing exists: all as it should be", nil,
			"missing 12, missing 12, missing 3, missing 12"},
		{"new retries get the partitions of a requests topic that exists", map[string]int{"requests": 5},
			"exists 5 (left as it is; a new one would get 12 partitions), missing 12, missing 3, missing 5"},
		{"retries are wrong with fewer", map[string]int{"requests": 5, "retries.1m": 3},
			"exists 5 (left as it is; a new one would get 12 partitions), missing 12, missing 3, wrong 3 (requests has 5: add partitions to this one (kafka-topics.sh --alter --topic retries.1m --partitions 5))"},
		{"retries are wrong with more, also than requests will have", map[string]int{"retries.1m": 13},
			"missing 12, missing 12, missing 3, wrong 13 (requests has 12: let this one run empty, stop the workers, delete it and create it again)"},
		{"retries are right with as many, whatever a new one would get", map[string]int{"requests": 5, "retries.1m": 5},
			"exists 5 (left as it is; a new one would get 12 partitions), missing 12, missing 3, exists 5"},
		{"others may have any number", map[string]int{"outcomes": 1, "dead": 3},
			"missing 12, exists 1 (left as it is; a new one would get 12 partitions), exists 3, missing 12"},
	} {
		there := map[string]kafka.Topic{}
		for name, n := range tt.there {
			there[name] = kafka.Topic{Name: name, Partitions: n, Replication: 1}
		}
		got := ""
		for i, topic := range shape.On(3).Plan(names, there) {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprint(topic.State, " ", topic.Partitions)
			if topic.Note != "" {
				got += " (" + topic.Note + ")"
			}
			if existing := topic.State != topics.Missing; existing != (topic.Settings == nil) || existing != (topic.Replication == 1) {
				t.Errorf("%s: %+v", tt.sentence, topic)
			}
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.sentence, got, tt.want)
		}
	}
}

func TestANewTopicGetsWhatItIsFor(t *testing.T) {
	got := ""
	for _, topic := range shape.On(2).Plan(names, nil) {
		got += fmt.Sprintln(topic.Name, topic.Replication, topic.Settings)
	}
	if want := `requests 2 map[cleanup.policy:delete min.insync.replicas:1 retention.ms:3600000]
outcomes 2 map[cleanup.policy:delete min.insync.replicas:1 retention.ms:3600000]
dead 2 map[cleanup.policy:delete max.message.bytes:2097152 min.insync.replicas:1 retention.ms:7200000]
retries.1m 2 map[cleanup.policy:delete max.message.bytes:2097152 min.insync.replicas:1 retention.ms:3600000]
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTheClusterDecidesWhatIsNotSaid(t *testing.T) {
	for _, tt := range []struct {
		sentence            string
		brokers             int
		asked               topics.Shape
		replication, inSync int
	}{
		{"no broker is known", 0, topics.Shape{}, 1, 1},
		{"one broker", 1, topics.Shape{}, 1, 1},
		{"two", 2, topics.Shape{}, 2, 1},
		{"three", 3, topics.Shape{}, 3, 2},
		{"many: three are enough", 9, topics.Shape{}, 3, 2},
		{"what is said holds", 1, topics.Shape{Replication: 5, MinInSync: 4}, 5, 4},
		{"all but one of what is said", 1, topics.Shape{Replication: 5}, 5, 4},
	} {
		if s := tt.asked.On(tt.brokers); s.Replication != tt.replication || s.MinInSync != tt.inSync {
			t.Errorf("%s: %+v", tt.sentence, s)
		}
	}
}
