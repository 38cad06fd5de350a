package console

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	tree "text/template/parse"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/access"
)

// spoken are the words that templates and code look up by a value, by the expression
// that does: all that the value can be.
var spoken = map[string][]string{
	"t .Page.Title":             nil, // stand in page.go as Title, which is looked for
	"t .Title":                  nil,
	"t $h.Text":                 nil,                                // stand in now.go as Text
	"t .Problem":                {(&access.RefusedError{}).Error()}, // of others, in English, but for the one of each day
	"word .User.Role":           {string(access.Viewer), string(access.Operator)},
	"badge .Class .State":       nil, // stand in now.go as State
	`badge "bad" .State`:        {"open", "half-open"},
	"say string(events.Closed)": {string(events.Closed)},
	"say string(events.Paid)":   {string(events.Paid)},
	"say string(events.Failed)": {string(events.Failed)},
}

// texts are those that the pages say, by where one stands.
func texts(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	lookUp := func(expression, where string) {
		words, known := spoken[expression]
		if !known {
			t.Errorf("%s: nobody says what %s can be: spoken has to", where, expression)
		}
		for _, word := range words {
			found[word] = where
		}
	}
	for _, page := range templates["en"].Templates() {
		if page.Tree == nil {
			continue
		}
		eachCommand(page.Tree.Root, func(c *tree.CommandNode) {
			name, ok := c.Args[0].(*tree.IdentifierNode)
			if !ok || len(c.Args) < 2 {
				return
			}
			at := 1
			switch name.Ident {
			case "badge":
				at = 2
			case "t", "word":
			default:
				return
			}
			where, _ := page.Tree.ErrorContext(c)
			if text, ok := c.Args[at].(*tree.StringNode); ok {
				found[text.Text] = where
				return
			}
			lookUp(c.String(), where)
		})
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		literal := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				found[text] = set.Position(e.Pos()).String()
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if is, ok := n.Fun.(*ast.Ident); !ok || is.Name != "say" {
					break
				}
				if lit, ok := n.Args[1].(*ast.BasicLit); ok {
					literal(lit)
				} else if name != "render.go" { // which looks up what templates give it
					lookUp("say "+string(src[n.Args[1].Pos()-file.FileStart:n.Args[1].End()-file.FileStart]), set.Position(n.Pos()).String())
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && slices.Contains([]string{"Title", "Text", "State"}, key.Name) {
					literal(n.Value)
				}
			case *ast.AssignStmt:
				for i, to := range n.Lhs { // w.State, w.Class = "stuck", "bad"
					if field, ok := to.(*ast.SelectorExpr); ok && field.Sel.Name == "State" && len(n.Rhs) == len(n.Lhs) {
						literal(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return found
}

func eachCommand(n tree.Node, f func(*tree.CommandNode)) {
	branch := func(b *tree.BranchNode) {
		eachCommand(b.Pipe, f)
		eachCommand(b.List, f)
		if b.ElseList != nil {
			eachCommand(b.ElseList, f)
		}
	}
	switch n := n.(type) {
	case *tree.ListNode:
		for _, of := range n.Nodes {
			eachCommand(of, f)
		}
	case *tree.ActionNode:
		eachCommand(n.Pipe, f)
	case *tree.TemplateNode:
		if n.Pipe != nil {
			eachCommand(n.Pipe, f)
		}
	case *tree.IfNode:
		branch(&n.BranchNode)
	case *tree.RangeNode:
		branch(&n.BranchNode)
	case *tree.WithNode:
		branch(&n.BranchNode)
	case *tree.PipeNode:
		for _, c := range n.Cmds {
			eachCommand(c, f)
		}
	case *tree.CommandNode:
		f(n)
		for _, arg := range n.Args {
			eachCommand(arg, f)
		}
	}
}

var verb = regexp.MustCompile(`%[^%]`)

func TestEveryTextIsThereInChineseToo(t *testing.T) {
	found, zh := texts(t), words["zh"]
	if len(found) < 60 {
		t.Fatalf("%d texts were found", len(found))
	}
	for text, where := range found {
		other, ok := zh[text]
		switch {
		case !ok:
			t.Errorf("%s: zh.json lacks %q", where, text)
		case strings.TrimSpace(other) == "":
			t.Errorf("zh.json: %q is empty", text)
		case !slices.Equal(verb.FindAllString(text, -1), verb.FindAllString(other, -1)):
			t.Errorf("zh.json: %q and %q have not the same verbs in the same order", text, other)
		case strings.IndexFunc(other, hidden) >= 0:
			t.Errorf("zh.json: %q holds what is not seen", other)
		}
	}
	for text := range zh {
		if found[text] == "" {
			t.Errorf("zh.json: nobody says %q", text)
		}
	}
}

// A file that is sorted, one text a line, can be merged, and a text stands in it once.
func TestTheChineseTextsAreSorted(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(words["zh"]); err != nil { // which sorts them
		t.Fatal(err)
	}
	if b.String() != string(chinese) {
		t.Error("zh.json is not as encoding/json writes it: sorted, with two blanks before each text")
	}
}

// The glossary of the Chinese pages says what a thing is called there; the console
// calls it so, too.
func TestChineseTextsKeepToTheGlossary(t *testing.T) {
	glossary, err := os.ReadFile("../../docs/zh-CN/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(string(glossary), -1)
	if len(rows) < 40 {
		t.Fatalf("%d rows were found", len(rows))
	}
	// Of the second table only what is not written counts.
	second := bytes.Index(glossary, []byte("## 看上下文的词"))
	if second < 0 {
		t.Fatal("the glossary has no second table")
	}
	for _, row := range rows {
		fixed := bytes.Index(glossary, []byte(row[0])) < second
		if row[1] == "英文" {
			continue
		}
		speaks := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(row[1]) + `s?\b`)
		for text, zh := range words["zh"] {
			for not := range strings.SplitSeq(row[3], "、") {
				if not = strings.TrimSpace(not); not != "" && strings.Contains(zh, not) && !strings.Contains(row[2], not) {
					t.Errorf("zh.json: %q says %s; %s is %s", zh, not, row[1], row[2])
				}
			}
			if fixed && speaks.MatchString(text) && !strings.Contains(zh, row[2]) {
				t.Errorf("zh.json: %q speaks of a %s, and %q not of %s", text, row[1], zh, row[2])
			}
		}
	}
}

func TestTheLanguageIsTheOneThatTheBrowserWishesFor(t *testing.T) {
	for wish, want := range map[string]string{
		"": "en", "en-US,en;q=0.9": "en", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "zh": "zh", "zh-Hans-SG": "zh", "de-DE,de": "en",
		"en;q=0.5,zh;q=0.9": "zh", "fr, zh;q=0.1": "zh", "\xff;;,": "en", strings.Repeat("a,", 2000): "en",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", wish)
		if got := wished(r); got != want {
			t.Errorf("%.40q: %s, want %s", wish, got, want)
		}
	}
}

func TestAWordThatNoValueHasIsNotSpoken(t *testing.T) {
	for expression, all := range spoken {
		for _, word := range all {
			if words["zh"][word] == "" {
				t.Errorf("%s: zh.json lacks %q", expression, word)
			}
		}
	}
	if say("zh", string(events.Closed)) == string(events.Closed) {
		t.Error("closed is not translated")
	}
}
