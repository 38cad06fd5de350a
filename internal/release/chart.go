package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// packChart packs the chart in a folder as "helm package" does, with the version
// of the release: 0.1.0 of the chart, v0.1.0 of what it runs. Helm writes the
// time of day; here it is that of the commit. No chart is no mistake.
func (r *release) packChart(folder string) (string, error) {
	if _, err := os.Stat(filepath.Join(folder, "Chart.yaml")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	c, err := loader.LoadDir(folder)
	if err != nil {
		return "", fmt.Errorf("chart: %w", err)
	}
	c.Metadata.Version, c.Metadata.AppVersion = strings.TrimPrefix(r.version, "v"), r.version
	if err := c.Validate(); err != nil {
		return "", fmt.Errorf("chart: %w", err)
	}
	meta, err := yaml.Marshal(c.Metadata)
	if err != nil {
		return "", err
	}
	var files []file
	for _, f := range c.Raw {
		packed := file{name: path.Join(c.Name(), f.Name), mode: 0o644, body: f.Data}
		if f.Name == "Chart.yaml" {
			packed.body = meta
		}
		files = append(files, packed)
	}
	archive, err := tarOf(files, r.time)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	zipped.Comment = "Helm"
	if _, err := zipped.Write(archive); err != nil {
		return "", err
	}
	if err := zipped.Close(); err != nil {
		return "", err
	}
	name := r.chart(c.Name())
	return name, os.WriteFile(filepath.Join(r.folder, name), out.Bytes(), 0o644)
}

// chart is the name that helm gives a package.
func (r *release) chart(name string) string {
	return name + "-" + strings.TrimPrefix(r.version, "v") + ".tgz"
}

// readChart reads a package as helm does.
func readChart(name string) (*chart.Chart, error) {
	c, err := loader.LoadFile(name)
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}
