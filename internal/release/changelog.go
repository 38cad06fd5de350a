package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// unreleased is the section of what no version has yet.
const unreleased = "Unreleased"

// upgradeNotes is the part that each version has, "Nothing to do." at the least:
// who upgrades must not have to guess whether somebody has thought of them.
const upgradeNotes = "Upgrade notes"

// section is what the changelog says of one version.
type section struct {
	version string // v0.1.0, or Unreleased
	date    string // 2026-11-28; empty for what is unreleased
	line    int
	body    string
}

var (
	heading = regexp.MustCompile(`^## \[?(v?[^\]\s]+)\]?(?: - (.*))?$`)
	isDate  = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$`)
)

// The parts that a section may have: those of Keep a Changelog, and ours first.
var parts = []string{upgradeNotes, "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

// readChangelog takes a changelog apart, newest version first. It says all that
// is wrong with it.
func readChangelog(text string) ([]section, error) {
	var sections []section
	var wrong []error
	complain := func(line int, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("CHANGELOG.md, line %d: %s", line, fmt.Sprintf(format, args...)))
	}
	for i, line := range strings.Split(text, "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			s := section{version: m[1], date: m[2], line: i + 1}
			switch {
			case s.version == unreleased && (s.date != "" || len(sections) > 0):
				complain(s.line, "Unreleased comes first and has no date")
			case s.version != unreleased && !isVersion.MatchString("v"+strings.TrimPrefix(s.version, "v")):
				complain(s.line, "%q is no version; write ## [0.1.0] - 2026-11-28", s.version)
			case s.version != unreleased && !isDate.MatchString(s.date):
				complain(s.line, "version %s has no date; write ## [%[1]s] - 2026-11-28", s.version)
			}
			if s.version != unreleased {
				s.version = "v" + strings.TrimPrefix(s.version, "v")
			}
			sections = append(sections, s)
			continue
		}
		if strings.HasPrefix(line, "## ") {
			complain(i+1, "%q is no heading of a version; write ## [0.1.0] - 2026-11-28", line)
		}
		if len(sections) > 0 {
			sections[len(sections)-1].body += line + "\n"
		}
	}
	if len(sections) == 0 {
		wrong = append(wrong, errors.New("CHANGELOG.md has no version; its headings are ## [Unreleased] and ## [0.1.0] - 2026-11-28"))
	}
	for i := range sections {
		s := &sections[i]
		s.body = strings.TrimSpace(s.body)
		if i > 0 && sections[i-1].version != unreleased && semver.Compare(sections[i-1].version, s.version) <= 0 {
			complain(s.line, "%s stands below %s, which is not newer", s.version, sections[i-1].version)
		}
		for _, problem := range s.problems() {
			complain(s.line, "%s: %s", s.version, problem)
		}
	}
	return sections, errors.Join(wrong...)
}

// problems are what is wrong with the parts of a section.
func (s *section) problems() (wrong []string) {
	last, found := -1, make(map[string]bool)
	for line := range strings.Lines(s.body) {
		title, ok := strings.CutPrefix(strings.TrimSpace(line), "### ")
		if !ok {
			continue
		}
		at := slices.Index(parts, title)
		switch {
		case at < 0:
			wrong = append(wrong, fmt.Sprintf("there is no part called %q; the parts are %s", title, strings.Join(parts, ", ")))
		case found[title]:
			wrong = append(wrong, fmt.Sprintf("%q is there twice", title))
		case at < last:
			wrong = append(wrong, fmt.Sprintf("%q comes before %q", title, parts[last]))
		}
		found[title], last = true, max(at, last)
	}
	if s.part(upgradeNotes) == "" {
		wrong = append(wrong, `it says nothing under "### Upgrade notes"; say "Nothing to do." where that is so`)
	}
	return wrong
}

// part is what stands under a heading of the third degree.
func (s *section) part(title string) string {
	_, after, ok := strings.Cut("\n"+s.body+"\n", "\n### "+title+"\n")
	if !ok {
		return ""
	}
	within, _, _ := strings.Cut(after, "\n### ")
	return strings.TrimSpace(within)
}

// notesOf is the section of a version as the notes of its release. Without a
// section a version is refused when it is tagged. A trial takes what is
// unreleased, and warns.
func notesOf(sections []section, r *release, tagged bool) (notes, warning string, err error) {
	for _, s := range sections {
		if s.version == r.version {
			return fmt.Sprintf("# closeorder %s\n\n%s\n", r.version, s.body), "", nil
		}
	}
	missing := fmt.Sprintf("CHANGELOG.md has no section %s", r.version)
	if tagged {
		return "", "", fmt.Errorf("%s: write ## [%s] - %s above what is unreleased now, commit it, and move the tag before it is pushed",
			missing, strings.TrimPrefix(r.version, "v"), r.time.UTC().Format("2006-01-02"))
	}
	for _, s := range sections {
		if s.version == unreleased {
			return fmt.Sprintf("# closeorder %s, a trial\n\n%s\n", r.version, s.body),
				missing + ": the notes of this trial are what is unreleased. A tagged version is refused so.", nil
		}
	}
	return "", "", fmt.Errorf("%s, and nothing that is unreleased", missing)
}
