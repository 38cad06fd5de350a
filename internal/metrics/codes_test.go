package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each code of closer's table has its place, however many others come first.
func TestCodesOfTheTableAreKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../closer/decide.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	canonical := func(code string) string { return strings.ReplaceAll(code, "_", "") }
	known := knownCodes()
	isCode := regexp.MustCompile(`^[A-Z0-9]{5,}$`)
	seen := 0
	ast.Inspect(file, func(n ast.Node) bool {
		lit, is := n.(*ast.BasicLit)
		if !is || lit.Kind != token.STRING {
			return true
		}
		code, err := strconv.Unquote(lit.Value)
		if err != nil || !isCode.MatchString(code) {
			return true
		}
		seen++
		if !slices.ContainsFunc(known, func(k string) bool { return canonical(k) == code }) {
			t.Errorf("closer/decide.go knows %s, and codes.go does not", code)
		}
		return true
	})
	if seen < 25 {
		t.Errorf("only %d codes were found in closer/decide.go", seen)
	}
}
