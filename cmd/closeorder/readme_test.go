package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
)

// TestTheREADMEListsTheSettingsThatThereAre keeps its table equal to the
// settings; -update writes it.
func TestTheREADMEListsTheSettingsThatThereAre(t *testing.T) {
	name := filepath.Join("..", "..", "README.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- settings -->\n", "<!-- /settings -->"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("there is no %s...%s", begin, end)
	}
	want := before + begin + settingsTable() + end + after
	if *golden.Update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("the table of settings in the README is not that of internal/config; write it anew with -update")
	}
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting | environment | default | what |\n|---|---|---|---|\n")
	for _, s := range config.Settings() {
		name, value := "`"+s.Name+"`", ""
		if s.Secret {
			name += " (no flag)"
		}
		if s.Default != "" {
			value = "`" + strings.ReplaceAll(s.Default, ",", "`<br>`") + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", name, s.Env(), value, s.What)
	}
	return b.String()
}

// TestTheREADMENamesCommandsAndFlagsThatThereAre reads every line of its
// examples that calls the program.
func TestTheREADMENamesCommandsAndFlagsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\$ (?:.*\| *)?(?:\S+=\S+ +)*(?:go run \./cmd/closeorder|(?:\./)?closeorder)((?: .*)?)$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) < 5 {
		t.Fatalf("only %d examples were found", len(lines))
	}
	root := (&app{}).root()
	for _, line := range lines {
		args := strings.Fields(line[1])
		cmd, rest, err := root.Find(args)
		if err != nil || cmd == root {
			t.Errorf("closeorder%s: no such command", line[1])
			continue
		}
		for _, arg := range rest {
			if name, ok := strings.CutPrefix(arg, "--"); ok {
				name, _, _ = strings.Cut(name, "=")
				if cmd.Flags().Lookup(name) == nil {
					t.Errorf("closeorder%s: no flag --%s", line[1], name)
				}
			}
		}
	}
}
