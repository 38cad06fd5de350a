package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `# Changelog

Words before.

## [Unreleased]

### Upgrade notes

Mind the gap.

### Added

- New.

## [0.2.0] - 2026-12-01

### Upgrade notes

Nothing to do.

## [0.1.0-rc.1] - 2026-11-28

First.

### Upgrade notes

Nothing to do.

### Fixed

- Old.
`

// The project's own changelog is in order, so that a release can be made of it.
func TestTheChangelogIsInOrder(t *testing.T) {
	t.Parallel()
	sections, err := readChangelog(string(get(t, "../../CHANGELOG.md")))
	if err != nil {
		t.Fatal(err)
	}
	if sections[0].version != unreleased {
		t.Errorf("its first section is %s; what comes next has no place", sections[0].version)
	}
}

func TestWhatIsWrongWithAChangelogIsTold(t *testing.T) {
	t.Parallel()
	if _, err := readChangelog(sample); err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct{ old, with, says string }{
		"no version at all":              {sample, "# Changelog\n", "CHANGELOG.md has no version"},
		"a version without a date":       {" - 2026-12-01", "", "line 15: version 0.2.0 has no date"},
		"a date of no calendar":          {"2026-12-01", "2026-13-01", "line 15: version 0.2.0 has no date"},
		"what is no version":             {"[0.2.0]", "[0.2]", `line 15: "0.2" is no version`},
		"a heading that nobody reads":    {"## [0.2.0] - 2026-12-01", "## Next month", `"## Next month" is no heading of a version`},
		"an older version above":         {"[0.2.0]", "[0.0.9]", "v0.1.0-rc.1 stands below v0.0.9, which is not newer"},
		"a version twice":                {"[0.2.0]", "[0.1.0-rc.1]", "stands below v0.1.0-rc.1, which is not newer"},
		"no upgrade notes":               {"### Upgrade notes\n\nMind the gap.\n", "", `Unreleased: it says nothing under "### Upgrade notes"`},
		"upgrade notes that say nothing": {"Mind the gap.\n", "", `Unreleased: it says nothing under "### Upgrade notes"`},
		"a part of another name":         {"### Added", "### New", `there is no part called "New"`},
		"a part twice":                   {"### Added", "### Upgrade notes", `"Upgrade notes" is there twice`},
		"parts in another order":         {"### Upgrade notes\n\nMind the gap.\n\n### Added", "### Added\n\n### Upgrade notes\n\nMind the gap.", `"Upgrade notes" comes before "Added"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			_, err := readChangelog(strings.Replace(sample, c.old, c.with, 1))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want something with %q", err, c.says)
			}
		})
	}
}

// A tag without its section is refused; a trial takes what is unreleased, and
// says so.
func TestAVersionNeedsItsSection(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	put(t, filepath.Join(folder, "CHANGELOG.md"), []byte(sample))
	at := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	for sentence, c := range map[string]struct {
		version              string
		tagged               bool
		notes, warning, says string
	}{
		"a tag with its section":        {"v0.2.0", true, "# closeorder v0.2.0\n\n### Upgrade notes\n\nNothing to do.\n", "", ""},
		"a trial with its section":      {"v0.1.0-rc.1", false, "# closeorder v0.1.0-rc.1\n\nFirst.\n\n### Upgrade notes\n\nNothing to do.\n\n### Fixed\n\n- Old.\n", "", ""},
		"a tag without its section":     {"v0.3.0", true, "", "", "CHANGELOG.md has no section v0.3.0: write ## [0.3.0] - 2026-12-24"},
		"a trial without its section":   {"v0.3.0", false, "# closeorder v0.3.0, a trial\n\n### Upgrade notes\n\nMind the gap.\n\n### Added\n\n- New.\n", "*** CHANGELOG.md has no section v0.3.0", ""},
		"a version that is none at all": {"0.3.0", false, "", "", `-version is "0.3.0"; write v0.1.0`},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			into := filepath.Join(t.TempDir(), "notes.md")
			args := []string{"notes", "-version", c.version, "-epoch", "1798070400", "-into", into, folder}
			if at.Unix() != 1798070400 {
				t.Fatalf("the time is %d", at.Unix())
			}
			if c.tagged {
				args = append([]string{"notes", "-tagged"}, args[1:]...)
			}
			var said, warned bytes.Buffer
			err := run(args, &said, &warned)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want something with %q", err, c.says)
				}
				if _, err := os.Stat(into); err == nil {
					t.Error("there are notes all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(get(t, into)); got != c.notes {
				t.Errorf("notes %q, want %q", got, c.notes)
			}
			if !strings.HasPrefix(warned.String(), c.warning) || (c.warning == "") != (warned.Len() == 0) {
				t.Errorf("warned of %q, want %q", warned.String(), c.warning)
			}
		})
	}
}

// What is missing on the command line is named before anything is made.
func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":                {nil, "say what"},
		"another word":           {[]string{"build", "-version", "v0.1.0", "-epoch", "1", "x"}, `there is no "build"`},
		"no folder":              {[]string{"check"}, "check takes one folder, and has 0"},
		"a folder too many":      {[]string{"check", "a", "b"}, "check takes one folder, and has 2"},
		"a folder that is none":  {[]string{"check", "testdata/nowhere"}, "testdata/nowhere"},
		"no time":                {[]string{"notes", "-version", "v0.1.0", "x"}, "-epoch is 0"},
		"half a commit":          {[]string{"make", "-version", "v0.1.0", "-epoch", "1", "-commit", "abc", "x"}, `-commit is "abc"; give all 40 digits`},
		"no archives":            {[]string{"make", "-version", "v0.1.0", "-epoch", "1", "-commit", strings.Repeat("a", 40), t.TempDir()}, "closeorder_v0.1.0_linux_amd64.tar.gz"},
		"a release that is none": {[]string{"check", t.TempDir()}, "there is no provenance in"},
	} {
		var said, warned bytes.Buffer
		if err := run(c.args, &said, &warned); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want something with %q", sentence, err, c.says)
		}
	}
}
