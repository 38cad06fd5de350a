package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// assemble makes all that a folder with the archives and their SBOMs lacks. What
// names others is made after them: the image names the binaries, the SBOMs of
// the image its digests, the provenance all files, the checksums it too.
func assemble(r *release, c circumstances, zones, source string, stdout io.Writer) error {
	p, err := readProgram(r.archive(targetOf(platforms[0])))
	if err != nil {
		return err
	}
	toolchain := p.info.GoVersion
	if c.zones, err = os.ReadFile(zones); err != nil {
		return fmt.Errorf("the time zones of Go: %w", err)
	}
	a := around{zones: c.zones, origin: fmt.Sprintf("CA certificates of %s %s, time zones of %s", rootsModule, rootsVersion(), toolchain)}
	var trusted int
	a.roots, trusted = authorities()
	if c.image, err = r.index(a); err != nil {
		return err
	}
	if err := r.write(c.image); err != nil {
		return err
	}
	if err := r.listImage(c.image, a, toolchain); err != nil {
		return err
	}
	hash, err := c.image.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "image            %s, %d CA certificates, %s\n", filepath.Base(r.imageArchive()), trusted, hash)
	packed, err := r.packChart(filepath.Join(source, "deploy", "chart"))
	if err != nil {
		return err
	}
	if packed != "" {
		fmt.Fprintf(stdout, "chart            %s\n", packed)
	}
	if err := r.prove(c); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "provenance       %s, unsigned\n", filepath.Base(r.provenance()))
	return r.sum()
}
