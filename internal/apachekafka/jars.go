package apachekafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// descriptor is the pinned pom that names the jars.
type descriptor struct {
	root    string // testdata/apachekafka
	dir     string // of the pom
	version string // of Apache Kafka
	cache   string // folder that holds the jars once they are fetched
}

// findRoot finds testdata/apachekafka from any folder of the module: go test runs
// a test in the folder of its package.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "apachekafka"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("apache kafka: no go.mod above the working directory, and so no testdata/apachekafka")
		}
		dir = parent
	}
}

// findDescriptor finds the pom of a version, or with an empty one the pinned pom.
func findDescriptor(version string) (descriptor, error) {
	root, err := findRoot()
	if err != nil {
		return descriptor{}, err
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return descriptor{}, fmt.Errorf("apache kafka: where to keep its jars: %w", err)
	}
	caches = filepath.Join(caches, "closeorder")
	pinned, err := readDescriptor(root, caches)
	if err != nil || version == "" || version == pinned.version {
		return pinned, err
	}
	all, err := Versions()
	if err != nil {
		return descriptor{}, err
	}
	if !slices.Contains(all, version) {
		return descriptor{}, fmt.Errorf("apache kafka: there is no version %q here, only %s", version, strings.Join(all, ", "))
	}
	d, err := readDescriptor(filepath.Join(root, versionsFolder, version), caches)
	if err != nil {
		return descriptor{}, err
	}
	if d.version != version {
		return descriptor{}, fmt.Errorf("apache kafka: the pom of %s is one of %s", version, d.version)
	}
	d.root = root
	return d, nil
}

// readDescriptor reads the pom in dir. Its jars are kept below caches, in a
// folder of their own for each pom.
func readDescriptor(dir, caches string) (descriptor, error) {
	pom, err := os.ReadFile(filepath.Join(dir, "pom.xml"))
	if err != nil {
		return descriptor{}, fmt.Errorf("apache kafka: %w", err)
	}
	var parsed struct {
		Version string `xml:"properties>kafka.version"`
	}
	if err := xml.Unmarshal(pom, &parsed); err != nil || parsed.Version == "" {
		return descriptor{}, fmt.Errorf("apache kafka: %s: no property kafka.version (%v)", filepath.Join(dir, "pom.xml"), err)
	}
	sum := sha256.Sum256(pom)
	name := fmt.Sprintf("apache-kafka-%s-%s", parsed.Version, hex.EncodeToString(sum[:6]))
	return descriptor{root: dir, dir: dir, version: parsed.Version, cache: filepath.Join(caches, name)}, nil
}

// available returns nil when the jars are there or can be fetched.
func (d descriptor) available() error {
	if d.cached() {
		return nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("no mvn (PATH) to fetch Apache Kafka %s with: install Maven", d.version)
	}
	return nil
}

// cached reports whether the jars are there, all of them: the folder gets its
// name when the last one is in it.
func (d descriptor) cached() bool {
	_, err := os.Stat(d.cache)
	return err == nil
}

// Fetch has Maven fetch the jars of versions, or without any of those that make test
// needs, the pinned one and [RestartVersion], where that has not been done yet.
// [Start] does the same by itself. It takes up to some minutes and tells so on stderr.
func Fetch(ctx context.Context, versions ...string) error {
	if len(versions) == 0 {
		versions = []string{"", RestartVersion}
	}
	for _, version := range versions {
		d, err := findDescriptor(version)
		if err != nil {
			return err
		}
		if _, err := d.jars(ctx, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}

// jars returns the folder of the jars, which it has Maven fill first where
// that has not been done. Only one process does at a time, the others wait for
// it. What takes long is told on progress.
func (d descriptor) jars(ctx context.Context, progress io.Writer) (string, error) {
	return d.fill(ctx, progress, d.fetch)
}

func (d descriptor) fill(ctx context.Context, progress io.Writer, fetch func(ctx context.Context, into string) error) (string, error) {
	if d.cached() {
		return d.cache, nil
	}
	defer tellProgress(progress, fmt.Sprintf("Apache Kafka %s: fetching its jars with Maven into %s, once for this machine", d.version, d.cache))()
	if err := os.MkdirAll(filepath.Dir(d.cache), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, d.cache+".lock")
	if err != nil {
		return "", fmt.Errorf("apache kafka: wait for another process that fetches: %w", err)
	}
	defer unlock()
	if d.cached() {
		return d.cache, nil
	}
	half, err := os.MkdirTemp(filepath.Dir(d.cache), "fetching-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(half)
	jars := filepath.Join(half, "jars")
	if err := fetch(ctx, jars); err != nil {
		return "", fmt.Errorf("apache kafka: fetch the jars of %s: %w", filepath.Join(d.dir, "pom.xml"), err)
	}
	if found, err := filepath.Glob(filepath.Join(jars, "*.jar")); err != nil || len(found) == 0 {
		return "", fmt.Errorf("apache kafka: Maven has fetched nothing for %s", filepath.Join(d.dir, "pom.xml"))
	}
	if err := os.Rename(jars, d.cache); err != nil {
		return "", err
	}
	return d.cache, nil
}

// fetch has Maven copy the jars into the folder, each checked against its
// published checksum.
func (d descriptor) fetch(ctx context.Context, into string) error {
	cmd := exec.CommandContext(ctx, "mvn", "-B", "-q", "-C", "-f", filepath.Join(d.dir, "pom.xml"),
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+into)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// tellProgress writes text to w when what follows takes longer than 3 s, and
// then every 15 s, until the returned function is called.
func tellProgress(w io.Writer, text string) (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		begin := time.Now()
		timer := time.NewTimer(3 * time.Second)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				fmt.Fprintf(w, "%s (%v)\n", text, time.Since(begin).Round(time.Second))
				timer.Reset(15 * time.Second)
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
