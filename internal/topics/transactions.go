package topics

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// StateLog is the topic in which brokers keep what becomes of transactions. They
// make it at the first one.
const StateLog = "__transaction_state"

const (
	stateLogReplicas   = "transaction.state.log.replication.factor"
	stateLogMinInSync  = "transaction.state.log.min.isr"
	stateLogPartitions = "transaction.state.log.num.partitions"
	longestTransaction = "transaction.max.timeout.ms"
	minInSync          = "min.insync.replicas"
)

// LookedAtBrokers are the settings of a broker that [Transactions] judges.
func LookedAtBrokers() []string {
	return []string{stateLogReplicas, stateLogMinInSync, stateLogPartitions, longestTransaction}
}

// LookedAtStateLog are the settings of [StateLog] that [Transactions] judges.
func LookedAtStateLog() []string { return []string{minInSync} }

// Transactions is what a cluster says of how it keeps transactions.
type Transactions struct {
	// Brokers is how many are up.
	Brokers int
	// Log is [StateLog] as it is, nil where nobody has made it yet.
	Log *kafka.Topic
	// Settings are those of a broker, by name. What is not there is not judged.
	Settings map[string]string
}

// Plan is how [StateLog] is, or will be, and what is wrong with it for workers
// with exactly_once whose transactions have that time-out.
func (t Transactions) Plan(timeout time.Duration) Topic {
	p := Topic{Name: StateLog, State: Exists}
	var inSync int
	var known bool
	inSyncBy := minInSync
	if t.Log != nil {
		p.Partitions, p.Replication = t.Log.Partitions, t.Log.Replication
		inSync, _ = strconv.Atoi(t.Log.Settings[minInSync])
		known = true
	} else {
		p.State = Theirs
		p.Partitions, _ = strconv.Atoi(t.Settings[stateLogPartitions])
		p.Replication, known = t.number(stateLogReplicas)
		inSync, _ = t.number(stateLogMinInSync)
		inSyncBy = stateLogMinInSync
		p.Note = "made at the first transaction"
	}
	var problems []string
	switch {
	case !known:
		p.Note += "; whether they can make it is not known, as they do not tell " + stateLogReplicas
	case t.Log == nil && p.Replication > t.Brokers:
		problems = append(problems, fmt.Sprintf("%s=%d, and %s up: the brokers cannot make it, and no transaction begins (COORDINATOR_NOT_AVAILABLE); set it to %d in server.properties of each broker and restart them, or start more",
			stateLogReplicas, p.Replication, brokersAre(t.Brokers), max(1, t.Brokers)))
	case p.Replication == 1 && t.Brokers > 1:
		problems = append(problems, t.oneReplica())
	case inSync > 1 && inSync >= p.Replication:
		p.Note = fmt.Sprintf("all of its %d replicas must be in sync (%s=%d): while one of their brokers is away no transaction ends", p.Replication, inSyncBy, inSync)
	}
	if most, told := t.number(longestTransaction); told && timeout.Milliseconds() > int64(most) {
		problems = append(problems, fmt.Sprintf("%s=%d: kafka.transaction_timeout (%s) is longer, and no worker starts; lower it to %s, or raise that in server.properties of each broker",
			longestTransaction, most, config.ShortDuration(timeout), config.ShortDuration(time.Duration(most)*time.Millisecond)))
	}
	if problems != nil {
		p.State, p.Note = Wrong, strings.Join(problems, "; ")
	}
	return p
}

// oneReplica says what is to be done about a log of a single replica.
func (t Transactions) oneReplica() string {
	wanted := Shape{}.On(t.Brokers)
	text := fmt.Sprintf("1 replica on %d brokers: while its broker is away nothing is published, and with its disk it is lost which transactions were committed; ", t.Brokers)
	set := fmt.Sprintf("%s=%d and %s=%d in server.properties of each broker", stateLogReplicas, wanted.Replication, stateLogMinInSync, wanted.MinInSync)
	if t.Log == nil {
		return text + "set " + set + " before the first transaction"
	}
	return text + fmt.Sprintf("give it %d with kafka-reassign-partitions.sh --execute, then set it right with: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config %s=%d", wanted.Replication, StateLog, minInSync, wanted.MinInSync)
}

func (t Transactions) number(name string) (int, bool) {
	n, err := strconv.Atoi(t.Settings[name])
	return n, err == nil
}

func brokersAre(n int) string {
	if n == 1 {
		return "1 broker is"
	}
	return fmt.Sprintf("%d brokers are", n)
}
