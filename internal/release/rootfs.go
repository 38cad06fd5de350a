package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonroot is the user and the group of the image, as the distroless images of
// the Dockerfile number them. Kubernetes takes an image for one that does not
// run as root only when it says so in digits.
const nonroot = 65532

// Where Go looks for both on Linux, before anywhere else.
const (
	rootsPath = "etc/ssl/certs/ca-certificates.crt"
	zonesPath = "usr/share/zoneinfo"
)

const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// file is one of a layer. Folders above it need no entry of their own.
type file struct {
	name   string // without slashes at its ends
	mode   int64
	owner  int // user and group
	body   []byte
	folder bool
}

// base is what the program finds around it: what distroless "static" has, but
// without Debian's packages.
func base(roots, zones []byte) ([]file, error) {
	files := []file{
		{name: "etc/passwd", mode: 0o644, body: []byte("root:x:0:0:root:/root:/sbin/nologin\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
			"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		{name: "etc/group", mode: 0o644, body: []byte("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n")},
		// /etc/hosts before DNS; Go does the same where there is no such file.
		{name: "etc/nsswitch.conf", mode: 0o644, body: []byte("hosts: files dns\n")},
		{name: rootsPath, mode: 0o644, body: roots},
		{name: "home/nonroot", mode: 0o700, owner: nonroot, folder: true},
		{name: "root", mode: 0o700, folder: true},
		{name: "tmp", mode: 0o1777, folder: true},
	}
	inZones, err := zip.NewReader(bytes.NewReader(zones), int64(len(zones)))
	if err != nil {
		return nil, fmt.Errorf("time zones: %w", err)
	}
	for _, z := range inZones.File {
		if strings.HasSuffix(z.Name, "/") {
			continue
		}
		opened, err := z.Open()
		if err != nil {
			return nil, fmt.Errorf("time zones: %w", err)
		}
		body, err := io.ReadAll(opened)
		if err != nil {
			return nil, fmt.Errorf("time zones: %s: %w", z.Name, err)
		}
		files = append(files, file{name: path.Join(zonesPath, z.Name), mode: 0o644, body: body})
	}
	return files, nil
}

// authorities are the roots that Mozilla trusts for servers, as PEM, and how
// many. Those that it trusts in part only (certificates issued until some day)
// are left out: a PEM file cannot say it, and would trust them wholly.
func authorities() (roots []byte, n int) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# The roots that Mozilla trusts wholly for servers, from %s %s.\n", rootsModule, rootsVersion())
	for r := range bundle.Roots() {
		if r.Constraint != nil {
			continue
		}
		n++
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a buffer takes all
	}
	return out.Bytes(), n
}

// rootsVersion is the version of the roots in this program.
func rootsVersion() string {
	for _, m := range ownModules() {
		if m.Path == rootsModule {
			return m.Version
		}
	}
	return "of an unknown version"
}

// ownModules are those that this program was built with.
func ownModules() []*debug.Module {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	return info.Deps
}

// tarOf is an archive of the files in the order of their names, all as old as
// at, with every folder above them: the same files give the same bytes.
func tarOf(files []file, at time.Time) ([]byte, error) {
	files = slices.Clone(files)
	known := make(map[string]bool)
	for _, f := range files {
		if known[f.name] {
			return nil, fmt.Errorf("%s is there twice", f.name)
		}
		known[f.name] = true
	}
	for _, f := range slices.Clip(files) {
		for above := path.Dir(f.name); above != "." && !known[above]; above = path.Dir(above) {
			known[above] = true
			files = append(files, file{name: above, mode: 0o755, folder: true})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.body)),
			Mode: f.mode, Uid: f.owner, Gid: f.owner, ModTime: at.UTC(),
		}
		if f.folder {
			h.Typeflag, h.Name = tar.TypeDir, f.name+"/"
		}
		if err := archive.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := archive.Write(f.body); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	err := archive.Close()
	return out.Bytes(), err
}
