package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// A standIn is a repository with a program of a few lines that is called as
// closeorder is, and the archives of a version of it. They are built by Go from
// a tagged commit, as .ci/release builds those of closeorder, in a few seconds.
type standIn struct {
	version, commit string
	time            time.Time
	archives        map[string][]byte // by the name of the file, SBOMs too
	zones           string            // zoneinfo.zip of the Go at hand
	err             error

	once sync.Once
	made fs.FS
}

const standInVersion = "v0.9.8"

var built = sync.OnceValue(func() *standIn {
	s := &standIn{version: standInVersion, archives: make(map[string][]byte)}
	s.err = s.build()
	return s
})

func (s *standIn) build() error {
	work, err := os.MkdirTemp("", "closeorder-standin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26.0\n\nrequire golang.org/x/mod v0.43.0\n",
		"go.sum": string(sums),
		"cmd/closeorder/main.go": "package main\n\nimport \"golang.org/x/mod/semver\"\n\n" +
			"func main() { println(semver.Canonical(\"v1\")) }\n",
	} {
		if err := os.MkdirAll(filepath.Join(work, filepath.Dir(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	at := "1764300000 +0000"
	env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_DATE="+at, "GIT_COMMITTER_DATE="+at, "GIT_AUTHOR_NAME=n", "GIT_COMMITTER_NAME=n", "GIT_AUTHOR_EMAIL=e", "GIT_COMMITTER_EMAIL=e")
	do := func(env []string, command ...string) (string, error) {
		cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
		cmd.Dir, cmd.Env = work, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", &failed{strings.Join(command, " "), string(out), err}
		}
		return strings.TrimSpace(string(out)), nil
	}
	for _, git := range []string{"init -q -b main", "add -A", "commit -q -m one", "tag " + s.version} {
		if _, err := do(env, append([]string{"git"}, strings.Fields(git)...)...); err != nil {
			return err
		}
	}
	if s.commit, err = do(env, "git", "rev-parse", "HEAD"); err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(strings.Fields(at)[0], 10, 64)
	if err != nil {
		return err
	}
	s.time = time.Unix(epoch, 0)
	root, err := do(env, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	s.zones = filepath.Join(root, "lib", "time", "zoneinfo.zip")
	r := &release{version: s.version}
	for _, target := range targets {
		system, architecture, _ := strings.Cut(target, "/")
		if _, err := do(append(env, "GOOS="+system, "GOARCH="+architecture),
			"go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", filepath.Join(os.TempDir(), filepath.Base(work)+".bin"), "./cmd/closeorder"); err != nil {
			return err
		}
		binary, err := os.ReadFile(filepath.Join(os.TempDir(), filepath.Base(work)+".bin"))
		if err != nil {
			return err
		}
		os.Remove(filepath.Join(os.TempDir(), filepath.Base(work)+".bin"))
		if s.archives[filepath.Base(r.archive(target))], err = packed(target, binary, s.time); err != nil {
			return err
		}
		if s.archives[r.name(target, ".sbom.json")], err = listed(s.version); err != nil {
			return err
		}
	}
	return nil
}

type failed struct {
	command, said string
	err           error
}

func (f *failed) Error() string { return f.command + ": " + f.err.Error() + "\n" + f.said }

// packed is the binary in an archive, as git archive packs it.
func packed(target string, binary []byte, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	if strings.HasPrefix(target, "windows/") {
		z := zip.NewWriter(&out)
		w, err := z.Create("closeorder/closeorder.exe")
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(binary); err != nil {
			return nil, err
		}
		err = z.Close()
		return out.Bytes(), err
	}
	content, err := tarOf([]file{
		{name: "closeorder/LICENSE", mode: 0o644, body: []byte("licence")},
		{name: "closeorder/closeorder", mode: 0o755, body: binary},
	}, at)
	if err != nil {
		return nil, err
	}
	z := gzip.NewWriter(&out)
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	err = z.Close()
	return out.Bytes(), err
}

// listed is an SBOM in the form that cyclonedx-gomod gives it.
func listed(version string) ([]byte, error) {
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		BOMRef: "program", Type: cyclonedx.ComponentTypeApplication, Name: module, Version: version,
	}}
	bom.Components = &[]cyclonedx.Component{{BOMRef: "mod", Type: cyclonedx.ComponentTypeLibrary, Name: "golang.org/x/mod", Version: "v0.43.0"}}
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: "program", Dependencies: &[]string{"mod"}}}
	var out bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).Encode(bom)
	return out.Bytes(), err
}

// release is a folder with the archives and the notes, and nothing else yet.
func (s *standIn) release(t *testing.T) *release {
	t.Helper()
	if s.err != nil {
		t.Fatal(s.err)
	}
	r := &release{version: s.version, commit: s.commit, time: s.time, folder: t.TempDir()}
	for name, content := range s.archives {
		put(t, filepath.Join(r.folder, name), content)
	}
	put(t, r.notes(), []byte("# closeorder "+s.version+"\n\n### Upgrade notes\n\nNothing to do.\n"))
	return r
}

// whole is a release as .ci/release makes it: a copy of one that was made once.
func (s *standIn) whole(t *testing.T) *release {
	t.Helper()
	s.once.Do(func() {
		copied := fstest.MapFS{}
		if err := walkFiles(os.DirFS(s.assembled(t).folder), func(name string, body []byte) { copied[name] = &fstest.MapFile{Data: body, Mode: 0o644} }); err != nil {
			t.Fatal(err)
		}
		s.made = copied
	})
	if s.made == nil {
		t.Fatal("it could not be made in another test")
	}
	r := &release{version: s.version, commit: s.commit, time: s.time, folder: t.TempDir()}
	if err := os.CopyFS(r.folder, s.made); err != nil {
		t.Fatal(err)
	}
	return r
}

// assembled is a release that is made anew.
func (s *standIn) assembled(t *testing.T) *release {
	t.Helper()
	r := s.release(t)
	if err := assemble(r, circumstances{tools: t.TempDir(), tagged: true}, s.zones, "testdata/source", &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	return r
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func opener(path string) tarball.Opener {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}

func tag(t *testing.T, of string) *name.Tag {
	t.Helper()
	tag, err := name.NewTag(of)
	if err != nil {
		t.Fatal(err)
	}
	return &tag
}
