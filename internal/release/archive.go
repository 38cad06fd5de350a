package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// dockerManifest is what "docker save" wrote before it knew OCI layouts.
func (r *release) dockerManifest(index v1.ImageIndex) ([]byte, error) {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	images, err := platformImages(index)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, target := range sortedKeys(images) {
		manifest, err := images[target].Manifest()
		if err != nil {
			return nil, err
		}
		_, architecture, _ := strings.Cut(target, "/")
		e := entry{Config: blob(manifest.Config.Digest), RepoTags: []string{repository + ":" + r.version + "-" + architecture}}
		for _, l := range manifest.Layers {
			e.Layers = append(e.Layers, blob(l.Digest))
		}
		entries = append(entries, e)
	}
	return json.Marshal(entries)
}

// walkFiles reads all files of a tree, in the order of their names.
func walkFiles(root fs.FS, each func(name string, body []byte)) error {
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		each(name, body)
		return nil
	})
}
