package docs_test

import (
	"encoding/json"
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

// packageTests is what the tests of one package are made of: the names of its
// test and fuzz functions, and whatever can name a subtest: its string
// literals, and the files and sentences of its folder in testdata.
type packageTests struct {
	tests    map[string]bool
	subtests map[string]bool
}

// allTests are the tests of the tree, by folder.
type allTests map[string]packageTests

// testsOf reads all test files of the tree, build tags or not.
func testsOf(t *testing.T, root string) allTests {
	t.Helper()
	found := make(allTests)
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
			in = packageTests{tests: make(map[string]bool), subtests: make(map[string]bool)}
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
					in.subtests[text] = true
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
	for folder, in := range found {
		for part := range strings.SplitSeq(folder, "/") {
			in.addTestdata(t, filepath.Join(root, "testdata", part))
		}
	}
	return found
}

// addTestdata takes the files of a folder, if it is there, for subtests: their
// names, with and without extension, and in JSON each text called "sentence".
func (in packageTests) addTestdata(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		extension := filepath.Ext(path)
		in.subtests[d.Name()] = true
		in.subtests[strings.TrimSuffix(d.Name(), extension)] = true
		if extension != ".json" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var doc any
		if json.Unmarshal(text, &doc) == nil { // some are broken on purpose
			in.addSentences(doc)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (in packageTests) addSentences(doc any) {
	switch doc := doc.(type) {
	case []any:
		for _, each := range doc {
			in.addSentences(each)
		}
	case map[string]any:
		for name, each := range doc {
			if text, ok := each.(string); ok && name == "sentence" {
				in.subtests[text] = true
			}
			in.addSentences(each)
		}
	}
}

var (
	isTest = regexp.MustCompile(`^(Test|Fuzz)[A-Z0-9]\w*$`)
	// quoted is what stands in backticks.
	quoted = regexp.MustCompile("`([^`]+)`")
	// aTest is a test in backticks, with a subtest behind a slash.
	aTest = regexp.MustCompile(`^((?:Test|Fuzz)[A-Z0-9]\w*)(?:/(.+))?$`)
)

// named returns how many tests a cell names, and complains of those that do
// not exist. They are named as
//
//	`package/folder`: `TestOne`, `TestTwo/with this subtest`; `other`: ...
func (tests allTests) named(t *testing.T, r row, cell string) int {
	t.Helper()
	n, folder := 0, ""
	for _, text := range code(cell) {
		test := aTest.FindStringSubmatch(text)
		if test == nil {
			folder = text
			if _, ok := tests[folder]; !ok {
				t.Errorf("line %d, %s: no folder %q with tests", r.number, r.cells[0], folder)
			}
			continue
		}
		n++
		switch {
		case folder == "":
			t.Errorf("line %d, %s: %s is named without its package", r.number, r.cells[0], test[1])
		case !tests[folder].tests[test[1]]:
			t.Errorf("line %d, %s: there is no %s in %s", r.number, r.cells[0], test[1], folder)
		case test[2] != "" && !tests[folder].subtests[test[2]]:
			t.Errorf("line %d, %s: %s in %s has no subtest %q", r.number, r.cells[0], test[1], folder, test[2])
		}
	}
	return n
}
