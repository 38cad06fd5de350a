//go:build race

package closer

const raceEnabled = true
