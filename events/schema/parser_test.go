//go:build examples

package schema_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events/schema"
	"github.com/closeorder/closeorder/internal/leftout"
)

// diagnosis is what diagnose.mjs prints.
type diagnosis struct {
	Version     string
	Messages    []string
	Diagnostics []struct {
		Severity            int // 0 is an error, 1 a warning, 2 a hint
		Code, Path, Message string
	}
}

// TestAsyncAPIPassesTheOfficialParser installs @asyncapi/parser from its lock
// file. That there is a newer version of AsyncAPI is all that it may say.
func TestAsyncAPIPassesTheOfficialParser(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			leftout.Test(t, err.Error())
		}
	}
	folder := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "diagnose.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "asyncapi", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	diagnose := func(document string) diagnosis {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", "diagnose.mjs")
		cmd.Dir, cmd.Stdin, cmd.Stderr = folder, strings.NewReader(document), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var d diagnosis
		if err := json.Unmarshal(out, &d); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return d
	}

	d := diagnose(schema.AsyncAPI)
	for _, said := range d.Diagnostics {
		if said.Code != "asyncapi-latest-version" {
			t.Errorf("%+v", said)
		}
	}
	if want := []string{"deadLetter", "outcome", "request", "structuredRequest"}; d.Version != "3.0.0" || !slices.Equal(d.Messages, want) {
		t.Errorf("version %q, messages %q, want 3.0.0 and %q", d.Version, d.Messages, want)
	}

	// It would say so. Examples it does not hold to their schemas:
	// TestAsyncAPIShowsRecordsAsTheyAre does.
	for sentence, change := range map[string][2]string{
		"an action that there is not": {"action: receive", "action: read"},
		"a reference to nothing":      {"'#/components/messages/request'", "'#/components/messages/requests'"},
		"a type that there is not":    {"type: object", "type: objects"},
	} {
		spoilt := strings.Replace(schema.AsyncAPI, change[0], change[1], 1)
		if spoilt == schema.AsyncAPI {
			t.Fatalf("%s: nothing was changed", sentence)
		}
		d := diagnose(spoilt)
		wrong := 0
		for _, said := range d.Diagnostics {
			if said.Code != "asyncapi-latest-version" {
				wrong++
			}
		}
		if wrong == 0 {
			t.Errorf("%s is not found", sentence)
		}
	}
}
