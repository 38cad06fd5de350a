package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/doctor"
)

// Whoever is woken by an alert finds its section, where the alert says that it is.
func TestEachAlertHasItsSection(t *testing.T) {
	rules, err := os.ReadFile("../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alert := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	anchor := regexp.MustCompile(`(?m)^ +runbook_url: .*/docs/operations\.md#(\S+)$`)
	sections := headingsUnder(t, "Alerts")
	var names, anchors []string
	for _, m := range alert.FindAllStringSubmatch(string(rules), -1) {
		names = append(names, m[1])
	}
	for _, m := range anchor.FindAllStringSubmatch(string(rules), -1) {
		anchors = append(anchors, m[1])
	}
	if len(names) == 0 || len(names) != len(anchors) {
		t.Fatalf("%d alerts with %d places in operations.md", len(names), len(anchors))
	}
	for i, name := range names {
		if !slices.Contains(sections, name) {
			t.Errorf("operations.md has no section %s under Alerts", name)
		}
		if anchors[i] != strings.ToLower(name) {
			t.Errorf("%s leads to #%s, and its section is #%s", name, anchors[i], strings.ToLower(name))
		}
	}
	for _, section := range sections {
		if !slices.Contains(names, section) {
			t.Errorf("operations.md, section %s: there is no such alert", section)
		}
	}
}

// headingsUnder are the headings of the third level in a section of the second.
func headingsUnder(t *testing.T, section string) (headings []string) {
	t.Helper()
	in := false
	for _, l := range readPage(t, "operations.md").prose {
		if heading, is := strings.CutPrefix(l.text, "## "); is {
			in = heading == section
		} else if heading, is := strings.CutPrefix(l.text, "### "); is && in {
			headings = append(headings, heading)
		}
	}
	return headings
}

// What doctor finds is explained, all of it and nothing else.
func TestEachFindingOfDoctorIsExplained(t *testing.T) {
	var explained []string
	for _, row := range readPage(t, "operations.md").table(t, "check", "means", "look at, and do").rows {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row.cells[0], -1) {
			explained = append(explained, m[1])
		}
	}
	checks := doctor.Checks()
	if len(checks) == 0 {
		t.Fatal("doctor has no checks")
	}
	for _, check := range checks {
		if !slices.Contains(explained, check) {
			t.Errorf("operations.md does not explain %s", check)
		}
	}
	for _, check := range explained {
		if !slices.Contains(checks, check) {
			t.Errorf("operations.md explains %s, which doctor does not look at", check)
		}
	}
}
