package docs_test

import (
	"slices"
	"testing"
)

// compatibilitySections are the parts of compatibility.md, each with one table.
var compatibilitySections = []string{"Producers", "Gateway", "Brokers", "Clients and partitioners", "Configuration"}

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
