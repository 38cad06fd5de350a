//go:build apachekafka

package drills

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fillDisk has each write of the broker that makes a file longer fail from now on,
// as on a disk that is full: the limit of a process does without a disk of its own
// and without root, and what is there stays. The error is EFBIG and not ENOSPC;
// Kafka does the same with both (KafkaStorageException, the folder goes offline).
func (s *scene) fillDisk() {
	s.t.Helper()
	full := unix.Rlimit{Cur: 1, Max: 1}
	s.good(unix.Prlimit(s.kafka.BrokerPID(0), unix.RLIMIT_FSIZE, &full, nil))
	// The first write to fail is that of the outcome, or of the next commit.
	s.eventually("a broker that has met its full disk", func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.kafka.BrokerPID(0)))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(status), ") Z ") {
			return nil // it has halted: its only folder is offline
		}
		return errors.Join(err, errText(s.kafka.LogTail()))
	})
}

// freeDisk starts the broker again, on a disk with room.
func (s *scene) freeDisk() {
	s.t.Helper()
	_ = s.kafka.KillBroker(0) // it has ended by itself
	s.good(s.kafka.RestartBroker(0))
	s.good(s.kafka.WaitReady(s.t.Context()))
}
