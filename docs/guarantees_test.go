// Package docs_test keeps the documents honest.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testFile is what a package's tests are made of: the names of its test and
// fuzz functions, and its string literals, which name subtests.
type testFile struct {
	tests    map[string]bool
	literals map[string]bool
}

// testsOf reads all test files of the tree, build tags or not, by folder.
func testsOf(t *testing.T, root string) map[string]testFile {
	t.Helper()
	found := make(map[string]testFile)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder = filepath.ToSlash(folder)
		in, ok := found[folder]
		if !ok {
			in = testFile{tests: make(map[string]bool), literals: make(map[string]bool)}
			found[folder] = in
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && isTest.MatchString(n.Name.Name) {
					in.tests[n.Name.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					in.literals[text] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no test files found")
	}
	return found
}

var (
	isTest = regexp.MustCompile(`^(Test|Fuzz)[A-Z0-9]\w*$`)
	// quoted is what stands in backticks.
	quoted = regexp.MustCompile("`([^`]+)`")
	// named is a test in backticks, with a subtest behind a slash.
	named = regexp.MustCompile(`^((?:Test|Fuzz)[A-Z0-9]\w*)(?:/(.+))?$`)
)

// TestGuaranteesNameTestsThatThereAre reads the tables of guarantees.md. The
// last column of each row names tests as
//
//	`package/folder`: `TestOne`, `TestTwo/with this subtest`; `other`: ...
//
// or says "no test".
func TestGuaranteesNameTestsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t, "..")
	promises, rows, names, without := make(map[string]bool), 0, 0, 0
	section, header := "", true
	for n, line := range strings.Split(string(text), "\n") {
		if after, ok := strings.CutPrefix(line, "## "); ok {
			section = after
		}
		if !strings.HasPrefix(line, "|") {
			header = true // of the next table
			continue
		}
		if header || strings.HasPrefix(line, "|---") {
			header = false
			continue
		}
		rows++
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		if len(cells) != 4 {
			t.Errorf("line %d: %d cells, want 4", n+1, len(cells))
			continue
		}
		where := strings.Trim(cells[0], " *")
		inRow, folder := 0, ""
		for _, q := range quoted.FindAllStringSubmatch(cells[3], -1) {
			test := named.FindStringSubmatch(q[1])
			if test == nil {
				folder = q[1]
				if _, ok := tests[folder]; !ok {
					t.Errorf("line %d, %s: no folder %q with tests", n+1, where, folder)
				}
				continue
			}
			inRow++
			switch {
			case folder == "":
				t.Errorf("line %d, %s: %s is named without its package", n+1, where, test[1])
			case !tests[folder].tests[test[1]]:
				t.Errorf("line %d, %s: there is no %s in %s", n+1, where, test[1], folder)
			case test[2] != "" && !tests[folder].literals[test[2]]:
				t.Errorf("line %d, %s: %s in %s has no subtest %q", n+1, where, test[1], folder, test[2])
			}
		}
		names += inRow
		switch {
		case section == "Promises":
			promises[where] = true
			if inRow == 0 {
				t.Errorf("line %d: promise %s has no test", n+1, where)
			}
		case strings.Contains(cells[3], "no test"):
			without++
		case inRow == 0:
			t.Errorf("line %d, %s: neither a test nor \"no test\"", n+1, where)
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
