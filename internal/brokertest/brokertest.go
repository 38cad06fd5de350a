// Package brokertest holds tests of what a real Apache Kafka and real clients
// do, and an embedded broker does not show: groups of the new consumer
// protocol, every codec of large batches, transactions, compaction, deletion
// under the consumer, limits of the broker, quotas.
//
//	Java, librdkafka, franz-go -> one Apache Kafka for the package <-> worker, in the process of the test -> gateway simulator
//
// All of it is tests, with the build tag apachekafka. Each has topics and a
// group of its own; the broker is the same for all of them, with settings that
// main_test.go says. Some go through the same with the embedded broker.
//
// What librdkafka does takes a C compiler and librdkafka-dev. Without them those
// tests are left out, and with CI=true or CLOSEORDER_REQUIRE_LIBRDKAFKA=1 they
// fail.
package brokertest
