package broker

import "regexp"

// topicName is what Apache Kafka accepts; kfake takes anything.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// Topic is one topic to create.
type Topic struct {
	Name       string
	Partitions int
	// Configs are topic settings, such as retention.ms; nil for the broker's
	// defaults.
	Configs map[string]string
}

// DefaultTopics are closeorder's topics under their default names: 3
// partitions for dead letters, 12 for all others: retry topics have as many as
// requests. What holds a request beside words of ours takes larger records.
func DefaultTopics() []Topic {
	larger := map[string]string{"max.message.bytes": "2097152"}
	return []Topic{
		{Name: "closeorder.requests", Partitions: 12},
		{Name: "closeorder.outcomes", Partitions: 12},
		{Name: "closeorder.dead-letters", Partitions: 3, Configs: larger},
		{Name: "closeorder.retries.10s", Partitions: 12, Configs: larger},
		{Name: "closeorder.retries.1m", Partitions: 12, Configs: larger},
		{Name: "closeorder.retries.5m", Partitions: 12, Configs: larger},
		{Name: "closeorder.retries.30m", Partitions: 12, Configs: larger},
		{Name: "closeorder.retries.2h", Partitions: 12, Configs: larger},
	}
}
