package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	intoto "github.com/in-toto/attestation/go/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// A release is whole when it is made, and the same bytes wherever it is made.
func TestAReleaseIsWholeAndTheSameEachTime(t *testing.T) {
	t.Parallel()
	first, second := built().assembled(t), built().assembled(t)
	checked, err := check(first.folder)
	if err != nil {
		t.Fatal(err)
	}
	if checked.version != standInVersion || checked.commit != first.commit {
		t.Errorf("checked as %s of %s", checked.version, checked.commit)
	}
	once, err := filesIn(first.folder)
	if err != nil {
		t.Fatal(err)
	}
	again, err := filesIn(second.folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(once) != len(again) || len(once) < 20 {
		t.Fatalf("%d files, then %d", len(once), len(again))
	}
	for i, f := range once {
		if f.name != again[i].name || !bytes.Equal(f.body, again[i].body) {
			t.Errorf("%s differs when it is made again", f.name)
		}
	}
	for _, ought := range []string{"closeorder-0.9.8.tgz", "closeorder_v0.9.8_image.tar", "closeorder_v0.9.8_image/index.json", "closeorder_v0.9.8_image_linux_arm64.sbom.json", "closeorder_v0.9.8_provenance.intoto.jsonl", "SHA256SUMS"} {
		if !slices.ContainsFunc(once, func(f file) bool { return f.name == ought }) {
			t.Errorf("there is no %s", ought)
		}
	}
}

// Whatever is changed in a release that was made is found.
func TestWhatDoesNotFitIsFound(t *testing.T) {
	t.Parallel()
	other := &release{version: standInVersion}
	change := func(name string, with func(content []byte) []byte) func(*testing.T, *release) {
		return func(t *testing.T, r *release) {
			t.Helper()
			path := filepath.Join(r.folder, name)
			put(t, path, with(get(t, path)))
		}
	}
	// again: as who replaces a file would, with new checksums.
	again := func(do func(*testing.T, *release)) func(*testing.T, *release) {
		return func(t *testing.T, r *release) {
			t.Helper()
			do(t, r)
			if err := r.sum(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// another: the archive has a binary that says the same of itself and is not the
	// same; provenance and checksums agree with it.
	another := func(t *testing.T, r *release) {
		t.Helper()
		p, err := readProgram(r.archive("linux/amd64"))
		if err != nil {
			t.Fatal(err)
		}
		archive, err := packed("linux/amd64", append(p.binary, "more"...), r.time)
		if err != nil {
			t.Fatal(err)
		}
		put(t, r.archive("linux/amd64"), archive)
		image, err := readLayout(r.imageFolder())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.prove(circumstances{tools: t.TempDir(), image: image}); err != nil {
			t.Fatal(err)
		}
		if err := r.sum(); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(content []byte) []byte {
		changed := bytes.Clone(content)
		changed[len(changed)/2] ^= 1
		return changed
	}
	replace := func(old, with string) func([]byte) []byte {
		return func(content []byte) []byte { return bytes.ReplaceAll(content, []byte(old), []byte(with)) }
	}
	amd64, arm64 := filepath.Base(other.archive("linux/amd64")), filepath.Base(other.archive("linux/arm64"))
	for sentence, c := range map[string]struct {
		do   func(*testing.T, *release)
		says string
	}{
		"an archive is damaged":          {change(amd64, flip), amd64 + " is not the file that SHA256SUMS says"},
		"a file is missing":              {func(_ *testing.T, r *release) { os.Remove(r.imageBOM("linux/amd64")) }, "image_linux_amd64.sbom.json"},
		"a file came later":              {func(t *testing.T, r *release) { put(t, filepath.Join(r.folder, "more"), nil) }, "more has no line in SHA256SUMS"},
		"a checksum leads elsewhere":     {change(sums, func(c []byte) []byte { return append(c, "00  ../x\n"...) }), "is no line of it"},
		"an archive of another target":   {again(func(t *testing.T, r *release) { put(t, r.archive("linux/amd64"), get(t, r.archive("linux/arm64"))) }), `target is "linux/arm64", and ought to be "linux/amd64"`},
		"an archive that came later":     {again(change(arm64, func([]byte) []byte { return built().archives[amd64] })), "the provenance says of " + arm64},
		"no binary in an archive":        {again(change(amd64, func([]byte) []byte { return nil })), amd64},
		"the image lost a bit":           {again(change(other.name("image", ".tar"), flip)), "image.tar"},
		"the folder is of another image": {change(other.name("image", "")+"/index.json", replace(standInVersion, "v0.9.7")), "hold different files"},
		"an SBOM of another image": {again(change(other.name("image_linux/amd64", ".sbom.json"), func(c []byte) []byte {
			return regexp.MustCompile(`sha256%3A.{4}`).ReplaceAll(c, []byte("sha256%3Abeef"))
		})), "image_linux_amd64.sbom.json is not about sha256:"},
		"an SBOM of another version":          {again(change(other.name("linux/amd64", ".sbom.json"), replace(standInVersion, "v0.9.7"))), "is not about v0.9.8"},
		"a provenance with an unknown field":  {again(change(other.name("provenance", ".intoto.jsonl"), replace(`"buildType"`, `"buildTipe"`))), `unknown field "buildTipe"`},
		"a provenance of another commit":      {again(change(other.name("provenance", ".intoto.jsonl"), replace(built().commit, strings.Repeat("0", 40)))), "commit is"},
		"a provenance about a file too many":  {again(change(other.name("provenance", ".intoto.jsonl"), replace(`"subject":[`, `"subject":[{"name":"x","digest":{"sha256":"`+strings.Repeat("0", 64)+`"}},`))), "the provenance is about x, which is not there"},
		"a provenance without the other file": {again(change(other.name("provenance", ".intoto.jsonl"), replace(`"name":"RELEASE_NOTES.md"`, `"name":"NOTES.md"`))), "the provenance says of RELEASE_NOTES.md"},
		"a chart of another version": {again(func(t *testing.T, r *release) {
			os.Rename(filepath.Join(r.folder, "closeorder-0.9.8.tgz"), filepath.Join(r.folder, "closeorder-0.9.9.tgz"))
		}), "it is chart closeorder 0.9.8"},
		"notes of another version":                  {again(change("RELEASE_NOTES.md", replace(standInVersion, "v0.9.7"))), "RELEASE_NOTES.md is not about this version"},
		"notes without upgrade notes":               {again(change("RELEASE_NOTES.md", replace("### Upgrade notes", ""))), "has no upgrade notes"},
		"another binary, and all of it signed anew": {another, "/closeorder is not the binary of " + amd64},
		"no provenance":                             {func(_ *testing.T, r *release) { os.Remove(r.provenance()) }, "there is no provenance"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			r := built().whole(t)
			c.do(t, r)
			_, err := check(r.folder)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("check says %v, want something with %q", err, c.says)
			}
		})
	}
}

// A binary that was not built from the commit, for the target, without changes
// gets into no image.
func TestABinaryOfAnotherBuildIsRefused(t *testing.T) {
	t.Parallel()
	r := built().release(t)
	for sentence, c := range map[string]struct {
		of   release
		says string
	}{
		"another version": {release{version: "v0.9.9", commit: r.commit}, `version is "v0.9.8", and ought to be "v0.9.9"`},
		"another commit":  {release{version: r.version, commit: strings.Repeat("a", 40)}, "commit is"},
	} {
		p, err := readProgram(r.archive("linux/amd64"))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.isOf(&c.of, "linux/amd64"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", sentence, err, c.says)
		}
	}
}

// What the provenance says is what went in, and what came out.
func TestTheProvenanceNamesWhatWentInAndCameOut(t *testing.T) {
	t.Parallel()
	r := built().whole(t)
	line := get(t, r.provenance())
	if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("\n")) {
		t.Error("it is not one line")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, line); err != nil || compact.Len() != len(line)-1 {
		t.Errorf("it has blanks between its tokens, which are not the same each time: %v", err)
	}
	s, p, err := readStatement(line)
	if err != nil {
		t.Fatal(err)
	}
	names, err := r.files()
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == sums || n == filepath.Base(r.provenance()) })
	var subjects []string
	for _, of := range s.GetSubject() {
		subjects = append(subjects, of.GetName())
	}
	if want := slices.Concat(names, []string{repository}); !slices.Equal(subjects, want) {
		t.Errorf("it is about %v, want %v", subjects, want)
	}
	dependencies := make(map[string]*intoto.ResourceDescriptor)
	for _, d := range p.GetBuildDefinition().GetResolvedDependencies() {
		dependencies[d.GetUri()] = d
	}
	if got := dependencies["git+"+source+"@refs/tags/"+standInVersion].GetDigest()["gitCommit"]; got != r.commit {
		t.Errorf("commit %q, want %q", got, r.commit)
	}
	// h1:XmWmgK... of go.sum, in hexadecimal.
	sum := hashInSum(t, "golang.org/x/mod v0.43.0 ")
	if got := dependencies["pkg:golang/golang.org/x/mod@v0.43.0"].GetDigest()["dirHash"]; got != sum {
		t.Errorf("x/mod has %q, want %q", got, sum)
	}
	if dependencies["pkg:golang/"+rootsModule+"@"+rootsVersion()] == nil {
		t.Error("the roots are not named")
	}
	if got := p.GetRunDetails().GetBuilder().GetId(); got != byHand {
		t.Errorf("built by %q", got)
	}
	flags := p.GetBuildDefinition().GetInternalParameters().AsMap()["windows/amd64"].(map[string]any)
	if flags["-trimpath"] != "true" || flags["CGO_ENABLED"] != "0" {
		t.Errorf("flags %v", flags)
	}
}

// The chart is that of the folder but for its versions, as helm reads it.
func TestTheChartHasTheVersionOfTheRelease(t *testing.T) {
	t.Parallel()
	r := built().whole(t)
	c, err := readChart(filepath.Join(r.folder, "closeorder-0.9.8.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Metadata.Version != "0.9.8" || c.Metadata.AppVersion != "v0.9.8" {
		t.Errorf("version %s of %s", c.Metadata.Version, c.Metadata.AppVersion)
	}
	var names []string
	for _, f := range c.Raw {
		names = append(names, f.Name)
		if f.Name == "values.yaml" && !bytes.Equal(f.Data, get(t, "testdata/source/deploy/chart/values.yaml")) {
			t.Error("values.yaml is not as it was")
		}
	}
	slices.Sort(names)
	if want := []string{".helmignore", "Chart.yaml", "templates/configmap.yaml", "values.yaml"}; !slices.Equal(names, want) {
		t.Errorf("it holds %v, want %v", names, want)
	}
}

// The chart runs the image that a release pushes, by the tag that it pushes.
func TestTheChartRunsTheImageOfTheRelease(t *testing.T) {
	t.Parallel()
	c, err := loader.LoadDir("../../deploy/chart")
	if err != nil {
		t.Fatal(err)
	}
	image, ok := c.Values["image"].(map[string]any)
	if !ok || image["repository"] != repository || image["tag"] != "" {
		t.Errorf("its image is %v, want %s and no tag: then it is appVersion", c.Values["image"], repository)
	}
}

// untar is what a tar holds, by name.
func untar(t *testing.T, content io.Reader) map[string]*tar.Header {
	t.Helper()
	found := make(map[string]*tar.Header)
	for in := tar.NewReader(content); ; {
		h, err := in.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
	}
}
