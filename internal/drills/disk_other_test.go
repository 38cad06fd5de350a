//go:build apachekafka && !linux

package drills

// fillDisk needs prlimit(2).
func (s *scene) fillDisk() {
	s.t.Helper()
	s.t.Skip("only Linux sets limits of a process that runs")
}

func (s *scene) freeDisk() {}
