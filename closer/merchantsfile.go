package closer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// MerchantsFile is a set of merchants that follows its file. It is safe for
// concurrent use; a Close under way goes on with what it began with.
type MerchantsFile struct {
	path string

	reading sync.Mutex // one read at a time, so that the later one wins

	mu    sync.RWMutex
	now   MerchantMap
	tried [sha256.Size]byte // of what was last read, good or bad
	dirs  []string          // where files that now came from lie
}

// OpenMerchantsFile reads the file; see [LoadMerchants] for its form.
func OpenMerchantsFile(path string) (*MerchantsFile, error) {
	f := &MerchantsFile{path: path}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Merchant returns the merchant as it stood in the last good file.
func (f *MerchantsFile) Merchant(mchID string) (Merchant, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.now.Merchant(mchID)
}

// Len returns the number of merchants.
func (f *MerchantsFile) Len() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.now)
}

// Reload reads the file and the key files again, now, as on SIGHUP. A file
// with a mistake is refused as a whole: the error names every mistake, and
// the merchants stay as they were. The caller says that the file is whole;
// Watch finds that out by itself.
func (f *MerchantsFile) Reload() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	return f.take(f.read())
}

// reading is what one look at the files gave.
type reading struct {
	list []Merchant
	dirs []string
	sum  [sha256.Size]byte // of everything that was read, mistakes included
	err  error
}

func (f *MerchantsFile) read() reading {
	list, seen, err := loadMerchants(f.path)
	return reading{list: list, dirs: seen.dirs(), sum: seen.sum(err), err: err}
}

// take puts what was read into use, unless it has a mistake.
func (f *MerchantsFile) take(r reading) error {
	var set MerchantMap
	if r.err == nil {
		set, r.err = NewMerchantMap(r.list...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = r.sum
	if r.err != nil {
		return r.err
	}
	f.now, f.dirs = set, r.dirs
	return nil
}

// look reads the files, and takes up what has changed once two looks in a row
// have seen the same: half of a file that is being written can be good YAML
// with merchants missing, and their requests would fail. It returns what it
// saw, to be given to the next look, and whether another one is due soon.
func (f *MerchantsFile) look(last [sha256.Size]byte) (saw [sha256.Size]byte, soon, took bool, err error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	r := f.read()
	switch {
	case r.sum == f.triedLast():
		return r.sum, false, false, nil
	case r.sum != last:
		return r.sum, true, false, nil
	}
	return r.sum, false, true, f.take(r)
}

func (f *MerchantsFile) triedLast() [sha256.Size]byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tried
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
func (f *MerchantsFile) Watch(ctx context.Context, report func(error)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the merchants file: %w", err)
	}
	defer w.Close()
	watched := map[string]bool{}
	watch := func() {
		f.mu.RLock()
		dirs := f.dirs
		f.mu.RUnlock()
		for _, dir := range dirs {
			if !watched[dir] && w.Add(dir) == nil { // else the poll finds the change
				watched[dir] = true
			}
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
	var saw [sha256.Size]byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			look(lookEvery)
		case <-w.Errors: // such as an overflow of its queue
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

// fingerprint tells the contents of a set of files from others.
type fingerprint struct {
	h     hash.Hash
	paths []string
}

func newFingerprint() *fingerprint { return &fingerprint{h: sha256.New()} }

// read reads a file and takes it in.
func (p *fingerprint) read(path string) ([]byte, error) {
	data, err := readBounded(path)
	p.paths = append(p.paths, path)
	fmt.Fprintf(p.h, "%s %d ", path, len(data))
	p.h.Write(data)
	return data, err
}

func (p *fingerprint) sum(err error) (s [sha256.Size]byte) {
	if err != nil {
		fmt.Fprint(p.h, err)
	}
	p.h.Sum(s[:0])
	return s
}

// dirs are the folders to watch: an editor replaces a file, and a watch on
// the file itself would go with the old one.
func (p *fingerprint) dirs() []string {
	var dirs []string
	for _, path := range p.paths {
		if dir := filepath.Dir(path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
