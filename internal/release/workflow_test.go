package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A tag of an action can be moved, to anything.
func TestActionsArePinnedByCommit(t *testing.T) {
	t.Parallel()
	workflows, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(workflows) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	pinned := regexp.MustCompile(`uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	found := 0
	for _, name := range workflows {
		for line := range strings.Lines(string(get(t, name))) {
			if !strings.Contains(line, "uses:") {
				continue
			}
			found++
			if !pinned.MatchString(strings.TrimSpace(line)) {
				t.Errorf("%s: %s is not pinned by a commit with its version behind it", filepath.Base(name), strings.TrimSpace(line))
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d actions were found", found)
	}
}

// Which targets there are is said in two places.
func TestTheScriptBuildsTheTargets(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`(?m)^targets=\((.*)\)$`).FindStringSubmatch(string(get(t, "../../.ci/release")))
	if m == nil {
		t.Fatal(".ci/release names no targets")
	}
	said := make(map[string]bool)
	for target := range strings.FieldsSeq(m[1]) {
		said[target] = true
	}
	if got, want := sortedKeys(said), targets; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf(".ci/release builds %v, and a release has %v", got, want)
	}
}
