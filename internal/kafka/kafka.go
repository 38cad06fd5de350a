// Package kafka speaks to Kafka: one client with its connections, metadata,
// offsets, fetch, produce, committed offsets. It is mechanism: each function
// makes one request, bounds it and says what came back. It knows nothing of
// close requests, does not log, and does not decide what is tried again.
//
// The [Reader] and the [Writer], which commands use, stand on it and do try
// again: for ever, or for as long as they are told.
//
// It is the only place that imports kafka-go; membership in a consumer group,
// in group, is built on it.
package kafka
