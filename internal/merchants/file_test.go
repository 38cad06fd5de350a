package merchants

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const oneMerchant = "merchants:\n- mch_id: %q\n  key: k1\n"

func TestFileReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "merchants.yaml")
	if _, err := Open(path); err == nil {
		t.Error("opened a file that is not there")
	}
	writeFile(t, path, fmt.Sprintf(oneMerchant, "a"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	knows := func(mchID string, want bool, sentence string) {
		t.Helper()
		if _, got := f.Merchant(mchID); got != want {
			t.Errorf("%s: merchant %s known: %v", sentence, mchID, got)
		}
	}
	knows("a", true, "at the start")
	writeFile(t, path, fmt.Sprintf(oneMerchant, "b"))
	knows("b", false, "before the reload")
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	knows("a", false, "after the reload")
	knows("b", true, "after the reload")
	writeFile(t, path, fmt.Sprintf(oneMerchant, "c")+"  colour: red\n")
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), "line 4: colour") {
		t.Errorf("a bad file was taken: %v", err)
	}
	knows("b", true, "after a bad file")
	knows("c", false, "after a bad file")
	if len(f.All()) != 1 {
		t.Errorf("%d merchants", len(f.All()))
	}
	os.Remove(path)
	if err := f.Reload(); err == nil {
		t.Error("a missing file was taken")
	}
	knows("b", true, "after the file is gone")
}

// A file is taken up when two looks have seen the same, never half of it, and
// told once, good or bad.
func TestFileHalfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "merchants.yaml")
	half := fmt.Sprintf(oneMerchant, "a")
	whole := half + "- mch_id: b\n  key: k2\n"
	writeFile(t, path, whole)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var saw sum
	for _, step := range []struct {
		sentence   string
		write      string // "" leaves the file as it is
		soon, took bool
		bad        bool
		merchants  int
	}{
		{"nothing has changed", "", false, false, false, 2},
		{"it was cut off to be written anew", "merchants:\n", true, false, false, 2},
		{"half of it is there, and is good YAML", half, true, false, false, 2},
		{"all of it is there again", whole, false, false, false, 2},
		{"a merchant was taken out", half, true, false, false, 2},
		{"and it stays so", "", false, true, false, 1},
		{"that was told", "", false, false, false, 1},
		{"a mistake", half + "  colour: red\n", true, false, false, 1},
		{"and it stays so", "", false, true, true, 1},
		{"that was told", "", false, false, false, 1},
		{"mended", whole, true, false, false, 1},
		{"and it stays so", "", false, true, false, 2},
	} {
		if step.write != "" {
			writeFile(t, path, step.write)
		}
		var soon, took bool
		saw, soon, took, err = f.look(saw)
		if soon != step.soon || took != step.took || (err != nil) != step.bad || len(f.All()) != step.merchants {
			t.Errorf("%s: look again soon %v, took it up %v, error %v, %d merchants; want %+v",
				step.sentence, soon, took, err, len(f.All()), step)
		}
	}
}

// Whatever way the file changes, the change is taken up.
func TestFileWatch(t *testing.T) {
	dir, keys := t.TempDir(), t.TempDir()
	path, key := filepath.Join(dir, "merchants.yaml"), filepath.Join(keys, "k")
	writeFile(t, key, "first\n")
	withFile := func(mchID string) string {
		return fmt.Sprintf("merchants:\n- mch_id: %q\n  key_file: %s\n", mchID, key)
	}
	writeFile(t, path, withFile("a"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reports := make(chan error, 100)
	done := make(chan error)
	go func() { done <- f.Watch(ctx, func(err error) { reports <- err }) }()

	next := func(sentence string) error {
		t.Helper()
		select {
		case err := <-reports:
			return err
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: no report", sentence)
		}
		return nil
	}
	keyOf := func(mchID string) string {
		m, ok := f.Merchant(mchID)
		for _, k := range []string{"first", "second"} {
			if ok && isKey(m.Keys[0], k) {
				return k
			}
		}
		return "none"
	}

	writeFile(t, path, withFile("b"))
	if err := next("written in place"); err != nil || keyOf("b") != "first" {
		t.Errorf("written in place: %v, key %s", err, keyOf("b"))
	}

	tmp := filepath.Join(dir, "new")
	writeFile(t, tmp, withFile("c"))
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
	if err := next("renamed over"); err != nil || keyOf("c") != "first" {
		t.Errorf("renamed over: %v, key %s", err, keyOf("c"))
	}

	writeFile(t, key, "second\n")
	if err := next("another key in the key file"); err != nil || keyOf("c") != "second" {
		t.Errorf("key file: %v, key %s", err, keyOf("c"))
	}

	writeFile(t, path, "merchants: nonsense\n")
	if err := next("a bad file"); err == nil || keyOf("c") != "second" {
		t.Errorf("bad file: %v, key %s", err, keyOf("c"))
	}

	writeFile(t, path, withFile("d"))
	if err := next("a good one again"); err != nil || keyOf("d") != "second" {
		t.Errorf("good again: %v, key %s", err, keyOf("d"))
	}

	// Kubernetes changes a ConfigMap by moving a link to a folder.
	for i, mchID := range []string{"e", "f"} {
		real := filepath.Join(dir, fmt.Sprintf("..%d", i))
		if err := os.Mkdir(real, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(real, "merchants.yaml"), withFile(mchID))
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(real, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			os.Remove(path)
			if err := os.Symlink(filepath.Join("..data", "merchants.yaml"), path); err != nil {
				t.Fatal(err)
			}
		}
		for keyOf(mchID) != "second" { // the link may have been gone for a moment
			next("a moved link")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
}

// Calls under way while the file changes never see half of it.
func TestFileUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "merchants.yaml")
	text := func(mode string) string {
		return "merchants:\n- mch_id: a\n  key: " + mode + "\n  appid: " + mode + "\n"
	}
	writeFile(t, path, text("one"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m, ok := f.Merchant("a")
				if !ok || !isKey(m.Keys[0], m.AppID) {
					t.Error("half of a file")
					return
				}
			}
		})
	}
	for i := range 50 {
		writeFile(t, path, text([]string{"one", "two"}[i%2]))
		if err := f.Reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// A change is taken up although something else in the folder, a log, is written
// all the time.
func TestFileInABusyFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "merchants.yaml")
	text := func(mchID string) string {
		return "merchants:\n- mch_id: " + mchID + "\n  key: one\n  appid: wx\n"
	}
	writeFile(t, path, text("a"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(lookEvery / 10)
		defer tick.Stop()
		for ctx.Err() == nil {
			writeFile(t, filepath.Join(dir, "busy.log"), time.Now().String())
			<-tick.C
		}
	})
	took := make(chan error, 10)
	wg.Go(func() {
		if err := f.Watch(ctx, func(err error) { took <- err }); err != nil {
			t.Error(err)
		}
	})
	writeFile(t, path, text("b"))
	// The poll would find it as well, but not so soon.
	select {
	case err := <-took:
		if _, ok := f.Merchant("b"); err != nil || !ok {
			t.Errorf("taken up: %v, %v", err, ok)
		}
	case <-time.After(pollEvery * 2 / 3):
		t.Error("not taken up while the folder is busy")
	}
	cancel()
	wg.Wait()
}
