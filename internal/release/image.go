package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// platforms of the image. Both have an archive of their own.
var platforms = []v1.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64", Variant: "v8"},
}

func targetOf(p v1.Platform) string { return p.OS + "/" + p.Architecture }

// What the Dockerfile says too; TestTheDockerfileMakesTheSameImage holds the two
// together.
var (
	entrypoint = []string{"/closeorder"}
	cmd        = []string{"run"}
	labels     = map[string]string{
		"org.opencontainers.image.title":       "closeorder",
		"org.opencontainers.image.description": "Turns every request to close a WeChat Pay order into exactly one trustworthy answer on a Kafka topic",
		"org.opencontainers.image.source":      source,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
)

// labels of the image are annotations of its manifests as well: registries show
// these.
func (r *release) labels() map[string]string {
	all := maps.Clone(labels)
	all["org.opencontainers.image.revision"] = r.commit
	all["org.opencontainers.image.version"] = r.version
	all["org.opencontainers.image.created"] = r.time.UTC().Format(time.RFC3339)
	return all
}

// around is what stands around the program in the image.
type around struct {
	roots  []byte // PEM
	zones  []byte // zoneinfo.zip, as Go brings it
	origin string // of both, for the history of the image
}

// index is the image for all platforms, each with the binary of its archive.
func (r *release) index(a around) (v1.ImageIndex, error) {
	files, err := base(a.roots, a.zones)
	if err != nil {
		return nil, err
	}
	below, err := layerOf(files, r.time)
	if err != nil {
		return nil, err
	}
	index := v1.ImageIndex(empty.Index)
	for _, platform := range platforms {
		target := targetOf(platform)
		p, err := readProgram(r.archive(target))
		if err != nil {
			return nil, err
		}
		if err := p.isOf(r, target); err != nil {
			return nil, err
		}
		img, err := r.image(platform, p, below, a.origin)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", target, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: noArtifact{img}, Descriptor: v1.Descriptor{Platform: &platform},
		})
	}
	return mutate.Annotations(index, r.labels()).(v1.ImageIndex), nil
}

// noArtifact is an image that says so: the library would note the type of its
// configuration in the index, as the kind of artifact it is. Tools that are older
// than that field drop it on a copy, and the index gets another digest
// (skopeo 1.9.3).
type noArtifact struct{ v1.Image }

// ArtifactType is what the library looks for.
func (noArtifact) ArtifactType() (string, error) { return "", nil }

func (r *release) image(platform v1.Platform, p *program, below v1.Layer, origin string) (v1.Image, error) {
	own, err := layerOf([]file{{name: "closeorder", mode: 0o755, body: p.binary}}, r.time)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: r.time.UTC()}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant, Created: created,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			User:       fmt.Sprintf("%d:%d", nonroot, nonroot),
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/" + rootsPath},
			Entrypoint: entrypoint, Cmd: cmd, WorkingDir: "/home/nonroot", Labels: r.labels(),
		},
	})
	if err != nil {
		return nil, err
	}
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: below, History: v1.History{Created: created, CreatedBy: "make release", Comment: origin}},
		mutate.Addendum{Layer: own, History: v1.History{Created: created, CreatedBy: "make release", Comment: "the binary of " + filepath.Base(r.archive(targetOf(platform)))}},
	)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(img, r.labels()).(v1.Image), nil
}

func layerOf(files []file, at time.Time) (v1.Layer, error) {
	content, err := tarOf(files, at)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(6), tarball.WithCompressedCaching)
}

// write makes the folder, an OCI image layout, and the tar of it.
func (r *release) write(index v1.ImageIndex) error {
	folder := r.imageFolder()
	written, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := written.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.version,                    // skopeo, podman: oci:FOLDER:v0.1.0
		"io.containerd.image.name":          repository + ":" + r.version, // containerd, and Docker on it
	})); err != nil {
		return err
	}
	for _, name := range []string{"index.json", "oci-layout"} {
		if err := os.Chmod(filepath.Join(folder, name), 0o644); err != nil {
			return err
		}
	}
	archive, err := r.archiveOf(folder, index)
	if err != nil {
		return err
	}
	return os.WriteFile(r.imageArchive(), archive, 0o644)
}

// archiveOf is the folder as a tar. A Docker that keeps images without
// containerd knows no OCI layout: for it manifest.json names the same blobs, a
// tag for each platform.
func (r *release) archiveOf(folder string, index v1.ImageIndex) ([]byte, error) {
	files, err := filesIn(folder)
	if err != nil {
		return nil, err
	}
	legacy, err := r.dockerManifest(index)
	if err != nil {
		return nil, err
	}
	return tarOf(append(files, file{name: "manifest.json", mode: 0o644, body: legacy}), r.time)
}

// filesIn are the files of a folder, all readable by everybody.
func filesIn(folder string) ([]file, error) {
	var files []file
	root := os.DirFS(folder)
	err := walkFiles(root, func(name string, body []byte) {
		files = append(files, file{name: name, mode: 0o644, body: body})
	})
	return files, err
}

// platformImages are the images of an index, by target.
func platformImages(index v1.ImageIndex) (map[string]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	images := make(map[string]v1.Image)
	for _, m := range manifest.Manifests {
		if m.Platform == nil {
			return nil, fmt.Errorf("%s does not say for which platform it is", m.Digest)
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		images[targetOf(*m.Platform)] = img
	}
	return images, nil
}
