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
	seen  [sha256.Size]byte // of what now was read from
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
// the merchants stay as they were.
func (f *MerchantsFile) Reload() error {
	_, err := f.reload(true)
	return err
}

// reload reports whether anything was taken over or refused. Unless forced it
// does nothing when the bytes are those that were read last.
func (f *MerchantsFile) reload(force bool) (changed bool, err error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	list, seen, err := loadMerchants(f.path)
	sum := seen.sum(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !force && sum == f.tried {
		return false, nil
	}
	f.tried = sum
	var set MerchantMap
	if err == nil {
		set, err = NewMerchantMap(list...)
	}
	if err != nil {
		return true, err
	}
	changed = sum != f.seen
	f.now, f.seen, f.dirs = set, sum, seen.dirs()
	return changed, nil
}

// pollEvery is how often the files are read again without a notification: a
// network file system sends none.
const pollEvery = 15 * time.Second

// Watch follows the file until ctx ends, and then returns nil. After each
// change it calls report, with nil when the new merchants are in use, or with
// what is wrong with the new file while the old ones stay. An editor or
// Kubernetes changes a file in several steps, so a change is taken up when
// the folder has been quiet for a moment.
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
	quiet := time.NewTimer(0) // what changed between the first read and now counts
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			quiet.Reset(200 * time.Millisecond)
		case <-w.Errors: // such as an overflow of its queue
			quiet.Reset(200 * time.Millisecond)
		case <-poll.C:
			quiet.Reset(0)
		case <-quiet.C:
			if changed, err := f.reload(false); changed {
				report(err)
				watch()
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
