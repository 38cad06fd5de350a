package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(containerVariable) != "" {
		container() // never comes back
	}
	code := m.Run()
	if programDir != "" {
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}

var programDir string

// program is the path of a closeorder binary, built as the Dockerfile builds it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "closeorder-chart-")
	if err != nil {
		return "", err
	}
	programDir = dir
	file := filepath.Join(dir, "closeorder")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./cmd/closeorder")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})
