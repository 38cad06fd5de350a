package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/kafka"
)

// compatibilitySections are the parts of compatibility.md, each with one table.
var compatibilitySections = []string{"Producers", "Gateway", "Brokers", "Versions of Apache Kafka", "Clients and partitioners", "Configuration"}

// TestCompatibilityNamesTestsThatThereAre reads the tables of
// compatibility.md: each row says what comes, what is made of it, and which
// tests show it.
func TestCompatibilityNamesTestsThatThereAre(t *testing.T) {
	tests := testsOf(t, "..")
	rows := make(map[string]int)
	names := 0
	for _, table := range readPage(t, "compatibility.md").tables {
		if !slices.Contains(compatibilitySections, table.section) {
			t.Errorf("line %d: a table in the section %q", table.number, table.section)
		}
		if !slices.Equal(table.header, []string{"what comes", "what closeorder makes of it", "shown by"}) {
			t.Errorf("line %d: the header is %q", table.number, table.header)
			continue
		}
		for _, row := range table.rows {
			rows[table.section]++
			if slices.Contains(row.cells, "") {
				t.Errorf("line %d: a cell is empty", row.number)
			}
			inRow := tests.named(t, row, row.cells[2])
			names += inRow
			if inRow == 0 {
				t.Errorf("line %d, %s: no test is named", row.number, row.cells[0])
			}
		}
	}
	for _, section := range compatibilitySections {
		if rows[section] == 0 {
			t.Errorf("the section %q has no table with rows", section)
		}
	}
	t.Logf("%v rows, %d tests named", rows, names)
}

var (
	versionRow = regexp.MustCompile(`^Apache Kafka (\d+\.\d+)(\.[\d.]*\d), `)
	lackedRow  = regexp.MustCompile("^no `([a-z-]+)` \\(before ([\\d.]+)\\)")
	lackWord   = regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`")
)

// TestEachVersionHasItsRow holds the table of versions to those that are tested, and
// what each one lacks to the releases of the features; TestBrokers holds these to the
// brokers.
func TestEachVersionHasItsRow(t *testing.T) {
	want, err := apachekafka.Versions()
	if err != nil {
		t.Fatal(err)
	}
	var versions, lacked, features []string
	for _, f := range kafka.Features() {
		features = append(features, fmt.Sprintf("%s %s", f, f.Since()))
	}
	for _, table := range readPage(t, "compatibility.md").tables {
		if table.section != "Versions of Apache Kafka" {
			continue
		}
		for _, row := range table.rows {
			if m := lackedRow.FindStringSubmatch(row.cells[0]); m != nil {
				lacked = append(lacked, m[1]+" "+m[2])
			}
			m := versionRow.FindStringSubmatch(row.cells[0])
			if m == nil {
				continue
			}
			versions = append(versions, m[1]+m[2])
			var release kafka.Release
			if _, err := fmt.Sscanf(m[1], "%d.%d", &release[0], &release[1]); err != nil {
				t.Fatal(err)
			}
			var lacks, says []string
			for _, f := range kafka.Features() {
				if release.Before(f.Since()) {
					lacks = append(lacks, string(f))
				}
			}
			for _, q := range lackWord.FindAllStringSubmatch(row.cells[1], -1) {
				says = append(says, q[1])
			}
			if !slices.Equal(lacks, says) {
				t.Errorf("line %d: it lacks %q, and the page says %q", row.number, lacks, says)
			}
		}
	}
	if !slices.Equal(versions, want) {
		t.Errorf("the page has %q, tested are %q", versions, want)
	}
	if !slices.Equal(lacked, features) {
		t.Errorf("the page says what becomes of %q, features are %q", lacked, features)
	}
}
