package docs_test

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// constantOf is a constant of a package: its value as text, a string without
// its quotes, and the name of its type where that is one of the package.
type constantOf struct {
	value string
	typ   string
}

// sourceOf reads the files of a package, without its tests.
func sourceOf(t *testing.T, folder string) (*token.FileSet, []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		t.Fatalf("no source in %s", folder)
	}
	return set, files
}

// constantsOf returns the constants of a package by name, those that it keeps
// to itself included. What the package imports is not looked at: no constant
// here hangs on it.
func constantsOf(t *testing.T, folder string) map[string]constantOf {
	t.Helper()
	set, files := sourceOf(t, folder)
	checker := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := checker.Check(folder, set, files, nil)
	all := make(map[string]constantOf)
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || c.Val().Kind() == constant.Unknown {
			continue
		}
		of := constantOf{value: c.Val().ExactString()}
		if c.Val().Kind() == constant.String {
			of.value = constant.StringVal(c.Val())
		}
		if named, ok := c.Type().(*types.Named); ok {
			of.typ = named.Obj().Name()
		}
		all[name] = of
	}
	if len(all) == 0 {
		t.Fatalf("no constants in %s", folder)
	}
	return all
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

// casesOf returns the texts that the cases of a function of a package compare
// with: literals, and constants of the package.
func casesOf(t *testing.T, folder, function string) []string {
	t.Helper()
	constants := constantsOf(t, folder)
	_, files := sourceOf(t, folder)
	var all []string
	for _, file := range files {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != function {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				clause, ok := n.(*ast.CaseClause)
				if !ok {
					return true
				}
				for _, e := range clause.List {
					switch e := e.(type) {
					case *ast.BasicLit:
						all = append(all, strings.Trim(e.Value, `"`))
					case *ast.Ident:
						all = append(all, constants[e.Name].value)
					}
				}
				return true
			})
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	if len(all) == 0 {
		t.Fatalf("no function %s with cases in %s", function, folder)
	}
	return all
}

// literalsOf returns the string literals of a package.
func literalsOf(t *testing.T, folder string) []string {
	t.Helper()
	_, files := sourceOf(t, folder)
	var all []string
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				all = append(all, strings.Trim(lit.Value, "`\""))
			}
			return true
		})
	}
	return all
}
