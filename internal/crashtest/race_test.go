//go:build apachekafka && race

package crashtest

const raceEnabled = true
