//go:build unix

package folderlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Lock makes dir where it is missing, with mode, and takes it for this process by a
// lock on the file called name in it. The kernel drops the lock when the process
// dies, so that a crash leaves none behind.
//
// The error is ErrInUse, an *[fs.PathError] of the folder or the file, or an
// *[os.SyscallError] where the file system has no locks.
func Lock(dir, name string, mode fs.FileMode) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return f.Close, nil
}
