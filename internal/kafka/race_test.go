//go:build race

package kafka_test

import (
	"os"
	"runtime"
	"testing"
)

// TestMain runs the tests of this package on one processor. All timers of a
// synctest bubble share one state of the race detector, which two goroutines
// may use at once in Go 1.26: the one that runs timers as the clock moves, and
// one that looks at a timer's channel. After hours of virtual time that ends
// the process. Races are found all the same: the detector goes by what
// happens before what, not by what happened at once.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}
