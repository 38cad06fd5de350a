// Package golden holds what a test got against a file, and writes the file anew
// where the test runs with -update. Tests alone import it, as it brings the
// flag.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Update is the flag: golden files are written. A test that holds one against
// what it got in a way of its own looks at it too.
var Update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Check fails the test where got is not what the file holds, byte for byte.
func Check(t testing.TB, file, got string) {
	t.Helper()
	if *Update {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if got != string(want) {
		line, is, was := difference(got, string(want))
		t.Errorf("%s:%d differs (write it anew with -update)\ngot  %q\nwant %q\nall that was got:\n%s", file, line, is, was, got)
	}
}

// write writes the file, and its folder.
func write(t testing.TB, file, got string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// difference is the first line, counted from 1, in which two texts differ.
func difference(got, want string) (line int, is, was string) {
	for {
		line++
		var more, wanted bool
		is, got, more = strings.Cut(got, "\n")
		was, want, wanted = strings.Cut(want, "\n")
		if is != was || more != wanted {
			return line, is, was
		}
	}
}
