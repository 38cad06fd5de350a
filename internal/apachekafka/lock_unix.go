//go:build unix

package apachekafka

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// lock takes the lock file at path, waiting for whoever has it. The kernel
// drops the lock when the process dies, so a crash leaves none behind.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			err = pause(ctx)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
}
