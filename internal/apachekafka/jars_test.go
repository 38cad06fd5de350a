package apachekafka

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const testPom = `<project><properties><kafka.version>4.3.1</kafka.version></properties></project>`

// descriptorFor returns the descriptor of a pom, with an empty cache.
func descriptorFor(t *testing.T, pom, caches string) descriptor {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := readDescriptor(dir, caches)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func writeJar(into, name string) error {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(into, name), []byte("jar"), 0o644)
}

func TestTheRealDescriptorIsFound(t *testing.T) {
	d, err := findDescriptor("")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.version, "4.") {
		t.Errorf("Apache Kafka %q, want a 4.x", d.version)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "log4j2.xml")); err != nil {
		t.Error(err)
	}
}

func TestAnotherPomHasAnotherCache(t *testing.T) {
	caches := t.TempDir()
	one := descriptorFor(t, testPom, caches)
	same := descriptorFor(t, testPom, caches)
	other := descriptorFor(t, testPom+"<!-- another jar -->", caches)
	if one.cache != same.cache {
		t.Errorf("the same pom: %s and %s", one.cache, same.cache)
	}
	if one.cache == other.cache {
		t.Errorf("another pom, the same cache %s", one.cache)
	}
	if name := filepath.Base(one.cache); !strings.HasPrefix(name, "apache-kafka-4.3.1-") {
		t.Errorf("the cache is called %s", name)
	}
}

func TestAPomWithoutVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte("<project/>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readDescriptor(dir, t.TempDir()); err == nil {
		t.Error("accepted")
	}
}

func TestAHalfFetchedCacheIsNeverUsed(t *testing.T) {
	caches := t.TempDir()
	d := descriptorFor(t, testPom, caches)
	broken := errors.New("the network is gone")
	_, err := d.fill(t.Context(), io.Discard, func(_ context.Context, into string) error {
		if err := writeJar(into, "first.jar"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("fill: %v", err)
	}
	_, err = d.fill(t.Context(), io.Discard, func(context.Context, string) error { return nil })
	if err == nil {
		t.Error("a fetch that brought nothing is taken for a full cache")
	}
	if d.cached() {
		t.Error("what was fetched by half counts as cached")
	}
	left, err := filepath.Glob(filepath.Join(caches, "fetching-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	jars, err := d.fill(t.Context(), io.Discard, func(_ context.Context, into string) error {
		return errors.Join(writeJar(into, "first.jar"), writeJar(into, "second.jar"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(jars, "*.jar")); len(found) != 2 {
		t.Errorf("jars: %q", found)
	}
}

func TestOnlyOneFetchesAtATime(t *testing.T) {
	d := descriptorFor(t, testPom, t.TempDir())
	var fetches atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := d.fill(t.Context(), io.Discard, func(_ context.Context, into string) error {
				fetches.Add(1)
				return writeJar(into, "only.jar")
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestWaitingForAFetchEndsWithTheContext(t *testing.T) {
	d := descriptorFor(t, testPom, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := d.fill(t.Context(), io.Discard, func(_ context.Context, into string) error {
		cancel()
		_, err := d.fill(ctx, io.Discard, func(context.Context, string) error {
			t.Error("two fetches at the same time")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("waiting ended with %v", err)
		}
		return writeJar(into, "only.jar")
	})
	if err != nil {
		t.Fatal(err)
	}
}
