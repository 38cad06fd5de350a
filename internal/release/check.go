package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// check reads a whole release back, and says all that does not fit together. It
// goes by the files alone: version and commit are read from the provenance, and
// everything else has to agree with it.
func check(folder string) (*release, error) {
	r, err := find(folder)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "closeorder-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }() // a folder of the system's for what is temporary
	wrong := []error{r.checkSums(), r.checkArchives()}
	index, err := r.unpackImage(work)
	if err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", filepath.Base(r.imageArchive()), err))
	} else {
		wrong = append(wrong, r.checkPlatforms(index), r.compareFolder(work), r.checkProvenance(index))
	}
	return r, errors.Join(append(wrong, r.checkCharts(), r.checkNotes())...)
}

var isProvenance = regexp.MustCompile(`^closeorder_(v.+)_provenance\.intoto\.jsonl$`)

// find is the release in a folder, by its provenance.
func find(folder string) (*release, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		m := isProvenance.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		r := &release{version: m[1], folder: folder}
		line, err := os.ReadFile(r.provenance())
		if err != nil {
			return nil, err
		}
		_, p, err := readStatement(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		r.commit = p.GetBuildDefinition().GetExternalParameters().GetFields()["commit"].GetStringValue()
		return r, nil
	}
	return nil, fmt.Errorf("there is no provenance in %s: it is no release, or not all of one", folder)
}

// checkArchives: each has the binary of its target, built from this commit.
func (r *release) checkArchives() error {
	var wrong []error
	for _, target := range targets {
		p, err := readProgram(r.archive(target))
		if err == nil {
			err = p.isOf(r, target)
		}
		wrong = append(wrong, err)
		bom, err := readBOM(r.path(target, ".sbom.json"))
		if err == nil && (bom.Metadata == nil || bom.Metadata.Component == nil || bom.Metadata.Component.Version != r.version) {
			err = fmt.Errorf("%s is not about %s", r.name(target, ".sbom.json"), r.version)
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// unpackImage unpacks the tar of the image into an empty folder.
func (r *release) unpackImage(into string) (v1.ImageIndex, error) {
	content, err := os.ReadFile(r.imageArchive())
	if err != nil {
		return nil, err
	}
	for in := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		to := filepath.Join(into, filepath.FromSlash(h.Name))
		switch {
		case !filepath.IsLocal(h.Name):
			return nil, fmt.Errorf("%q leads out of the archive", h.Name)
		case h.Typeflag == tar.TypeDir:
			err = os.MkdirAll(to, 0o755)
		case h.Typeflag == tar.TypeReg:
			var body []byte
			if body, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(to, body, 0o644)
			}
		default:
			err = fmt.Errorf("%s is neither a file nor a folder", h.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return readLayout(into)
}

// readLayout is the one image of an OCI image layout, with all its digests
// checked.
func readLayout(folder string) (v1.ImageIndex, error) {
	all, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("it holds %d images, and ought to hold one", len(manifest.Manifests))
	}
	index, err := all.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	return index, validate.Index(index)
}

// checkPlatforms: the image has the binaries of the archives, and its SBOMs name
// it.
func (r *release) checkPlatforms(index v1.ImageIndex) error {
	images, err := platformImages(index)
	if err != nil {
		return err
	}
	var wrong []error
	for _, platform := range platforms {
		target := targetOf(platform)
		img, ok := images[target]
		if !ok {
			wrong = append(wrong, fmt.Errorf("there is no image for %s", target))
			continue
		}
		if err := r.checkPlatform(target, img); err != nil {
			wrong = append(wrong, fmt.Errorf("image for %s: %w", target, err))
		}
	}
	if len(images) != len(platforms) {
		wrong = append(wrong, fmt.Errorf("the image is for %s", strings.Join(sortedKeys(images), ", ")))
	}
	return errors.Join(wrong...)
}

func (r *release) checkPlatform(target string, img v1.Image) error {
	p, err := readProgram(r.archive(target))
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	top, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		return err
	}
	defer top.Close()
	in := tar.NewReader(top)
	h, err := in.Next()
	if err != nil {
		return err
	}
	binary, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if h.Name != "closeorder" || !bytes.Equal(binary, p.binary) {
		return fmt.Errorf("/%s is not the binary of %s", h.Name, filepath.Base(r.archive(target)))
	}
	hash, err := img.Digest()
	if err != nil {
		return err
	}
	bom, err := readBOM(r.imageBOM(target))
	if err != nil {
		return err
	}
	if bom.Metadata == nil || bom.Metadata.Component == nil || !strings.Contains(bom.Metadata.Component.PackageURL, hash.Hex) {
		return fmt.Errorf("%s is not about %s", filepath.Base(r.imageBOM(target)), hash)
	}
	return nil
}

// compareFolder: the image as a folder, where that is there, has the files of
// its tar.
func (r *release) compareFolder(unpacked string) error {
	if _, err := os.Stat(r.imageFolder()); os.IsNotExist(err) {
		return nil
	}
	inTar, err := filesIn(unpacked)
	if err != nil {
		return err
	}
	inFolder, err := filesIn(r.imageFolder())
	if err != nil {
		return err
	}
	inTar = slices.DeleteFunc(inTar, func(f file) bool { return f.name == "manifest.json" })
	if !slices.EqualFunc(inTar, inFolder, func(a, b file) bool { return a.name == b.name && bytes.Equal(a.body, b.body) }) {
		return fmt.Errorf("%s and %s hold different files", filepath.Base(r.imageFolder()), filepath.Base(r.imageArchive()))
	}
	return nil
}

// checkProvenance: it is about these very files, all of them.
func (r *release) checkProvenance(image v1.ImageIndex) error {
	line, err := os.ReadFile(r.provenance())
	if err != nil {
		return err
	}
	is, p, err := readStatement(line)
	if err != nil {
		return err
	}
	ought, err := r.subjects(image)
	if err != nil {
		return err
	}
	digests := make(map[string]string)
	for _, s := range is.GetSubject() {
		digests[s.GetName()] = s.GetDigest()["sha256"]
	}
	var wrong []error
	for _, s := range ought {
		if digests[s.GetName()] != s.GetDigest()["sha256"] {
			wrong = append(wrong, fmt.Errorf("the provenance says of %s the SHA-256 %q, and it is %s", s.GetName(), digests[s.GetName()], s.GetDigest()["sha256"]))
		}
		delete(digests, s.GetName())
	}
	for _, name := range sortedKeys(digests) {
		wrong = append(wrong, fmt.Errorf("the provenance is about %s, which is not there", name))
	}
	if from := p.GetBuildDefinition().GetResolvedDependencies(); len(from) == 0 || from[0].GetDigest()["gitCommit"] != r.commit {
		wrong = append(wrong, errors.New("the provenance does not begin with the commit"))
	}
	return errors.Join(wrong...)
}

func (r *release) checkCharts() error {
	names, err := r.files()
	if err != nil {
		return err
	}
	var wrong []error
	for _, name := range names {
		if filepath.Ext(name) != ".tgz" {
			continue
		}
		c, err := readChart(filepath.Join(r.folder, name))
		if err == nil && (c.Metadata.AppVersion != r.version || name != r.chart(c.Name())) {
			err = fmt.Errorf("it is chart %s %s of %s", c.Name(), c.Metadata.Version, c.Metadata.AppVersion)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}

func (r *release) checkNotes() error {
	text, err := os.ReadFile(r.notes())
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), r.version) || !strings.Contains(string(text), "### "+upgradeNotes) {
		return errors.New("RELEASE_NOTES.md is not about this version, or has no upgrade notes")
	}
	return nil
}
