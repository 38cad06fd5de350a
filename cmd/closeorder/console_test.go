package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/leftout"
)

// nobodyThere are settings of a console that reaches no Kafka, on a port of its own.
var nobodyThere = []string{"CLOSEORDER_KAFKA_BROKERS=127.0.0.1:1", "CLOSEORDER_CONSOLE_ADDR=127.0.0.1:0"}

// TestScriptsLogInAsTheDocumentSays runs the two lines of docs/console.md in a shell,
// with a file of a password as editors and echo leave it: with a line break behind.
func TestScriptsLogInAsTheDocumentSays(t *testing.T) {
	t.Parallel() // the page Now waits for Kafka first, some seconds
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			leftout.Test(t, "there is no "+tool)
		}
	}
	page, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?m)^- \\*\\*Scripts\\*\\* .*?`([^`]*curl[^`]*)`.*?`(curl[^`]*)`").FindStringSubmatch(string(page))
	if found == nil {
		t.Fatal("docs/console.md does not say how scripts log in")
	}
	const password = "correct horse battery\n"
	code, line, stderr := call(t, nil, password, "console", "user", "li.na")
	if code != exitDone {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"users": line, "password": password} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url := launch(t, nobodyThere, "", "console", "--auth-file", filepath.Join(dir, "users")).stdout.find(t, `Console +(http://\S+)`)[1]
	var out []byte
	for _, line := range found[1:] {
		at := strings.Replace(line, "https://HOST:8090", url, 1)
		if at == line {
			t.Fatalf("%q does not lead to https://HOST:8090", line)
		}
		shell := exec.CommandContext(t.Context(), "sh", "-c", at)
		shell.Dir = dir
		if out, err = shell.Output(); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
	}
	if !json.Valid(out) {
		t.Errorf("after the log-in the answer is %q", out)
	}
}
