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
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/slips"
	"go.yaml.in/yaml/v3"
)

// Document is the one YAML document of a file.
type Document struct {
	// Root is what it holds; nil when there is nothing but comments.
	Root *yaml.Node

	merger
	aliased map[*yaml.Node]bool // what an alias stands for
}

// Read reads a file. Documents with nothing in them, such as --- at the end
// leaves, do not count. wrong is told of each mistake with merge keys, once.
//
// The error says in which lines to look, and shows nothing of the file, which
// may hold secrets.
func Read(data []byte, wrong func(at *yaml.Node, problem string)) (*Document, error) {
	d := &Document{aliased: map[*yaml.Node]bool{}}
	d.merger = merger{wrong: wrong, done: map[*yaml.Node][]Field{}, busy: map[*yaml.Node]bool{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			d.noteAliases(d.Root)
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
	return strings.HasPrefix(f.Key.Value, "x-") || d.holdsAliased(f.Value)
}

func (d *Document) noteAliases(n *yaml.Node) {
	if n == nil {
		return
	}
	if n.Kind == yaml.AliasNode {
		d.aliased[n.Alias] = true
	}
	for _, c := range n.Content {
		d.noteAliases(c)
	}
}

func (d *Document) holdsAliased(n *yaml.Node) bool {
	return d.aliased[n] || slices.ContainsFunc(n.Content, d.holdsAliased)
}

// WideHint says which sign of a scalar was typed wide where a mapping is
// wanted, to be put behind that; nothing for any other node.
func WideHint(n *yaml.Node) string {
	if wide := slips.Wide(n.Value); n.Kind == yaml.ScalarNode && wide != "" {
		return "; " + wide
	}
	return ""
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
