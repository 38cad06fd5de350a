package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The merchants: one that the worker knows from the beginning, and one that nobody has
// told it of. Their keys are those of the simulator, which are no secrets.
const (
	known   = "1900000109"
	unknown = "1900000110"
	other   = "1900000112" // that nobody knows
)

// stage is one deployment for all stories: Kafka and a gateway in closeorder dev, a
// worker, and a console.
type stage struct {
	t                *testing.T // all stories
	brokers, gateway string
	merchants        string // the worker's file of them
	admin            string // URL of the worker's own page
	console          string // URL
	process          *process
	data             string // folder of the console
}

// begin starts it.
func begin(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, merchants: filepath.Join(t.TempDir(), "merchants.yaml")}
	dev := launch(t, nil, "dev", "--no-worker", "--console-port", "0", "--requests", "0", "--kafka-port", "0", "--gateway-port", "0")
	s.brokers = dev.says(t, `Kafka +(127\.0\.0\.1:\d+)`)
	s.gateway = dev.says(t, `Gateway +(http://127\.0\.0\.1:\d+)`)
	s.knows(t, known)
	worker := launch(t, []string{
		"KEY_" + known + "=192006250b4c09247ec02edce69f6a2d",
		"KEY_" + unknown + "=7d3f0c6a91b24e58a0c5e2f84b6d1937",
	}, "run", "--kafka-brokers", s.brokers, "--gateway-urls", s.gateway, "--merchants-file", s.merchants, "--admin-addr", "127.0.0.1:0",
		"--kafka-session-timeout", "6s", "--gateway-confirm", "always") // so that each paid order has its transaction
	s.admin = worker.says(t, `served at (http://127\.0\.0\.1:\d+)/statusz`)
	s.data = t.TempDir()
	s.process, s.console = s.opens(t, "--addr", "127.0.0.1:0", "--data-dir", s.data)
	return s
}

// opens starts a console, and returns its URL.
func (s *stage) opens(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	console := launch(t, nil, append([]string{"console", "--kafka-brokers", s.brokers}, args...)...)
	return console, console.says(t, `Console +(https?://127\.0\.0\.1:\d+)`)
}

// opensAgain starts the console again where it was.
func (s *stage) opensAgain() {
	s.t.Helper()
	s.process, _ = s.opens(s.t, "--addr", strings.TrimPrefix(s.console, "http://"), "--data-dir", s.data)
}

// knows writes the worker's merchants file, which it reads again.
func (s *stage) knows(t *testing.T, mchIDs ...string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("merchants:\n")
	for _, id := range mchIDs {
		fmt.Fprintf(&b, "  - {mch_id: %q, appid: wx8888888888888888, key_env: KEY_%s, sign_type: HMAC-SHA256}\n", id, id)
	}
	half := s.merchants + ".new"
	if err := os.WriteFile(half, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(half, s.merchants); err != nil {
		t.Fatal(err)
	}
}

// asks publishes requests of a merchant, as CSV with a head, and returns the lines of
// their outcomes where args have --wait.
func (s *stage) asks(t *testing.T, mchID, csv string, args ...string) string {
	t.Helper()
	return run(t, csv, append([]string{"request", "--kafka-brokers", s.brokers, "--mch-id", mchID, "--file", "-"}, args...)...)
}
