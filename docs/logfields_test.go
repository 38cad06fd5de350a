package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fieldTable is the table of what stands in log lines.
var fieldTable = []string{"field", "it is"}

// The fields of the page are those that the code writes: their names are stable, as
// people search logs by them.
func TestOperationsHasTheFieldsOfTheLog(t *testing.T) {
	page := make(map[string]bool)
	for _, r := range readPage(t, "operations.md").table(t, fieldTable...).rows {
		for name := range strings.SplitSeq(r.cells[0], ", ") {
			name = strings.Trim(name, "`")
			if page[name] {
				t.Errorf("line %d: %s stands there twice", r.number, name)
			}
			page[name] = true
		}
	}
	code := map[string]bool{"time": true, "level": true, "msg": true} // logrus writes them
	for name, where := range loggedFields(t) {
		code[name] = true
		if strings.ToLower(name) != name || strings.ContainsAny(name, "-. ") {
			t.Errorf("%s: a field is spelt %q", where, name)
		}
	}
	if len(code) < 20 {
		t.Fatalf("only %d fields were found in the code", len(code))
	}
	same(t, "fields of the log", page, code)
}

// loggedFields are the names of fields in all files, each with a place of it.
func loggedFields(t *testing.T) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bench", "testdata", "world", "findings"}, d.Name()):
			return fs.SkipDir // the lab, and the tests' own world
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		knows := slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"github.com/sirupsen/logrus"` })
		ast.Inspect(file, func(n ast.Node) bool {
			if _, set := n.(*ast.AssignStmt); set && !knows {
				return true // of another map
			}
			for _, name := range fieldsLogged(n) {
				fields[name] = set.Position(n.Pos()).String()
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// fieldsLogged are the names of fields that a piece of code writes: WithField,
// WithError, a literal of logrus.Fields, and an assignment to one of those, which
// are called f or fields here.
func fieldsLogged(n ast.Node) (names []string) {
	add := func(e ast.Expr) {
		if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
			if name, err := strconv.Unquote(text.Value); err == nil {
				names = append(names, name)
			}
		}
	}
	switch n := n.(type) {
	case *ast.CallExpr:
		method, ok := n.Fun.(*ast.SelectorExpr)
		switch {
		case ok && method.Sel.Name == "WithField" && len(n.Args) == 2:
			add(n.Args[0])
		case ok && method.Sel.Name == "WithError":
			names = append(names, "error")
		}
	case *ast.CompositeLit:
		if typ, ok := n.Type.(*ast.SelectorExpr); ok && typ.Sel.Name == "Fields" {
			for _, e := range n.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					add(pair.Key)
				}
			}
		}
	case *ast.AssignStmt:
		for _, to := range n.Lhs {
			if at, ok := to.(*ast.IndexExpr); ok {
				if name, ok := at.X.(*ast.Ident); ok && (name.Name == "f" || name.Name == "fields") {
					add(at.Index)
				}
			}
		}
	}
	return names
}
