//go:build unix

package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir makes dir and takes it for this process. kfake itself does not
// notice a second broker on the same folder, and the two would spoil it. The
// kernel drops the lock when the process dies, so a crash leaves none behind.
func lockDir(dir string) (unlock func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("embedded broker: data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "closeorder.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("embedded broker: data directory %s is in use by another broker; stop it, or choose another with --data-dir", dir)
		}
		return nil, fmt.Errorf("embedded broker: lock data directory %s: %w", dir, err)
	}
	return f.Close, nil
}
