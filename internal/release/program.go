package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// program is a binary of closeorder, and what Go has noted in it.
type program struct {
	binary []byte
	info   *buildinfo.BuildInfo
}

// readProgram takes the binary out of an archive of a release.
func readProgram(archive string) (*program, error) {
	content, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	take := binaryOfTar
	if strings.HasSuffix(archive, ".zip") {
		take = binaryOfZip
	}
	binary, err := take(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	return newProgram(archive, binary)
}

func newProgram(from string, binary []byte) (*program, error) {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("%s: its binary does not say how it was built: %w", from, err)
	}
	return &program{binary: binary, info: info}, nil
}

var errNoBinary = errors.New("there is no binary of closeorder in it")

func binaryOfTar(archive []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for in := tar.NewReader(unzipped); ; {
		h, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, errNoBinary
		case err != nil:
			return nil, err
		case path.Base(h.Name) == "closeorder" && h.Typeflag == tar.TypeReg:
			return io.ReadAll(in)
		}
	}
}

func binaryOfZip(archive []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	for _, f := range in.File {
		if path.Base(f.Name) != "closeorder.exe" {
			continue
		}
		opened, err := f.Open()
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		return io.ReadAll(opened)
	}
	return nil, errNoBinary
}

// setting is what Go notes under a key: GOOS, vcs.revision, -trimpath.
func (p *program) setting(key string) string {
	for _, s := range p.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func (p *program) target() string { return p.setting("GOOS") + "/" + p.setting("GOARCH") }

// isOf says in what a binary is not what the release says of it. A binary can
// be told its version, but not by accident.
func (p *program) isOf(r *release, target string) error {
	for _, want := range []struct{ what, is, ought string }{
		{"program", p.info.Path, module + "/cmd/closeorder"},
		{"version", p.info.Main.Version, r.version},
		{"commit", p.setting("vcs.revision"), r.commit},
		{"modified sources", p.setting("vcs.modified"), "false"},
		{"target", p.target(), target},
		{"cgo", p.setting("CGO_ENABLED"), "0"},
		{"-trimpath", p.setting("-trimpath"), "true"},
	} {
		if want.is != want.ought {
			return fmt.Errorf("the binary for %s was not built for this release: %s is %q, and ought to be %q", target, want.what, want.is, want.ought)
		}
	}
	return nil
}
