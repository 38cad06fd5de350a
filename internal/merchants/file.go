package merchants

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/closeorder/closeorder/closer"
)

// File is a set of merchants that follows its file. It is safe for concurrent
// use; a Close under way goes on with what it began with.
type File struct {
	path string

	good atomic.Pointer[content] // what was last read without a mistake

	reading sync.Mutex // one read at a time, so that the later one wins
	tried   sum        // of what was last read, good or bad
}

// sum tells what was read from what was read before, mistakes included.
type sum [sha256.Size]byte

// Open reads a file of merchants. The error names every mistake with its line,
// as [Mistakes]; it never shows a key.
//
//	merchants:
//	  - mch_id: "1900000109"
//	    appid: wx8888888888888888      # default for orders that bring none
//	    key_file: keys/1900000109      # or key, or key_env
//	    next_key_env: NEXT_KEY         # a second key while the key is changed
//	    sign_type: HMAC-SHA256         # default MD5
//	    rate: 100                      # calls per second, default the worker's
//	    hosts: [https://api.mch.weixin.qq.com]
//	  - mch_id: "1900000111"
//	    mode: institution              # default direct
//	    key_env: KEY_1900000111
//	    sub_mch_id: "1900000112"       # defaults for orders that bring none
//	    sub_appid: wx1234567890123456
//
// A relative key_file is taken from the folder of the merchants file. White
// space at the end of a key file is dropped, so that an editor's newline does
// no harm.
//
// What several merchants have in common can be written once and merged
// (<<: *name); a field of their own wins, and is switched off with null.
//
//	x-institution: &institution        # any name that begins with x-
//	  mode: institution
//	  sign_type: HMAC-SHA256
//	merchants:
//	  - <<: *institution
//	    mch_id: "1900000111"
//	    key_env: KEY_1900000111
//
// While a key is being changed both stand in the file: calls are signed with
// next_key first and, as long as the gateway refuses that, with key; replies
// count under either. When the change is through, next_key becomes key.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Merchant returns the merchant as it stood in the last good file.
func (f *File) Merchant(mchID string) (closer.Merchant, bool) {
	return f.good.Load().byID.Merchant(mchID)
}

// All returns the merchants of the last good file in its order. They are not
// to be changed.
func (f *File) All() []closer.Merchant {
	return f.good.Load().list
}

// Reload reads the file and the key files again, now, as on SIGHUP. A file
// with a mistake is refused as a whole: the error names every mistake, and
// the merchants stay as they were. The caller says that the file is whole;
// Watch finds that out by itself.
func (f *File) Reload() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	return f.take(f.read())
}

// content is what one look at the files gave.
type content struct {
	list []closer.Merchant
	byID closer.MerchantMap
	dirs []string // where the files lie
	sum  sum
	err  error
}

// read reads the file and the key files that it names.
func (f *File) read() (c content) {
	hash := sha256.New()
	readFile := func(path string) ([]byte, error) {
		data, err := readBounded(path)
		// An editor replaces a file, and a watch on the file itself would go with
		// the old one.
		if dir := filepath.Dir(path); !slices.Contains(c.dirs, dir) {
			c.dirs = append(c.dirs, dir)
		}
		fmt.Fprintf(hash, "%s %d ", path, len(data))
		hash.Write(data)
		return data, err
	}
	data, err := readFile(f.path)
	if err != nil {
		c.err = fmt.Errorf("merchants file: %w", err)
	} else {
		p := parser{dir: filepath.Dir(f.path), readFile: readFile, getenv: os.LookupEnv}
		if c.list, err = p.parse(data); err != nil {
			c.err = fmt.Errorf("merchants file %s: %w", f.path, err)
		}
	}
	if c.err != nil {
		fmt.Fprint(hash, c.err)
	}
	hash.Sum(c.sum[:0])
	return c
}

// mostBytes bounds what is read of a merchants file and of a key file: a path
// to the wrong thing must not fill the memory.
const mostBytes = 16 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(data) > mostBytes {
		err = fmt.Errorf("%s is longer than %d bytes", path, mostBytes)
	}
	return data, err
}

// take puts what was read into use, unless it has a mistake.
func (f *File) take(c content) error {
	f.tried = c.sum
	if c.err == nil {
		c.byID = ByID(c.list)
		f.good.Store(&c)
	}
	return c.err
}

// look reads the files, and takes up what has changed once two looks in a row
// have seen the same: half of a file that is being written can be good YAML
// with merchants missing, and their requests would fail. It returns what it
// saw, to be given to the next look, and whether another one is due soon.
func (f *File) look(last sum) (saw sum, soon, took bool, err error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	c := f.read()
	switch c.sum {
	case f.tried:
		return c.sum, false, false, nil
	case last:
		return c.sum, false, true, f.take(c)
	}
	return c.sum, true, false, nil
}

// pollEvery is how often the files are read again without a notification: a
// network file system sends none.
const pollEvery = 15 * time.Second

// lookEvery is how long files must stay the same to count as whole.
const lookEvery = 200 * time.Millisecond

// Watch follows the file until ctx ends, and then returns nil. After each
// change it calls report, with nil when the new merchants are in use, or with
// what is wrong with the new file while the old ones stay. A change is taken
// up when the files have stayed the same for a moment: an editor or Kubernetes
// makes it in several steps. Whoever writes for longer than that at one file
// should write another one and rename it.
//
// It returns an error only when the file cannot be watched at all; polling
// then still can be done with Reload.
func (f *File) Watch(ctx context.Context, report func(error)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the merchants file: %w", err)
	}
	defer w.Close()
	watch := func() {
		for _, dir := range f.good.Load().dirs {
			_ = w.Add(dir) // without it the poll finds the change; twice is once
		}
	}
	watch()

	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	next := time.NewTimer(0) // what changed between the first read and now counts
	defer next.Stop()
	due := true // next is running
	// A folder with a busy log in it must not put the look off again and again.
	look := func(in time.Duration) {
		if !due {
			due = true
			next.Reset(in)
		}
	}
	var saw sum
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			look(lookEvery)
		case <-w.Errors: //nolint:errcheck // such as an overflow of its queue: then look
			look(lookEvery)
		case <-poll.C:
			look(0)
		case <-next.C:
			due = false
			var soon, took bool
			var err error
			if saw, soon, took, err = f.look(saw); took {
				report(err)
				watch()
			}
			if soon {
				look(lookEvery)
			}
		}
	}
}
