package browsertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a machine that has much to do.
const patience = time.Minute

// program is the path of the command, built as make build does, in its place: what
// is built already is not linked again.
var program = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, "bin", "closeorder")
	build := exec.Command("go", "build", "-trimpath", "-o", file, "./cmd/closeorder")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

// output is what a process has written, for those who wait for a line of it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// next is the text so far, and what is closed when there is more.
func (o *output) next() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.text.String(), o.changed
}

// process is a command that runs.
type process struct {
	name string
	cmd  *exec.Cmd
	said output
	done chan struct{} // closed at its end
	err  error         // how it ended
	told atomic.Bool   // to end
}

// launch starts the command, and ends it with the test.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{name: args[0], cmd: exec.Command(file, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end(t)
		if !p.told.Load() {
			t.Errorf("closeorder %s ended by itself: %v", p.name, p.err)
		}
		if t.Failed() {
			t.Logf("closeorder %s said:\n%s", p.name, &p.said)
		}
	})
	return p
}

// end asks it to stop, as an operator does, and waits for that.
func (p *process) end(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	p.told.Store(true)
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("closeorder %s does not end", p.name)
		p.cmd.Process.Kill()
		<-p.done
	}
}

// kill ends it as a machine does that fails.
func (p *process) kill() {
	p.told.Store(true)
	p.cmd.Process.Kill()
	<-p.done
}

// says waits until the output matches, and returns the first group.
func (p *process) says(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(patience)
	for {
		text, more := p.said.next()
		if found := re.FindStringSubmatch(text); found != nil {
			return found[1]
		}
		select {
		case <-more:
		case <-p.done:
			if found := re.FindStringSubmatch(p.said.String()); found != nil {
				return found[1]
			}
			t.Fatalf("closeorder %s ended, and never said %q", p.name, pattern)
		case <-limit:
			t.Fatalf("closeorder %s does not say %q", p.name, pattern)
		}
	}
}

// run runs the command to its end, which must be good, and returns what it says.
func run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), file, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("closeorder %q: %v\n%s%s", args, err, out, &stderr)
	}
	return string(out)
}
