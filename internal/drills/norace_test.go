//go:build apachekafka && !race

package drills

const raceEnabled = false
