package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/database"
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

// TestWhoseFaultItIsThatAConsoleDoesNotStart holds the exit codes apart: 2 for what
// the settings say, 1 for what is behind them.
func TestWhoseFaultItIsThatAConsoleDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"users": "li.na:secret\n", "file": "", "damaged/console.db": strings.Repeat("damaged ", 1000)} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, err := database.Open(t.Context(), in("held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"a file of users that is not there", []string{"--auth-file", in("none")}, exitUsage, "console.auth_file: file of users: open " + in("none")},
		{"a file of users that is none", []string{"--auth-file", in("users")}, exitUsage, "console.auth_file: file of users " + in("users") + ":\nline 1: the hash is neither"},
		{"a file of users that is a folder", []string{"--auth-file", dir}, exitUsage, "console.auth_file: file of users"},
		{"a folder that is a file", []string{"--data-dir", in("file")}, exitUsage, "data directory " + in("file")},
		{"a folder in a file", []string{"--data-dir", in("file/data")}, exitUsage, "; choose another with --data-dir"},
		{"every interface", []string{"--addr", ":0"}, exitUsage, "every interface of this machine, and whoever reaches it could replay"},
		{"a name that is none", []string{"--addr", "nowhere.invalid:0"}, exitUsage, "console.addr nowhere.invalid:0: "},
		{"a port that is taken", []string{"--addr", taken.Addr().String()}, exitUsage, "choose another with --addr"},
		{"a folder that another console has", []string{"--data-dir", in("held")}, exitBad, "is in use by another console"},
		{"a database that is damaged", []string{"--data-dir", in("damaged")}, exitBad, "the file is damaged, or no database"},
	} {
		if strings.Contains(tt.says, "in use") && runtime.GOOS == "windows" {
			continue // no locks there
		}
		code, stdout, stderr := call(t, nobodyThere, "", append([]string{"console"}, tt.args...)...)
		if code != tt.code || stdout != "" || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s%s", tt.what, code, tt.code, tt.says, stdout, stderr)
		}
		if strings.Contains(stderr, "secret") {
			t.Errorf("%s: the file of users is shown: %s", tt.what, stderr)
		}
	}
}
