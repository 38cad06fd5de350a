package golden_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/golden"
)

// failing is a test that is looked at.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(format string, args ...any) { f.said += fmt.Sprintf(format, args...) }

func (f *failing) Fatalf(format string, args ...any) { f.Errorf(format, args...); panic("fatal") }

func TestWhatIsNotInTheFileFailsTheTest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "golden.txt")
	if err := os.WriteFile(file, []byte("one\ntwo\nthree\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, says string }{
		{"the same", "one\ntwo\nthree\n", ""},
		{"another line", "one\n2\nthree\n", "golden.txt:2 differs (write it anew with -update)\ngot  \"2\"\nwant \"two\"\n"},
		{"a line less", "one\ntwo\n", "golden.txt:3 differs"},
		{"no end of the last line", "one\ntwo\nthree", "golden.txt:3 differs"},
		{"a line more", "one\ntwo\nthree\nfour\n", "golden.txt:4 differs"},
		{"nothing", "", "golden.txt:1 differs"},
	} {
		f := &failing{TB: t}
		golden.Check(f, file, tt.got)
		if (f.said == "") != (tt.says == "") || !strings.Contains(f.said, tt.says) {
			t.Errorf("%s: said %q", tt.what, f.said)
		}
	}
}

func TestAFileThatIsNotThereFailsTheTest(t *testing.T) {
	f := &failing{TB: t}
	defer func() {
		if recover() == nil || !strings.Contains(f.said, "write it with -update") {
			t.Errorf("said %q", f.said)
		}
	}()
	golden.Check(f, filepath.Join(t.TempDir(), "missing.txt"), "")
}
