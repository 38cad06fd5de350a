package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// goldens is the folder of the expected outputs.
const goldens = "../../testdata/cmd/"

// stream is an output that a test can wait on.
type stream struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(b), nil
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// find waits until the output matches and returns the submatches.
func (s *stream) find(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(time.Minute)
	for {
		s.mu.Lock()
		match, changed := re.FindStringSubmatch(s.text.String()), s.changed
		s.mu.Unlock()
		if match != nil {
			return match
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain for %q in:\n%s", pattern, s)
		}
	}
}

// process is one invocation of the program.
type process struct {
	stdout, stderr *stream
	stop           context.CancelFunc
	code           chan int
}

// launch begins an invocation, as a shell does with &.
func launch(t *testing.T, env []string, stdin string, args ...string) *process {
	t.Helper()
	ctx, stop := stoppable(t.Context())
	p := &process{stdout: newStream(), stderr: newStream(), stop: stop, code: make(chan int, 1)}
	go func() { p.code <- run(ctx, args, strings.NewReader(stdin), p.stdout, p.stderr, env) }()
	t.Cleanup(func() { p.end(t) })
	return p
}

// end asks the process to stop and waits for its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	p.stop()
	return p.wait(t)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		p.code <- code
		return code
	case <-time.After(2 * time.Minute):
		t.Fatalf("does not end; so far:\n%s\n%s", p.stdout, p.stderr)
		return -1
	}
}

// call runs an invocation to its end.
func call(t *testing.T, env []string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := launch(t, env, stdin, args...)
	code = p.wait(t)
	return code, p.stdout.String(), p.stderr.String()
}

// gateway serves a simulator and returns its URL.
func gateway(t *testing.T, cfg gatewaysim.Config) string {
	t.Helper()
	sim, err := gatewaysim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := stoppable(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// world is dev without traffic: a broker, a gateway and a worker.
func world(t *testing.T) (env []string, gatewayURL string, dev *process) {
	t.Helper()
	dev = launch(t, nil, "", "dev", "--requests", "0", "--kafka-port", "0", "--gateway-port", "0")
	brokers := dev.stdout.find(t, `Kafka +(127\.0\.0\.1:\d+)`)[1]
	gatewayURL = dev.stdout.find(t, `Gateway +(http://\S+)`)[1]
	return []string{"CLOSEORDER_KAFKA_BROKERS=" + brokers}, gatewayURL, dev
}

// normal replaces what differs from run to run.
func normal(text string) string {
	if here, err := os.Getwd(); err == nil {
		text = strings.ReplaceAll(text, here, "<here>")
	}
	for _, r := range []struct{ pattern, by string }{
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d\d:\d\d)?`, "<time>"},
		{`\b\d\d:\d\d:\d\d\b`, "<time>"},
		{`127\.0\.0\.1:\d+`, "<address>"},
		{`nonce_str( = |=)\w+`, "nonce_str$1<nonce>"},
		{`"nonce_str":"\w+"`, `"nonce_str":"<nonce>"`},
		{`"id":"[0-9a-f-]{36}"`, `"id":"<id>"`},
		{`"request_id":"[A-Z2-7]{26}"`, `"request_id":"<id>"`},
		{`"took":"[^"]+"`, `"took":"<took>"`},
		{`\b\d+(\.\d+)?(ms|µs)\b`, "<took>"},
		{`\b\d{18,32}\b`, "<number>"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	return text
}

// stoppable is a context as main makes it, and what a signal does to it.
func stoppable(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, func() { cancel(stopped{}) }
}
