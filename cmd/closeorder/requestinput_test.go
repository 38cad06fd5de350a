package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRequestInput runs every input of testdata/cmd/request through
// request --dry-run; what it says stands beside it in a .txt file.
func TestRequestInput(t *testing.T) {
	var inputs []string
	for _, kind := range []string{"*.csv", "*.ndjson"} {
		found, err := filepath.Glob(filepath.Join(goldens, "request", kind))
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, found...)
	}
	if len(inputs) == 0 {
		t.Fatal("there is no input")
	}
	for _, name := range inputs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := call(t, nil, string(text), "request", "--dry-run", "--reason", "payment_failed")
			says := strings.ReplaceAll(stdout+stderr, name, "FILE")
			golden(t, "request/"+filepath.Base(name)+".txt", "exit code "+string(rune('0'+code))+"\n"+says)
			again, stdout, stderr := call(t, nil, "", "request", "--dry-run", "--keep-going", "--file", name)
			if again != code || stdout != "" || stderr == "" {
				t.Errorf("from a file, with --keep-going: exit code %d, %q", again, stderr)
			}
		})
	}
}

func FuzzParseRequests(f *testing.F) {
	for _, seed := range []string{"", "{}", "mch_id,out_trade_no\n1,2\n", `{"mch_id":"1","out_trade_no":"2"}`, "\ufeff\n\"", "mch_id\n\"a\"b\n"} {
		f.Add(seed, "")
		f.Add(seed, "payment_failed")
	}
	f.Fuzz(func(t *testing.T, text, reason string) {
		defaults := map[string]string{}
		if reason != "" {
			defaults["reason"] = reason
		}
		parsed, err := parseRequests(strings.NewReader(text), defaults)
		if err != nil {
			return
		}
		for i, r := range parsed.requests {
			if err := r.Validate(); err != nil {
				t.Fatalf("line %d was accepted: %v", parsed.lines[i], err)
			}
		}
		last := 0
		for _, b := range parsed.bad {
			if b.line <= last || b.err == nil {
				t.Fatalf("bad lines are %+v", parsed.bad)
			}
			last = b.line
		}
	})
}
