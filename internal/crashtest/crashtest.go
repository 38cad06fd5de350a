// Package crashtest holds tests that run closeorder as it is run in earnest:
// processes of the real program with a real Apache Kafka, killed, stopped and
// started again under load. Only the gateway is a simulator, in the process of
// the test. What is right is not decided here but by the checker of package
// world, which sees the topics, the commits and the gateway's order book.
//
//	order service -> Apache Kafka <-> closeorder run (3 processes) -> gateway simulator
//	                      \-> observer -> world.Check <- order book <-/
//
// TestRebalances is a measurement rather than a test: make rebalances runs it,
// docs/performance.md says what it shows.
//
// TestBrokers tells one story on each version of Apache Kafka: make test-brokers
// runs it, docs/compatibility.md says what each version lacks.
//
// All of it is tests, with the build tags apachekafka (minutes), chaos (longer) and
// brokers (a minute for each version). With the race detector the workers are built with it too. They
// print what they have counted with -v. Environment of the tests:
//
//	CLOSEORDER_CRASH_SEED  draws the disturbances of another run again
//	CLOSEORDER_CRASH_LOGS  a folder for the workers' whole logs when a test fails
//	CLOSEORDER_BROKERS     the versions of TestBrokers, separated by blanks; empty for all
//	CLOSEORDER_CHAOS_TIME  how long TestChaos disturbs, 5m by default
package crashtest
