// Package drills holds tests that do to a deployment what a night does: stop the
// worker, the broker or the gateway, give a wrong key, hold a merchant, take a
// topic away, fill the broker's disk, set clocks apart. All is as in earnest:
// closeorder run with its admin address, closeorder simulate and a real Apache
// Kafka, each a process of its own.
//
// What is then to be seen is written in docs/operations.md, section Drills, a
// table for each drill. The tests read it there: what stands in the tables in
// quotes is looked for where the table says, so that the runbook stays true.
//
//	docs/operations.md -> cells -> a fault -> /livez, /readyz, /statusz, /metrics, log, doctor, trace -> found, or not
//
// And nobody may be restarted by a fault of others: /livez is asked all the
// while, as an orchestrator does. After each fault its request is answered.
//
// All of it is tests, with the build tag apachekafka (minutes). What was seen
// instead is printed when a cell is not right. Environment of the tests:
//
//	CLOSEORDER_DRILLS_SEEN  a folder for all that was seen, a file for each drill
package drills
