package topics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

func TestWhatTransactionsNeedOfTheBrokersIsTold(t *testing.T) {
	type settings = map[string]string
	of := func(factor, inSync string) settings {
		return settings{"transaction.state.log.replication.factor": factor, "transaction.state.log.min.isr": inSync, "transaction.state.log.num.partitions": "50", "transaction.max.timeout.ms": "900000"}
	}
	log := func(replicas int, inSync string) *kafka.Topic {
		return &kafka.Topic{Name: topics.StateLog, Partitions: 50, Replication: replicas, Settings: settings{"min.insync.replicas": inSync}}
	}
	for _, tt := range []struct {
		sentence string
		is       topics.Transactions
		timeout  time.Duration // 0 for 10s
		state    topics.State
		replicas int
		note     string // "" for none
	}{
		{"three of three", topics.Transactions{Brokers: 3, Log: log(3, "2"), Settings: of("3", "2")}, 0, topics.Exists, 3, ""},
		{"one broker of its own", topics.Transactions{Brokers: 1, Log: log(1, "1"), Settings: of("1", "1")}, 0, topics.Exists, 1, ""},
		{"nobody has begun one yet", topics.Transactions{Brokers: 3, Settings: of("3", "2")}, 0, topics.Theirs, 3,
			"made at the first transaction"},
		{"the default of Kafka on a single broker", topics.Transactions{Brokers: 1, Settings: of("3", "2")}, 0, topics.Wrong, 3,
			"transaction.state.log.replication.factor=3, and 1 broker is up: the brokers cannot make it, and no transaction begins (COORDINATOR_NOT_AVAILABLE); set it to 1 in server.properties of each broker and restart them, or start more"},
		{"made when there were more brokers", topics.Transactions{Brokers: 2, Log: log(3, "2"), Settings: of("3", "2")}, 0, topics.Exists, 3, ""},
		{"one replica on three brokers", topics.Transactions{Brokers: 3, Log: log(1, "1"), Settings: of("1", "1")}, 0, topics.Wrong, 1,
			"1 replica on 3 brokers: while its broker is away nothing is published, and with its disk it is lost which transactions were committed; give it 3 with kafka-reassign-partitions.sh --execute, then set it right with: kafka-configs.sh --alter --entity-type topics --entity-name __transaction_state --add-config min.insync.replicas=2"},
		{"one replica on three brokers, when it is made", topics.Transactions{Brokers: 3, Settings: of("1", "1")}, 0, topics.Wrong, 1,
			"set transaction.state.log.replication.factor=3 and transaction.state.log.min.isr=2 in server.properties of each broker before the first transaction"},
		{"all in sync, or nothing goes", topics.Transactions{Brokers: 3, Log: log(2, "2"), Settings: of("2", "2")}, 0, topics.Exists, 2,
			"all of its 2 replicas must be in sync (min.insync.replicas=2): while one of their brokers is away no transaction ends"},
		{"the same, when it is made", topics.Transactions{Brokers: 3, Settings: of("2", "2")}, 0, topics.Theirs, 2, "(transaction.state.log.min.isr=2)"},
		{"a time-out above that of the brokers", topics.Transactions{Brokers: 3, Log: log(3, "2"), Settings: settings{"transaction.max.timeout.ms": "5000"}}, 0, topics.Wrong, 3,
			"transaction.max.timeout.ms=5000: kafka.transaction_timeout (10s) is longer, and no worker starts; lower it to 5s, or raise that in server.properties of each broker"},
		{"a time-out as long as that of the brokers", topics.Transactions{Brokers: 3, Log: log(3, "2"), Settings: of("3", "2")}, 15 * time.Minute, topics.Exists, 3, ""},
		{"both at once", topics.Transactions{Brokers: 1, Settings: settings{"transaction.state.log.replication.factor": "3", "transaction.max.timeout.ms": "1000"}}, 0, topics.Wrong, 3,
			"or start more; transaction.max.timeout.ms=1000: "},
		{"nobody tells", topics.Transactions{Brokers: 3}, 0, topics.Theirs, 0,
			"made at the first transaction; whether they can make it is not known, as they do not tell transaction.state.log.replication.factor"},
		{"nobody tells, of one that is there", topics.Transactions{Brokers: 3, Log: log(3, "")}, 0, topics.Exists, 3, ""},
	} {
		if tt.timeout == 0 {
			tt.timeout = 10 * time.Second
		}
		got := tt.is.Plan(tt.timeout)
		if got.Name != "__transaction_state" || got.State != tt.state || got.Replication != tt.replicas || (got.Note == "") != (tt.note == "") || !strings.Contains(got.Note, tt.note) {
			t.Errorf("%s:\ngot  %+v\nwant %s %d %s", tt.sentence, got, tt.state, tt.replicas, tt.note)
		}
	}
}
