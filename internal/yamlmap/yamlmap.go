// Package yamlmap reads YAML that people write by hand, node by node, so that
// every mistake can be told with its line: one document, the fields of its
// mappings with merge keys carried out, and whether YAML took a text for
// something else. It knows the name of no field.
//
//	bytes --Read--> Document --Fields--> fields of one mapping
package yamlmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is the one YAML document of a file.
type Document struct {
	// Root is what it holds; nil when there is nothing but comments.
	Root *yaml.Node

	merger
	referred map[*yaml.Node]bool // an alias names the node, or one below it
}

// Read reads a file. Documents with nothing in them, such as --- at the end
// leaves, do not count. wrong is told of each mistake with merge keys, once.
//
// The error says in which lines to look, and shows nothing of the file, which
// may hold secrets.
func Read(data []byte, wrong func(at *yaml.Node, problem string)) (*Document, error) {
	d := &Document{referred: map[*yaml.Node]bool{}}
	d.merger = merger{wrong: wrong, done: map[*yaml.Node][]Field{}, busy: map[*yaml.Node]bool{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			if d.Root != nil {
				d.markReferred()
			}
			return d, nil
		case err != nil:
			return nil, fmt.Errorf("not readable as YAML: %s", whereBroken(data, err))
		}
		root := doc.Content[0]
		switch {
		case root.Kind == yaml.ScalarNode && root.Value == "" && root.Style == 0: // nothing between --- and ---
		case d.Root != nil:
			return nil, fmt.Errorf("more than one YAML document; one is expected, and another begins in line %d", root.Line)
		default:
			d.Root = root
		}
	}
}

// Resolve returns what an alias stands for, and any other node as it is.
func Resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// IsNull reports whether a node says that nothing is there.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// IsTemplate reports whether a field of an unknown name only holds what is
// used elsewhere: its name begins with x-, as in Compose files, or an alias of
// the document names its value or something in it.
func (d *Document) IsTemplate(f Field) bool {
	return strings.HasPrefix(f.Key.Value, "x-") || d.referred[f.Value]
}

func (d *Document) markReferred() {
	targets := map[*yaml.Node]bool{}
	each(d.Root, func(n *yaml.Node) bool {
		if n.Kind == yaml.AliasNode {
			targets[n.Alias] = true
		}
		return false
	})
	each(d.Root, func(n *yaml.Node) bool { return targets[n] }, d.referred)
}

// each visits a node and all below it, not through aliases. It returns
// whether is was true for any of them, and notes the nodes where that is so.
func each(n *yaml.Node, is func(*yaml.Node) bool, note ...map[*yaml.Node]bool) bool {
	any := is(n)
	for _, c := range n.Content {
		any = each(c, is, note...) || any
	}
	for _, m := range note {
		if any {
			m[n] = true
		}
	}
	return any
}

// Unquoted says what is wrong with a value that must be a text and that YAML
// takes for something else: nothing when it is in quotes, or a text anyway, or
// digits that are the same as number and as text. The problem is made for
// behind the name of the field.
func Unquoted(name string, n *yaml.Node) string {
	const quotes = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Kind != yaml.ScalarNode || n.Style&quotes != 0 || n.Tag == "!!str" || IsNull(n) {
		return ""
	}
	allDigits := n.Value != "" && strings.Trim(n.Value, "0123456789") == ""
	what, write := "a number", "the digits that are meant"
	switch n.Tag {
	case "!!int":
		if allDigits && n.Value[0] != '0' {
			return ""
		}
	case "!!float":
	case "!!bool":
		what = "yes or no"
	case "!!timestamp":
		what = "a date"
	default:
		what = "no text"
	}
	if allDigits {
		write = fmt.Sprintf("%s: %q", name, n.Value)
	} else {
		example := "1900000112"
		if strings.HasSuffix(name, "appid") {
			write, example = "what is meant", "wx8888888888888888"
		}
		write = fmt.Sprintf("%s, as in %s: %q", write, name, example)
	}
	return fmt.Sprintf("must be in quotes: %.40q as it stands is %s to YAML; write %s", n.Value, what, write)
}
