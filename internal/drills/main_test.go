//go:build apachekafka

package drills

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the path of the closeorder binary, built once by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "closeorder-drills-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "closeorder")
	args := []string{"build", "-o", program}
	if raceEnabled {
		// What is built is what is tested: it gets the race detector too.
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/closeorder/closeorder/cmd/closeorder")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build of closeorder:", err)
		return 1
	}
	// Drills wait more than they work: all that can go on side by side do.
	flag.Parse()
	if err := flag.Set("test.parallel", fmt.Sprint(len(drillNames))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
