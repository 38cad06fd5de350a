package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	module = "github.com/closeorder/closeorder"
	source = "https://" + module
	// repository is where the workflow of a release pushes the image.
	repository = "ghcr.io/closeorder/closeorder"
	sums       = "SHA256SUMS"
)

// targets is what a release has archives for.
var targets = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64"}

// release is one version in its folder. It is read by .ci/release and by who has
// downloaded one; the same fields give the same bytes.
type release struct {
	version string    // as the tag has it: v0.1.0
	commit  string    // all 40 digits
	time    time.Time // of the commit: the time of everything that has one
	folder  string
}

var isVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// name is the name of a file of the release: closeorder_v0.1.0_linux_amd64.sbom.json.
func (r *release) name(of, extension string) string {
	return "closeorder_" + r.version + "_" + strings.ReplaceAll(of, "/", "_") + extension
}

func (r *release) path(of, extension string) string {
	return filepath.Join(r.folder, r.name(of, extension))
}

// archive is the file with the binary for a target.
func (r *release) archive(target string) string {
	if strings.HasPrefix(target, "windows/") {
		return r.path(target, ".zip")
	}
	return r.path(target, ".tar.gz")
}

func (r *release) imageFolder() string  { return r.path("image", "") }
func (r *release) imageArchive() string { return r.path("image", ".tar") }
func (r *release) provenance() string   { return r.path("provenance", ".intoto.jsonl") }
func (r *release) notes() string        { return filepath.Join(r.folder, "RELEASE_NOTES.md") }

// files are the names of what is released, sorted: the files of the folder, but
// not what is made of them all, nor the image as a folder, which its tar has too.
func (r *release) files(without ...string) ([]string, error) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !slices.Contains(without, e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no files; make the archives first", r.folder)
	}
	return names, nil
}

// digest is the SHA-256 of a file, in hexadecimal.
func digest(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return hashOf(content), nil
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
