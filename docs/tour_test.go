package docs_test

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cast is a terminal session as asciinema records it: a header, then events
// [seconds, kind, text], each a line of JSON (asciicast v2).
type cast struct {
	Version       int
	Width, Height int
	screen        string // all that was printed, without colours
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

func readCast(t *testing.T, name string) cast {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var c cast
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &c) != nil || c.Version != 2 || c.Width == 0 || c.Height == 0 {
		t.Fatalf("%s: the first line is no header of asciicast v2: %s", name, lines.Text())
	}
	var screen strings.Builder
	last := 0.0
	for n := 2; lines.Scan(); n++ {
		var at float64
		var kind, text string
		if err := json.Unmarshal(lines.Bytes(), &[]any{&at, &kind, &text}); err != nil || at < last || kind != "o" {
			t.Fatalf("%s:%d: %s: %v", name, n, lines.Text(), err)
		}
		last = at
		screen.WriteString(text)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.screen = strings.ReplaceAll(escapes.ReplaceAllString(screen.String(), ""), "\r\n", "\n")
	return c
}

// typed are the commands behind a prompt.
func typed(text string) []string {
	var all []string
	for _, line := range regexp.MustCompile(`(?m)^\$ (.+)$`).FindAllStringSubmatch(text, -1) {
		all = append(all, line[1])
	}
	return all
}

func TestTheRecordedTourIsThatOfTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, found := strings.Cut(string(readme), "\n## A tour of two minutes\n")
	tour, _, ended := strings.Cut(tour, "\n## ")
	if !found || !ended || len(typed(tour)) < 8 {
		t.Fatalf("the README has no tour of some commands: %v", typed(tour))
	}
	c := readCast(t, "tour/tour.cast")
	got := typed(c.screen)
	if want := append([]string{"go run ./cmd/closeorder dev --requests 300 --exit"}, typed(tour)...); !slices.Equal(got, want) {
		t.Errorf("recorded are\n%s\nand the README has\n%s\nrecord it anew with make tour", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// What it shows of each order is what the README says, but for times and ids.
	variable := regexp.MustCompile(`\d\d:\d\d:\d\d|\d{20,}`)
	shown := variable.ReplaceAllString(c.screen, "")
	for line := range strings.SplitSeq(tour, "\n") {
		if line := variable.ReplaceAllString(line, ""); regexp.MustCompile(`^ +(closed|paid|failed|dead letters) `).MatchString(line) && !strings.Contains(shown, line) {
			t.Errorf("the README shows %q, the recorded tour does not", line)
		}
	}
}
