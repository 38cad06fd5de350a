package docs_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// page is a document, read line by line as Markdown shows it.
type page struct {
	name   string
	tables []table
	// prose is what stands outside of code blocks, tables included.
	prose []line
	// blocks are the code blocks, without their fences.
	blocks []block
}

// line is a line of a page; number counts from 1, section is the last heading
// above it.
type line struct {
	number  int
	section string
	text    string
}

// table is one table. Each row has as many cells as the header.
type table struct {
	number  int // line of the header
	section string
	header  []string
	rows    []row
}

type row struct {
	number  int
	section string
	cells   []string
}

type block struct {
	number int // line of the opening fence
	lines  []string
}

// readPage reads a document of this folder. A row that has more or fewer cells
// than its header is an error of the test, and is left out.
func readPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p := page{name: name}
	section, fenced, open := "", false, false // open: the line before belongs to a table
	for i, text := range strings.Split(string(text), "\n") {
		n := i + 1
		if strings.HasPrefix(text, "```") {
			if fenced = !fenced; fenced {
				p.blocks = append(p.blocks, block{number: n})
			}
			open = false
			continue
		}
		if fenced {
			b := &p.blocks[len(p.blocks)-1]
			b.lines = append(b.lines, text)
			continue
		}
		if level, heading, ok := strings.Cut(text, " "); ok && level != "" && strings.Trim(level, "#") == "" {
			section = heading
		}
		p.prose = append(p.prose, line{n, section, text})
		switch {
		case !strings.HasPrefix(text, "|"):
			open = false
		case !open:
			p.tables = append(p.tables, table{number: n, section: section, header: cellsOf(text)})
			open = true
		case strings.HasPrefix(text, "|---"):
		default:
			last := &p.tables[len(p.tables)-1]
			cells := cellsOf(text)
			if len(cells) != len(last.header) {
				t.Errorf("%s, line %d: %d cells, the header has %d", name, n, len(cells), len(last.header))
				continue
			}
			last.rows = append(last.rows, row{n, section, cells})
		}
	}
	if fenced {
		t.Errorf("%s: a code block is not closed", name)
	}
	return p
}

// cellsOf divides a row; \| is a bar inside of a cell.
func cellsOf(text string) []string {
	const bar = "\x00"
	text = strings.ReplaceAll(strings.TrimSpace(text), `\|`, bar)
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "|"), "|"), "|")
	for i, c := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(c, bar, "|"))
	}
	return cells
}

// table returns the one table with the given header.
func (p page) table(t *testing.T, header ...string) table {
	t.Helper()
	var found []table
	for _, candidate := range p.tables {
		if slices.Equal(candidate.header, header) {
			found = append(found, candidate)
		}
	}
	if len(found) != 1 || len(found[0].rows) == 0 {
		t.Fatalf("%s has %d tables with the header %q and rows below it, want one", p.name, len(found), header)
	}
	return found[0]
}

// code returns what stands in backticks in a text.
func code(text string) []string {
	var all []string
	for _, q := range quoted.FindAllStringSubmatch(text, -1) {
		all = append(all, q[1])
	}
	return all
}
