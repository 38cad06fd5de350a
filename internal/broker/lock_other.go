//go:build !unix

package broker

import (
	"fmt"
	"os"
)

// lockDir makes dir. There is no lock here: two brokers on one folder would
// spoil it.
func lockDir(dir string) (unlock func() error, err error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("embedded broker: data directory: %w", err)
		}
	}
	return func() error { return nil }, nil
}
