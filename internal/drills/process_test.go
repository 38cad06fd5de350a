//go:build apachekafka

package drills

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is closeorder with a command that goes on: the worker, the gateway.
type process struct {
	name  string
	log   string // file of what it writes
	cmd   *exec.Cmd
	ended <-chan error
	// stopping: it is meant to end.
	stopping bool
}

// stopTimeout bounds a clean stop.
const stopTimeout = time.Minute

// launch starts a command that ends with the test.
func launch(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own copy
	p.cmd = exec.Command(program, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	if p.ended, err = startProcess(p.cmd); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		if !p.stopping {
			if err := p.stop(syscall.SIGKILL); p.exitCode() >= 0 {
				t.Errorf("%s ended by itself: %v", name, err)
			}
		}
		if text := p.written(); t.Failed() {
			lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
			t.Logf("--- the last of %d lines of %s:\n%s", len(lines), name, strings.Join(lines[max(len(lines)-40, 0):], "\n"))
		}
	})
	return p
}

// signal sends SIGSTOP or SIGCONT.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s: %v: %w", p.name, sig, err)
	}
	return nil
}

// stop ends the process and returns what it ended with, nil for exit code 0.
func (p *process) stop(sig syscall.Signal) error {
	p.stopping = true
	// An error means that it has ended already: how is told below.
	_ = p.cmd.Process.Signal(sig)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case err := <-p.ended:
		return err
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		return errors.Join(fmt.Errorf("%s was not gone %v after %v, and was killed", p.name, stopTimeout, sig), <-p.ended)
	}
}

// exitCode is -1 for a process that was killed, or goes on.
func (p *process) exitCode() int { return p.cmd.ProcessState.ExitCode() }

// written is all that it has written.
func (p *process) written() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// size is how much it has written.
func (p *process) size() int64 {
	info, err := os.Stat(p.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// trouble is the first line of level warning or above that it has written behind
// from. That a topic which was made a moment ago has no leader at its broker yet is
// of this test and no trouble.
func (p *process) trouble(from int64) string {
	all := []byte(p.written())
	for line := range bytes.Lines(all[min(from, int64(len(all))):]) {
		if bytes.Contains(line, []byte("Not Leader For Partition")) {
			continue
		}
		for _, level := range []string{"level=warning", "level=error", "level=fatal"} {
			if bytes.Contains(line, []byte(level)) {
				return string(line)
			}
		}
	}
	return noLine
}

// noLine is what is seen where a worker has logged nothing that matters.
const noLine = "no line\n"
