//go:build examples

package examples

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a machine that has much to do.
const patience = 3 * time.Minute

// build makes the binary, as make build does.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "closeorder")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "../cmd/closeorder")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// command is a command line in a folder. A relative path is one in the folder.
func command(t *testing.T, folder string, line []string) *exec.Cmd {
	t.Helper()
	name := line[0]
	if strings.HasPrefix(name, "./") {
		here, err := filepath.Abs(folder)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(here, name)
	}
	cmd := exec.CommandContext(t.Context(), name, line[1:]...)
	cmd.Dir = folder
	return cmd
}

// run runs a command to its end, which must be good.
func run(t *testing.T, folder string, stdin []byte, line []string, args ...string) {
	t.Helper()
	cmd := command(t, folder, slices.Concat(line, args))
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q in %s: %v\n%s", line, folder, err, out)
	}
}

// dev runs closeorder dev until the test ends, and returns its broker.
func dev(t *testing.T, closeorder string) (brokers string) {
	t.Helper()
	var said output
	cmd := exec.CommandContext(t.Context(), closeorder, "dev", "--requests", "0", "--kafka-port", "0", "--gateway-port", "0")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// t.Context has ended by now, and killed it.
		cmd.Wait()
		if t.Failed() {
			t.Logf("closeorder dev said:\n%s", &said)
		}
	})
	where := regexp.MustCompile(`Kafka +(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if found := where.FindStringSubmatch(said.String()); found != nil {
			return found[1]
		}
	}
	t.Fatalf("closeorder dev does not say where Kafka is:\n%s", &said)
	return ""
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// follower is a process of the command follow.
type follower struct {
	cmd    *exec.Cmd
	lines  chan string // of standard output; closed at its end
	stderr output
}

// follows starts the command follow in a group.
func (c client) follows(t *testing.T, brokers, group string, args ...string) *follower {
	t.Helper()
	flags := []string{"--brokers", brokers, "--group", group, "--ask-again-after", "2"}
	f := &follower{cmd: command(t, c.name, slices.Concat(c.follow, flags, args)), lines: make(chan string, 1000)}
	f.cmd.Stderr = &f.stderr
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.lines)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			f.lines <- lines.Text()
		}
	}()
	// One that hangs says no more, and its test ends.
	hangs := time.AfterFunc(patience, func() { f.cmd.Process.Kill() })
	t.Cleanup(func() {
		hangs.Stop()
		f.cmd.Process.Kill()
		f.cmd.Wait()
		if t.Failed() {
			t.Logf("%q said:\n%s", f.cmd.Args, &f.stderr)
		}
	})
	return f
}

// next waits for an action.
func (f *follower) next(t *testing.T) string {
	t.Helper()
	line, more := <-f.lines
	if !more {
		t.Fatal("ended, or hung and was killed, before it had acted on all")
	}
	return line
}

// ended waits until it has ended by itself, well.
func (f *follower) ended(t *testing.T) {
	t.Helper()
	for range f.lines {
	}
	// A Java process that SIGTERM has stopped says so, however well it ended.
	if f.cmd.Wait(); f.cmd.ProcessState.ExitCode() != 0 && f.cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %v", f.cmd.ProcessState)
	}
}

// kill is SIGKILL: it can do nothing about it. What it had said by then, and
// perhaps committed, is still in lines.
func (f *follower) kill(t *testing.T) {
	t.Helper()
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// terminate is SIGTERM: it finishes what it does, and ends well.
func (f *follower) terminate(t *testing.T) {
	t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.ended(t)
}
