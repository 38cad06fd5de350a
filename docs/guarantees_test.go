// Package docs_test keeps the documents honest.
package docs_test

import (
	"strconv"
	"strings"
	"testing"
)

// TestGuaranteesNameTestsThatThereAre reads the tables of guarantees.md. The
// last column of each row names tests, or says "no test".
func TestGuaranteesNameTestsThatThereAre(t *testing.T) {
	tests := testsOf(t, "..")
	promises, rows, names, without := make(map[string]bool), 0, 0, 0
	for _, table := range readPage(t, "guarantees.md").tables {
		for _, row := range table.rows {
			rows++
			if len(row.cells) != 4 {
				t.Errorf("line %d: %d cells, want 4", row.number, len(row.cells))
				continue
			}
			where := strings.Trim(row.cells[0], " *")
			inRow := tests.named(t, row, row.cells[3])
			names += inRow
			switch {
			case table.section == "Promises":
				promises[where] = true
				if inRow == 0 {
					t.Errorf("line %d: promise %s has no test", row.number, where)
				}
			case strings.Contains(row.cells[3], "no test"):
				without++
			case inRow == 0:
				t.Errorf("line %d, %s: neither a test nor \"no test\"", row.number, where)
			}
		}
	}
	for i := range 8 {
		if g := "G" + strconv.Itoa(i+1); !promises[g] {
			t.Errorf("promise %s is missing", g)
		}
	}
	if rows < 50 || names < 50 {
		t.Fatalf("%d rows and %d tests were read: the tables are not found", rows, names)
	}
	t.Logf("%d rows, %d tests named, %d rows say that something has none", rows, names, without)
}
