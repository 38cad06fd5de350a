package yamlmap

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// fieldsOf reads a document and shows the fields of the mapping at the end of
// a path of names as name=value@line, and what is wrong.
func fieldsOf(t *testing.T, text string, path ...string) (fields, wrong []string) {
	t.Helper()
	d, err := Read([]byte(text), func(at *yaml.Node, problem string) {
		wrong = append(wrong, fmt.Sprintf("line %d: %s", at.Line, problem))
	})
	if err != nil {
		t.Fatal(err)
	}
	n := d.Root
	for _, name := range path {
		i := slices.IndexFunc(d.Fields(n), func(f Field) bool { return f.Key.Value == name })
		n = d.Fields(n)[i].Value
	}
	for _, f := range d.Fields(n) {
		text := fmt.Sprintf("%s=%s@%d", f.Key.Value, f.Value.Value, f.Value.Line)
		if f.Merged {
			text += " merged"
		}
		if f.Hides != nil {
			text += fmt.Sprintf(" hides %d", f.Hides.Line)
		}
		fields = append(fields, text)
	}
	return fields, wrong
}

func TestMergeKeys(t *testing.T) {
	for sentence, tt := range map[string]struct{ in, fields, wrong string }{
		"own fields win, wherever the merge key stands": {
			"a: &a {x: 1, y: 2}\nb:\n  y: 3\n  <<: *a\n", "y=3@3, x=1@1 merged", ""},
		"an earlier merge wins over a later one": {
			"a: &a {x: 1}\nc: &c {x: 2, y: 2}\nb: {<<: [*a, *c]}\n", "x=1@1 merged, y=2@2 merged", ""},
		"a merge of a merge": {
			"a: &a {x: 1}\nc: &c {<<: *a, y: 2}\nb: {<<: *c, z: 3}\n", "z=3@3, y=2@2 merged, x=1@1 merged", ""},
		"a mapping written in place": {
			"b: {<<: {x: 1}, y: 2}\n", "y=2@1, x=1@1 merged", ""},
		"a list that an alias names": {
			"a: &a [{x: 1}, {x: 2}]\nb: {<<: *a}\n", "x=1@1 merged", ""},
		"a value that is an alias": {
			"a: &a 5\nc: &c {x: *a}\nb: {<<: *c}\n", "x=5@1 merged", ""},
		"null of its own wins": {
			"a: &a {x: 1}\nb: {<<: *a, x: null}\n", "x=null@2", ""},
		"own fields that are there twice are both returned, merged ones once": {
			"a: &a {x: 1, x: 2}\nb: {<<: *a, y: 1, y: 2}\n", "y=1@2, y=2@2, x=1@1 merged", ""},
		"a mapping hides the merged one": {
			"a: &a {x: {p: 1}}\nb:\n  <<: *a\n  x: {q: 1}\n", "x=@4 hides 1", ""},
		"unless it merges that itself": {
			"a: &a {x: &x {p: 1}}\nb:\n  <<: *a\n  x: {<<: *x, q: 1}\n", "x=@4", ""},
		"a merge key in quotes is a name like others": {
			"b: {\"<<\": 1}\n", "<<=1@1", ""},
		"two merge keys": {
			"a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "x=1@1 merged", "line 4: << is there twice, here and in line 3"},
		"a merge of a text": {
			"a: &a 5\nb: {<<: *a, x: 1}\n", "x=1@2", "line 2: << merges a mapping, or a list of them"},
		"a merge of nothing": {
			"b: {<<: , x: 1}\n", "x=1@1", "line 1: << merges a mapping"},
		"a list with a text in it": {
			"a: &a {y: 1}\nb: {<<: [*a, 5], x: 1}\n", "x=1@2, y=1@1 merged", "line 2: << merges a mapping"},
		"a mapping that merges itself": {
			"b: &b {<<: *b, x: 1}\n", "x=1@1", "line 1: the mapping is merged into itself"},
		"two that merge each other": {
			"b: &b {x: 1, <<: {<<: *b, y: 2}}\n", "x=1@1, y=2@1 merged", "line 1: the mapping is merged into itself"},
	} {
		t.Run(sentence, func(t *testing.T) {
			fields, wrong := fieldsOf(t, tt.in, "b")
			if got := strings.Join(fields, ", "); got != tt.fields {
				t.Errorf("fields %s, want %s", got, tt.fields)
			}
			if got := strings.Join(wrong, ", "); !strings.HasPrefix(got, tt.wrong) || (got == "") != (tt.wrong == "") || len(wrong) > 1 {
				t.Errorf("wrong: %q, want %q", got, tt.wrong)
			}
		})
	}
}

// What a small file can ask for is bounded, in time and in memory.
func TestMergesAreBounded(t *testing.T) {
	laughs := "a0: &a0 {k0: 1, l0: 1}\n"
	for i := 1; i < 50; i++ {
		laughs += fmt.Sprintf("a%d: &a%d {<<: [%s*a%d], k%d: 1}\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1, i)
	}
	chain := "a0: &a0 {k0: 1}\n"
	for i := 1; i < 5000; i++ {
		chain += fmt.Sprintf("a%d: &a%d {<<: *a%d, k%d: 1}\n", i, i, i-1, i)
	}
	var wide strings.Builder
	wide.WriteString("a: &a {")
	for i := range 2000 {
		fmt.Fprintf(&wide, "k%d: 1, ", i)
	}
	wide.WriteString("}\nb:\n")
	for range 2000 {
		wide.WriteString("- {<<: *a}\n")
	}
	for sentence, tt := range map[string]struct{ text, wrong string }{
		"a billion laughs are few fields": {laughs + "b: {<<: *a49}\n", ""},
		"a long chain":                    {chain + "b: {<<: *a4999}\n", "more than 64 mappings are merged into one another"},
		"many fields, many times":         {wide.String(), "more than 250000 fields"},
	} {
		start := time.Now()
		var wrong []string
		d, err := Read([]byte(tt.text), func(_ *yaml.Node, problem string) { wrong = append(wrong, problem) })
		if err != nil {
			t.Fatal(err)
		}
		top := d.Fields(d.Root)
		b := top[len(top)-1].Value
		for _, n := range append([]*yaml.Node{b}, b.Content...) {
			if n.Kind == yaml.MappingNode {
				d.Fields(n)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", sentence, took)
		}
		if len(wrong) > 1 || strings.Join(wrong, "") != "" && tt.wrong == "" || tt.wrong != "" && !strings.Contains(strings.Join(wrong, ""), tt.wrong) {
			t.Errorf("%s: %q, want one %q", sentence, wrong, tt.wrong)
		}
		if d.looked > mostMerged+2001 {
			t.Errorf("%s: %d fields looked at", sentence, d.looked)
		}
	}
}

func TestReadTakesOneDocument(t *testing.T) {
	for sentence, tt := range map[string]struct{ in, want string }{
		"nothing":                                     {"", "nil"},
		"comments alone":                              {"# a\n", "nil"},
		"begun with ---":                              {"---\na: 1\n", "a"},
		"ended with ---":                              {"a: 1\n---\n", "a"},
		"ended with ...":                              {"a: 1\n...\n", "a"},
		"a comment, ---, then it":                     {"# a\n---\na: 1\n---\n# b\n", "a"},
		"nothing before ---":                          {"---\n---\na: 1\n", "a"},
		"two with something in them":                  {"a: 1\n---\nb: 1\n", "more than one YAML document"},
		"the second is broken":                        {"a: 1\n---\nb: [\n", "not readable as YAML: look at"},
		"a byte order mark":                           {"\ufeffa: 1\n", "a"},
		"line ends of Windows":                        {"a: 1\r\nb: 2\r\n", "a"},
		"UTF-16, as PowerShell writes":                {"\xff\xfea\x00:\x00 \x001\x00\n\x00", "a"},
		"not UTF-8":                                   {"a: 1\nb: \xff\n", "line 2 is not UTF-8"},
		"an alias without an anchor":                  {"a: 1\nb: *secretsecret\n", "unknown anchor (not shown)"},
		"a tab":                                       {"a:\n  b: 1\n\tc: 2\n", "line 3 begins with a tab, indent it with blanks"},
		"a wide colon":                                {"a: 1\nb：secretsecret\nc: 1\n", "see line 2, it has the wide sign ： (U+FF1A), write :"},
		"a wide colon in a comment is not":            {"a: 1\n# b：\nc: {\n", "look at line"},
		"curly quotes are a text to YAML":             {"a: “b”\n", "a"},
		"a key twice is not read's matter":            {"a: 1\na: 2\n", "a"},
		"a quote that a long document does not close": {"a: '" + strings.Repeat("\n", 60000), "look at line 60000"},
		"a mistake in a long document":                {strings.Repeat("a: 1\n", 5000) + "b c\nd: 1\n", "look at lines 500"},
	} {
		d, err := Read([]byte(tt.in), nil)
		got := fmt.Sprint(err)
		switch {
		case err != nil && (strings.Contains(got, "secretsecret") || strings.Contains(tt.in, "# b：") && strings.Contains(got, "wide")):
			t.Errorf("%s: %v", sentence, err)
		case err == nil && d.Root == nil:
			got = "nil"
		case err == nil:
			got = d.Root.Content[0].Value
		}
		if !strings.Contains(got, tt.want) || (err != nil) != (len(tt.want) > 3) {
			t.Errorf("%s: got %q, want %q", sentence, got, tt.want)
		}
	}
}

func TestWhatIsNotTextToYAML(t *testing.T) {
	for value, want := range map[string]string{
		`1900000112`:         "",
		`"1900000112"`:       "",
		`'0123'`:             "",
		`"1.9e+09"`:          "", // a text, whatever it says
		`wx8888888888888888`: "",
		`0123`:               `"0123" as it stands is a number to YAML; write mch_id: "0123"`,
		`00`:                 `"00" as it stands`,
		`1.9e+09`:            "the digits that are meant",
		`1e9`:                "a number",
		`0x71`:               "a number",
		`0o17`:               "a number",
		`0b11`:               "a number",
		`1900000112.0`:       "a number",
		`1_900_000_112`:      "a number",
		`+1900000112`:        "a number",
		`-1900000112`:        "a number",
		`.inf`:               "a number",
		`true`:               "yes or no",
		`2024-01-01`:         "a date",
		`!!float 1900000112`: "a number",
		`!!str 0123`:         "",
		`!mine abc`:          "no text",
		`null`:               "", // not there
		`~`:                  "",
		`[a]`:                "", // no value at all: the caller's to say
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte("mch_id: "+value+"\n"), &doc); err != nil {
			t.Fatal(err)
		}
		got := Unquoted("mch_id", doc.Content[0].Content[1])
		if (got == "") != (want == "") || !strings.Contains(got, want) || got != "" && !strings.Contains(got, "in quotes") {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func TestATemplateIsWhatIsNamedElsewhere(t *testing.T) {
	d, err := Read([]byte("x-a: 1\nused: &u {a: 1}\ndeep: [{b: &v 5}]\nnot: &w {a: 1}\nplain: {a: *v}\nb: {<<: *u}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range d.Fields(d.Root) {
		if d.IsTemplate(f) {
			got = append(got, f.Key.Value)
		}
	}
	if want := []string{"x-a", "used", "deep"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
