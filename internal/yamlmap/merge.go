package yamlmap

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Field is one field of a mapping.
type Field struct {
	// Key and Value are where they stand in the file, in the mapping itself or
	// in one that is merged into it. Value is no alias.
	Key, Value *yaml.Node
	// First is Key, or where the same name stands above it in the same mapping:
	// then the field is there twice.
	First *yaml.Node
	// Merged: it came by a merge key.
	Merged bool
	// Hides is the mapping under the same name that would have been merged, when
	// the field is a mapping of its own that merges nothing: nothing of it is left.
	Hides *yaml.Node
}

// Bounds of what merge keys may ask for. A small file can name as much as a
// huge one by merging what merges (the "billion laughs"): a mapping is worked
// out once, and no more than mostMerged fields are looked at in a document.
const (
	mostMerged = 250_000
	deepest    = 64 // mappings merged into one another
)

// merger carries out merge keys (https://yaml.org/type/merge.html): the
// fields of a mapping win over those merged into it, an earlier merge over a
// later one. Whole fields are merged, not what is within them.
type merger struct {
	wrong  func(at *yaml.Node, problem string)
	done   map[*yaml.Node][]Field
	busy   map[*yaml.Node]bool // under way
	looked int
}

// Fields returns the fields of a mapping: its own in their order, also those
// that are there twice, then the merged ones.
func (m *merger) Fields(n *yaml.Node) []Field {
	if fields, known := m.done[n]; known {
		return fields
	}
	m.busy[n] = true
	defer delete(m.busy, n)
	var fields []Field
	var merge *yaml.Node
	at := map[string]int{} // where in fields
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag != "!!merge":
			first := k
			if i, twice := at[k.Value]; twice {
				first = fields[i].First
			}
			at[k.Value] = len(fields)
			fields = append(fields, Field{Key: k, Value: Resolve(v), First: first})
		case merge != nil:
			m.wrong(k, fmt.Sprintf("<< is there twice, here and in line %d; merge several with <<: [*a, *b]", merge.Line))
		default:
			merge = v
		}
	}
	for _, from := range m.merged(merge) {
		for _, f := range m.look(from) {
			i, there := at[f.Key.Value]
			switch {
			case !there:
				at[f.Key.Value] = len(fields)
				fields = append(fields, Field{Key: f.Key, Value: f.Value, First: f.Key, Merged: true})
			case f.Value.Kind == yaml.MappingNode && isPlainMapping(fields[i].Value) && fields[i].Value != f.Value:
				fields[i].Hides = f.Value
			}
		}
	}
	m.done[n] = fields
	return fields
}

// merged returns the mappings that a merge key names, in order; at is where
// it stands.
func (m *merger) merged(at *yaml.Node) (from []*yaml.Node) {
	if at == nil {
		return nil
	}
	list := []*yaml.Node{at}
	if n := Resolve(at); n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, one := range list {
		n := Resolve(one)
		if n.Kind != yaml.MappingNode {
			m.wrong(one, "<< merges a mapping, or a list of them: write <<: *name, with &name before the mapping that is meant")
			continue
		}
		from = append(from, n)
	}
	return from
}

// look returns the fields of a mapping that is merged into another one.
func (m *merger) look(n *yaml.Node) []Field {
	if m.looked > mostMerged {
		return nil // that was said
	}
	_, known := m.done[n]
	switch {
	case m.busy[n]:
		m.wrong(n, "the mapping is merged into itself")
		return nil
	case !known && len(m.busy) >= deepest:
		m.wrong(n, fmt.Sprintf("more than %d mappings are merged into one another", deepest))
		return nil
	}
	fields := m.Fields(n)
	if m.looked += 1 + len(fields); m.looked > mostMerged {
		m.wrong(n, fmt.Sprintf("the file asks for more than %d fields by merge keys; write out some of them", mostMerged))
		return nil
	}
	return fields
}

// isPlainMapping reports whether n is a mapping that has fields and merges nothing.
func isPlainMapping(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return false
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			return false
		}
	}
	return true
}
