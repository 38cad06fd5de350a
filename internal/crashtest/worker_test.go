//go:build apachekafka

package crashtest

import (
	"bytes"
	"encoding/json"
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

// worker is a place where "closeorder run" runs: one process at a time, which
// is killed or stopped and started again there, with the same settings and one
// log. It is not safe for concurrent use.
type worker struct {
	name string
	env  []string
	host *gatewayHost // the gateway as this worker reaches it
	log  string       // file of all its runs

	cmd     *exec.Cmd // nil while none is meant to run
	ended   <-chan error
	runFrom int64 // where the log of this run begins
	starts  int
	gone    []time.Time // when a process was seen to be gone, in order
}

// stopTimeout bounds a clean stop of a worker, well above shutdown_grace.
const stopTimeout = time.Minute

func (w *worker) start() error {
	if w.cmd != nil {
		return fmt.Errorf("%s runs already", w.name)
	}
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	info, err := log.Stat()
	if err != nil {
		return err
	}
	w.runFrom = info.Size()
	cmd := exec.Command(program, "run")
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, log, log
	if w.ended, err = startProcess(cmd); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	w.cmd = cmd
	w.starts++
	return nil
}

// kill kills the process with SIGKILL and returns when it is gone.
func (w *worker) kill() error {
	err := w.end(syscall.SIGKILL)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return nil
	}
	return fmt.Errorf("%s ended before it was killed: %w", w.name, err)
}

// stop stops the process with SIGTERM and returns when it is gone; it is an
// error if it does not end by itself and well.
func (w *worker) stop() error {
	if err := w.end(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: SIGTERM: %w", w.name, err)
	}
	return nil
}

var errNotRunning = errors.New("does not run")

// end returns what the process ended with, nil for exit code 0.
func (w *worker) end(sig syscall.Signal) error {
	if w.cmd == nil {
		return errNotRunning
	}
	cmd := w.cmd
	w.cmd = nil
	// An error means that it has ended already: how is told below.
	_ = cmd.Process.Signal(sig)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case err := <-w.ended:
		w.gone = append(w.gone, time.Now())
		return err
	case <-timer.C:
		_ = cmd.Process.Kill()
		err := <-w.ended
		w.gone = append(w.gone, time.Now())
		return fmt.Errorf("was not gone %v after %v, and was killed (%w)", stopTimeout, sig, err)
	}
}

// entry is a line of a worker's log.
type entry struct {
	Message    string `json:"msg"`
	Level      string
	Generation int
	Assigned   []string
}

// entries returns what the present or last run has logged with this message.
func (w *worker) entries(message string) ([]entry, error) {
	all, err := os.ReadFile(w.log)
	if err != nil {
		return nil, err
	}
	var out []entry
	for line := range bytes.Lines(all[w.runFrom:]) {
		var e entry
		// A line may be half written.
		if json.Unmarshal(line, &e) == nil && e.Message == message {
			out = append(out, e)
		}
	}
	return out, nil
}

// assigned reports whether the present run has partitions to work on.
func (w *worker) assigned() (bool, error) {
	got, err := w.entries("partitions assigned")
	return len(got) > 0, err
}

// checkLog looks for what no log may hold, and shows the end of the log of a
// test that failed.
func (w *worker) checkLog(t testing.TB, secrets []string) {
	t.Helper()
	text, err := os.ReadFile(w.log)
	if errors.Is(err, os.ErrNotExist) {
		return // never started
	}
	if err != nil {
		t.Error(err)
		return
	}
	for _, secret := range secrets {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the log of %s holds an API key", w.name)
		}
	}
	for _, sign := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if at := bytes.Index(text, []byte(sign)); at >= 0 {
			t.Errorf("the log of %s holds:\n%.4000s", w.name, text[at:])
		}
	}
	if !t.Failed() {
		return
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	t.Logf("--- the last of %d lines that %s logged in %d runs:\n%s", len(lines), w.name, w.starts, strings.Join(lines[max(len(lines)-40, 0):], "\n"))
	if dir := os.Getenv("CLOSEORDER_CRASH_LOGS"); dir != "" {
		file := filepath.Join(dir, t.Name()+"-"+w.name+".log")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			t.Error(err)
		}
	}
}
