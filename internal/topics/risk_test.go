package topics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

func TestSettingsThatLoseRequestsAreTold(t *testing.T) {
	names := config.Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", RetriesPrefix: "retries", RetryDelays: []time.Duration{time.Minute, 2 * time.Hour}}
	for _, tt := range []struct {
		sentence, topic, policy, retention string
		want                               string // "" for no risk
	}{
		{"as topics create makes it", "requests", "delete", "1209600000", ""},
		{"kept for ever", "requests", "delete", "-1", ""},
		{"an hour is the least", "requests", "delete", "3600000", ""},
		{"compacted requests", "requests", "compact", "1209600000",
			"cleanup.policy=compact: of several requests with one key only the last is kept, the others are lost; set it right with: kafka-configs.sh --alter --entity-type topics --entity-name requests --add-config cleanup.policy=delete"},
		{"compacted and deleted", "requests", "compact,delete", "1209600000", "cleanup.policy=compact,delete: of several requests "},
		{"compacted retries", "retries.1m", "compact", "-1", "of several requests that wait with one key only the last is kept"},
		{"compacted dead letters", "dead", "compact", "-1", "of several dead letters with one key"},
		{"compacted outcomes: the last one of each order stays", "outcomes", "compact", "1000", ""},
		{"requests kept for a minute", "requests", "delete", "60000",
			"retention.ms=60000: requests are lost that no worker has answered by then; set it right with: kafka-configs.sh --alter --entity-type topics --entity-name requests --add-config retention.ms=1209600000"},
		{"outcomes kept for seconds", "outcomes", "delete", "5000",
			"retention.ms=5000: outcomes are deleted that the order service has not read by then: for it those requests are lost; set it right with: kafka-configs.sh --alter --entity-type topics --entity-name outcomes --add-config retention.ms=1209600000"},
		{"compacted outcomes that are deleted too", "outcomes", "compact,delete", "5000", "retention.ms=5000: outcomes are deleted"},
		{"dead letters kept for seconds", "dead", "delete", "5000", "retention.ms=5000: dead letters are deleted, read or not"},
		{"retries kept for less than their delay and an hour", "retries.2h", "delete", "7200000", "retention.ms=7200000: requests that wait for 2h are lost that no worker has answered by then"},
		{"kept for longer than that", "retries.2h", "delete", "10800000", ""},
		{"both at once", "requests", "compact,delete", "1000", "--add-config cleanup.policy=delete,retention.ms=1209600000"},
	} {
		settings := map[string]string{"cleanup.policy": tt.policy, "retention.ms": tt.retention}
		got := topics.Risk(names, tt.topic, settings)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.sentence, got, tt.want)
		}
		there := map[string]kafka.Topic{tt.topic: {Name: tt.topic, Partitions: 12, Replication: 1, Settings: settings}}
		for _, topic := range shape.On(1).Plan(names, there) {
			if topic.Name == tt.topic && ((topic.State == topics.Wrong) != (tt.want != "") || !strings.Contains(topic.Note, tt.want)) {
				t.Errorf("%s: the plan has %+v", tt.sentence, topic)
			}
		}
	}
	for topic, want := range map[string]string{
		"outcomes": "message.format.version=0.10.2-IV0, which knows no headers: outcomes are refused by the brokers, as they have headers, and the partition they come from stops; set it right with: kafka-configs.sh --alter --entity-type topics --entity-name outcomes --add-config message.format.version=0.11.0",
		"requests": "and so are replays",
	} {
		for format, risky := range map[string]bool{"0.10.2-IV0": true, "0.9.0": true, "0.11.0-IV2": false, "1.1-IV0": false, "3.0-IV1": false, "": false} {
			got := topics.Risk(names, topic, map[string]string{"message.format.version": format})
			if risky != (got != "") || risky && !strings.Contains(strings.ReplaceAll(got, "0.9.0,", "0.10.2-IV0,"), want) {
				t.Errorf("format %q of %s: %s", format, topic, got)
			}
		}
	}
	if got := topics.Risk(names, "requests", nil); got != "" {
		t.Errorf("settings that nobody knows: %s", got)
	}
}
