package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sum writes the checksums of all files of the release, as sha256sum reads them.
func (r *release) sum() error {
	names, err := r.files(sums)
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, name := range names {
		d, err := digest(filepath.Join(r.folder, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s  %s\n", d, name)
	}
	return os.WriteFile(filepath.Join(r.folder, sums), []byte(out.String()), 0o644)
}

// checkSums says which files are not what the checksums say, are missing, or
// are there and have none.
func (r *release) checkSums() error {
	text, err := os.ReadFile(filepath.Join(r.folder, sums))
	if err != nil {
		return err
	}
	names, err := r.files(sums)
	if err != nil {
		return err
	}
	var wrong []error
	var listed []string
	for line := range strings.Lines(string(text)) {
		want, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || name != filepath.Base(name) {
			return fmt.Errorf("%s: %q is no line of it", sums, line)
		}
		listed = append(listed, name)
		switch is, err := digest(filepath.Join(r.folder, name)); {
		case err != nil:
			wrong = append(wrong, err)
		case is != want:
			wrong = append(wrong, fmt.Errorf("%s is not the file that %s says: its SHA-256 is %s", name, sums, is))
		}
	}
	for _, name := range names {
		if !slices.Contains(listed, name) {
			wrong = append(wrong, fmt.Errorf("%s has no line in %s", name, sums))
		}
	}
	return errors.Join(wrong...)
}
