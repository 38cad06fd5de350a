package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// listImage writes the SBOM of the image for each platform: that of its binary,
// as a component of the image, and what stands around it.
func (r *release) listImage(index v1.ImageIndex, a around, toolchain string) error {
	images, err := platformImages(index)
	if err != nil {
		return err
	}
	for _, target := range sortedKeys(images) {
		hash, err := images[target].Digest()
		if err != nil {
			return err
		}
		bom, err := readBOM(r.path(target, ".sbom.json"))
		if err != nil {
			return err
		}
		if err := r.intoImage(bom, target, hash, a, toolchain); err != nil {
			return fmt.Errorf("%s: %w", r.name(target, ".sbom.json"), err)
		}
		var out bytes.Buffer
		if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(bom); err != nil {
			return err
		}
		if err := os.WriteFile(r.imageBOM(target), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) imageBOM(target string) string { return r.path("image_"+target, ".sbom.json") }

func readBOM(path string) (*cyclonedx.BOM, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bom := new(cyclonedx.BOM)
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(content), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bom, nil
}

func (r *release) intoImage(bom *cyclonedx.BOM, target string, hash v1.Hash, a around, toolchain string) error {
	if bom.Metadata == nil || bom.Metadata.Component == nil || bom.Components == nil || bom.Dependencies == nil {
		return fmt.Errorf("it names no program or none of its modules")
	}
	program := *bom.Metadata.Component
	_, architecture, _ := strings.Cut(target, "/")
	image := cyclonedx.Component{
		BOMRef: "image", Type: cyclonedx.ComponentTypeContainer, Name: repository, Version: r.version,
		PackageURL: fmt.Sprintf("pkg:oci/closeorder@%s%%3A%s?arch=%s&repository_url=%s&tag=%s", hash.Algorithm, hash.Hex, architecture, repository, r.version),
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hash.Hex}},
		Licenses:   program.Licenses,
	}
	roots := cyclonedx.Component{
		BOMRef: "roots", Type: cyclonedx.ComponentTypeData, Name: "/" + rootsPath, Version: rootsVersion(),
		Description: "CA certificates that Mozilla trusts for servers",
		PackageURL:  "pkg:golang/" + rootsModule + "@" + rootsVersion(),
		Hashes:      &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hashOf(a.roots)}},
	}
	zones := cyclonedx.Component{
		BOMRef: "zones", Type: cyclonedx.ComponentTypeData, Name: "/" + zonesPath, Version: toolchain,
		Description: "time zones, unpacked from lib/time/zoneinfo.zip of Go",
		Hashes:      &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hashOf(a.zones)}},
	}
	within := []cyclonedx.Component{program, roots, zones}
	refs := make([]string, len(within))
	for i, c := range within {
		refs[i] = c.BOMRef
	}
	bom.Metadata.Component = &image
	components := slices.Concat(within, *bom.Components)
	bom.Components = &components
	dependencies := slices.Concat([]cyclonedx.Dependency{{Ref: image.BOMRef, Dependencies: &refs}}, *bom.Dependencies)
	bom.Dependencies = &dependencies
	return nil
}
