package access

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// lookEvery is how often the file is looked at while somebody asks for pages.
	lookEvery = time.Second
	// restsFor is how long it must not have been written to: half of a file may be
	// good, and users missing from it would be logged out.
	restsFor = 500 * time.Millisecond
	// readEvery is how often it is read though nothing shows that it has changed.
	readEvery = 15 * time.Second
)

// usersFile is the users of a file, as it was when there was last nothing wrong with
// it. Nobody watches it: who asks looks. It is safe for concurrent use.
type usersFile struct {
	path string
	log  logrus.FieldLogger

	mu   sync.Mutex
	good users
	info fs.FileInfo       // when it was read last, nil where that failed
	sum  [sha256.Size]byte // of what was read last, good or bad
	saw  fs.FileInfo       // when it was looked at last, nil for not at all
	next time.Time         // when it is looked at again
	read time.Time         // when it was read last
}

// openUsers reads the file for the first time.
func openUsers(path string, log logrus.FieldLogger) (*usersFile, error) {
	f := &usersFile{path: path, log: log}
	all, info, sum, err := f.content()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	f.good, f.info, f.sum, f.saw, f.read, f.next = all, info, sum, info, now, now.Add(lookEvery)
	f.warn(info)
	return f, nil
}

// content reads the file. The error names it, and every mistake in it.
func (f *usersFile) content() (all users, info fs.FileInfo, sum [sha256.Size]byte, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return all, nil, sum, fmt.Errorf("file of users: %w", err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return all, nil, sum, fmt.Errorf("file of users: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, mostFile+1))
	switch {
	case err != nil:
		return all, info, sum, fmt.Errorf("file of users: %w", err)
	case len(data) > mostFile:
		return all, info, sum, fmt.Errorf("file of users %s: it is longer than %d bytes; is it the right one?", f.path, mostFile)
	}
	sum = sha256.Sum256(data)
	if all, err = parseUsers(data); err != nil {
		err = fmt.Errorf("file of users %s:\n%w", f.path, err)
	}
	return all, info, sum, err
}

// warn says that others can read the file: who has a hash can try passwords on it,
// as fast as a machine goes.
func (f *usersFile) warn(info fs.FileInfo) {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		f.log.Warnf("file of users %s: everybody on this machine can read it (mode %04o), and try passwords on its hashes; chmod 0640 or 0600", f.path, info.Mode().Perm())
	}
}

// users are those of now. What has changed counts within a second or two of the
// first question.
func (f *usersFile) users() users {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Before(f.next) {
		return f.good
	}
	f.next = now.Add(lookEvery)
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		f.refuse(fmt.Errorf("file of users: %w", err), sha256.Sum256([]byte(err.Error())))
		f.info, f.saw = nil, nil
		return f.good
	case same(info, f.info) && now.Sub(f.read) < readEvery:
		return f.good
	case !same(info, f.info) && now.Sub(info.ModTime()) < restsFor && !same(info, f.saw):
		f.saw, f.next = info, now.Add(restsFor)
		return f.good
	}
	all, info, sum, err := f.content()
	f.read, f.info, f.saw = now, info, info
	switch {
	case err != nil:
		if info == nil {
			sum = sha256.Sum256([]byte(err.Error()))
		}
		f.refuse(err, sum)
	case sum != f.sum:
		f.good, f.sum = all, sum
		f.log.Infof("file of users %s was read again: %d of them", f.path, len(all.list))
		f.warn(info)
	}
	return f.good
}

// refuse says once what is wrong with the file.
func (f *usersFile) refuse(err error, sum [sha256.Size]byte) {
	if sum != f.sum {
		f.sum = sum
		f.log.WithError(err).Error("the file of users is not as it must be; who could log in before still can, and nobody else, until this is mended")
	}
}

// same reports whether nothing shows that a file has changed.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}
