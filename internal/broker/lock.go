package broker

import (
	"errors"
	"fmt"
	"os"

	"github.com/closeorder/closeorder/internal/folderlock"
)

// lockDir makes dir and takes it for this process. kfake itself does not
// notice a second broker on the same folder, and the two would spoil it.
func lockDir(dir string) (unlock func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	unlock, err = folderlock.Lock(dir, "closeorder.lock", 0o755)
	if err == nil {
		return unlock, nil
	}
	if errors.Is(err, folderlock.ErrInUse) {
		return nil, fmt.Errorf("embedded broker: data directory %s is in use by another broker; stop it, or choose another with --data-dir", dir)
	}
	if refused, is := errors.AsType[*os.SyscallError](err); is {
		return nil, fmt.Errorf("embedded broker: lock data directory %s: %w", dir, refused.Err)
	}
	return nil, fmt.Errorf("embedded broker: data directory: %w", err)
}
