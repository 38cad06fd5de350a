package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/closeorder/closeorder"

// imports are what the files of one folder import, tests left out: rooms are
// folders of this module, modules the paths of others, as go.mod has them.
type imports struct{ rooms, modules, standard map[string]bool }

// importsOf reads the imports of every folder of the module, for every
// operating system and build tag.
func importsOf(t *testing.T, root string) map[string]imports {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:require )?(\S+\.\S+/\S+|\S+\.\S+) v\S+`).FindAllSubmatch(mod, -1) {
		modules = append(modules, string(m[1]))
	}
	all := make(map[string]imports)
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			nested := name != root && exists(filepath.Join(name, "go.mod"))
			if base := d.Name(); nested || base == "testdata" || base != ".." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		room := filepath.ToSlash(rel)
		if all[room].rooms == nil {
			all[room] = imports{rooms: map[string]bool{}, modules: map[string]bool{}, standard: map[string]bool{}}
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				all[room].rooms[own] = true
			} else if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				all[room].modules[moduleOf(modules, imported)] = true
			} else {
				all[room].standard[imported] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Fatalf("only %d rooms were found", len(all))
	}
	return all
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// moduleOf is the longest module path that an import path begins with.
func moduleOf(modules []string, imported string) string {
	longest := ""
	for _, m := range modules {
		if (imported == m || strings.HasPrefix(imported, m+"/")) && len(m) > len(longest) {
			longest = m
		}
	}
	if longest == "" {
		return imported
	}
	return longest
}

// TestRoomsImportWhatTheirRowSays holds the table of rooms in architecture.md
// to the code: each room has a row, imports what the row says, and of this
// module only what stands below it.
func TestRoomsImportWhatTheirRowSays(t *testing.T) {
	found := importsOf(t, "..")
	rows := readPage(t, "architecture.md").table(t, "room", "what it knows", "rooms it imports", "modules it imports").rows
	floor := make(map[string]int)
	for i, row := range rows {
		floor[strings.Trim(row.cells[0], "`")] = i
	}
	for room := range found {
		if _, there := floor[room]; !there {
			t.Errorf("architecture.md has no row for the room %s", room)
		}
	}
	for i, row := range rows {
		room := strings.Trim(row.cells[0], "`")
		got, there := found[room]
		if !there {
			t.Errorf("architecture.md, line %d: there is no room %s", row.number, room)
			continue
		}
		short := make(map[string]bool)
		for m := range got.modules {
			short[shortName(m)] = true
		}
		compareCell(t, row, "rooms it imports", row.cells[2], got.rooms)
		compareCell(t, row, "modules it imports", row.cells[3], short)
		for below := range got.rooms {
			if floor[below] <= i {
				t.Errorf("architecture.md, line %d: %s imports %s, which stands above it", row.number, room, below)
			}
		}
	}
}

// shortName is a module's last word, major versions left out, and what stands
// before it where a whole team keeps its modules: x/ and otel/.
func shortName(module string) string {
	for _, team := range []string{"golang.org/", "go.opentelemetry.io/"} {
		if x, ok := strings.CutPrefix(module, team); ok {
			return x
		}
	}
	base := path.Base(module)
	if regexp.MustCompile(`^v\d+$`).MatchString(base) {
		base = path.Base(path.Dir(module))
	}
	return base
}

func compareCell(t *testing.T, row row, column, cell string, got map[string]bool) {
	t.Helper()
	said := make(map[string]bool)
	for _, name := range code(cell) {
		said[name] = true
	}
	if !maps.Equal(said, got) {
		t.Errorf("architecture.md, line %d, %s: %s says %q, the code %q", row.number, row.cells[0], column,
			slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(got)))
	}
}

// TestImportsKeepTheRules is about what no change of the table may allow.
func TestImportsKeepTheRules(t *testing.T) {
	found := importsOf(t, "..")
	for _, rule := range []struct {
		sentence string
		rooms    []string // those it is about, none for all
		but      []string // those it is not about
		never    func(room, imported string) bool
	}{
		{"events, its schemas and signing import the standard library alone", []string{"events", "events/schema", "signing"}, nil,
			func(room, imported string) bool { return !found[room].standard[imported] }},
		{"closer does not log and knows neither Kafka nor YAML", []string{"closer"}, nil,
			func(_, imported string) bool {
				return regexp.MustCompile(`^log(/|$)|logrus|kafka|yaml|^events$|^consumer$`).MatchString(imported)
			}},
		{"consumer knows no gateway", []string{"consumer"}, nil,
			func(_, imported string) bool {
				return slices.Contains([]string{"closer", "signing", "net/http", "encoding/xml"}, imported)
			}},
		{"kafka-go is imported in one room", nil, []string{"internal/kafka", "internal/kafka/group"},
			func(_, imported string) bool { return strings.HasSuffix(imported, "/kafka-go") }},
		{"commands are imported by nobody", nil, nil,
			func(_, imported string) bool { return strings.HasPrefix(imported, "cmd/") }},
		{"what tests alone use is in no worker", []string{"consumer", "closer", "events", "events/schema", "signing", "internal/worker"}, nil,
			func(_, imported string) bool {
				return regexp.MustCompile(`^internal/(world|gatewaysim|broker|apachekafka|golden)`).MatchString(imported)
			}},
	} {
		about := rule.rooms
		if about == nil {
			about = slices.Collect(maps.Keys(found))
		}
		for _, room := range about {
			if _, there := found[room]; !there {
				t.Errorf("%s: there is no room %s", rule.sentence, room)
			}
			if slices.Contains(rule.but, room) {
				continue
			}
			for _, set := range []map[string]bool{found[room].rooms, found[room].modules, found[room].standard} {
				for imported := range set {
					if rule.never(room, imported) {
						t.Errorf("%s, but %s imports %s", rule.sentence, room, imported)
					}
				}
			}
		}
	}
}

// TestWaysPassFilesThatThereAre holds the ways that architecture.md draws to the
// code. Each step names a file and a function of it. Step 1.2 is called by step 1:
// its room is the same one or stands below, or it is reached through an interface
// that the caller's room declares, which the step then names.
func TestWaysPassFilesThatThereAre(t *testing.T) {
	page := readPage(t, "architecture.md")
	floor := make(map[string]int)
	for i, row := range page.table(t, "room", "what it knows", "rooms it imports", "modules it imports").rows {
		floor[strings.Trim(row.cells[0], "`")] = i
	}
	ways, steps := 0, 0
	for _, table := range page.tables {
		if !slices.Equal(table.header, []string{"step", "what happens", "file", "function"}) {
			continue
		}
		ways++
		rooms := make(map[string]string) // by step
		for _, row := range table.rows {
			steps++
			step, file, function := row.cells[0], strings.Trim(row.cells[2], "`"), strings.Trim(row.cells[3], "`")
			text, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Errorf("line %d: %v", row.number, err)
				continue
			}
			declared := `(?m)^func ` + regexp.QuoteMeta(function) + `\(`
			if receiver, method, is := strings.Cut(function, "."); is {
				declared = `(?m)^func \(\w+ \*?` + regexp.QuoteMeta(receiver) + `\) ` + regexp.QuoteMeta(method) + `\(`
			}
			if !regexp.MustCompile(declared).Match(text) {
				t.Errorf("line %d: %s has no function %s", row.number, file, function)
			}
			rooms[step] = path.Dir(file)
			if !strings.Contains(step, ".") {
				continue
			}
			caller, called := rooms[step[:strings.LastIndex(step, ".")]], rooms[step]
			through := regexp.MustCompile("through `(\\w+)`").FindStringSubmatch(row.cells[1])
			switch {
			case caller == "":
				t.Errorf("line %d: step %s has no step above it", row.number, step)
			case floor[called] >= floor[caller]:
			case through == nil || !declaresInterface(t, filepath.Join("..", caller), through[1]):
				t.Errorf("line %d: step %s climbs from %s up to %s", row.number, step, caller, called)
			}
		}
	}
	if ways != 9 || steps < 40 {
		t.Errorf("%d ways with %d steps were read", ways, steps)
	}
}

func declaresInterface(t *testing.T, room, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(room, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && regexp.MustCompile(`(?m)^type `+name+` interface`).Match(text)
	})
}
