package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Links between documents lead somewhere.
func TestLinksLeadToWhatThereIs(t *testing.T) {
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	chinese, err := filepath.Glob("zh-CN/*.md")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.Concat(names, decisions, chinese, []string{"../README.md", "../README.zh-CN.md", "../CONTRIBUTING.md", "../SECURITY.md"})
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	followed := 0
	for _, name := range names {
		for _, l := range readPage(t, name).prose {
			for _, m := range link.FindAllStringSubmatch(l.text, -1) {
				target, _, _ := strings.Cut(m[1], "#")
				if target == "" || strings.Contains(target, "://") {
					continue
				}
				followed++
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), target)); err != nil {
					t.Errorf("%s, line %d: %s leads nowhere", name, l.number, m[1])
				}
			}
		}
	}
	if followed < 20 {
		t.Errorf("only %d links were followed", followed)
	}
}
