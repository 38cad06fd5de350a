// Package brokertest holds tests of what a real Apache Kafka and real clients
// do, and an embedded broker does not show: groups of the new consumer
// protocol, every codec of large batches, transactions, compaction, deletion
// under the consumer, limits of the broker, quotas.
//
//	Java, franz-go -> one Apache Kafka for the package <-> worker, in the process of the test -> gateway simulator
//
// All of it is tests, with the build tag apachekafka. Each has topics and a
// group of its own; the broker is the same for all of them, with settings that
// main_test.go says.
package brokertest
