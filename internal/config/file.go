package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/internal/slips"
	"github.com/closeorder/closeorder/internal/yamlmap"
	"go.yaml.in/yaml/v3"
)

// file reads the YAML file into values. The document is walked as nodes, not
// decoded into a struct, because a mistake must carry its line and one
// document may hold many of them.
func (l *loader) file() {
	name, by := l.File, "--config"
	if name == "" {
		by = EnvFile
		for _, entry := range l.Env {
			if text, ok := strings.CutPrefix(entry, EnvFile+"="); ok {
				name = text
			}
		}
	}
	if name == "" {
		return
	}
	inner, quoted := slips.Unquote(name)
	name = inner
	fail := func(where, format string, args ...any) {
		l.unread = true
		l.mistakes = append(l.mistakes, Mistake{Setting: "config", Where: where, Problem: fmt.Sprintf(format, args...)})
	}
	if quoted {
		fail(by, "is in quotes, leave them out")
	}
	data, err := l.read(name)
	if err != nil {
		fail(by, "%v", err)
		return
	}
	w := walker{file: filepath.Base(name), dir: filepath.Dir(name), set: map[string]*yaml.Node{}, loader: l}
	w.doc, err = yamlmap.Read(data, func(at *yaml.Node, problem string) { w.wrong("config", at, "%s", problem) })
	if err != nil {
		fail(name, "%v", err)
		return
	}
	if w.doc.Root != nil { // more than comments
		w.mapping("", w.doc.Root)
	}
}

// walker goes through the mappings of one document.
type walker struct {
	file string
	dir  string // where it is
	doc  *yamlmap.Document
	set  map[string]*yaml.Node // by the name of the setting
	*loader
}

func (w walker) wrong(path string, node *yaml.Node, format string, args ...any) {
	w.mistakes = append(w.mistakes, Mistake{Setting: path, Where: w.where(node), Problem: fmt.Sprintf(format, args...)})
}

func (w walker) where(node *yaml.Node) string { return w.file + ":" + strconv.Itoa(node.Line) }

func (w walker) mapping(path string, node *yaml.Node) {
	switch {
	case yamlmap.IsNull(node):
		return
	case node.Kind != yaml.MappingNode:
		w.unread = w.unread || path == "" // nothing in it was
		w.wrong(cmp.Or(path, "config"), node, "is not a mapping of settings; write them as name: value below it%s", yamlmap.WideHint(node))
		return
	}
	for _, f := range w.doc.Fields(node) {
		child := f.Key.Value
		if path != "" {
			child = path + "." + child
		}
		if f.First != f.Key {
			w.wrong(child, f.Key, "is set twice, here and in line %d; leave one out", f.First.Line)
			continue
		}
		if f.Hides != nil {
			w.doubt("%s (%s) hides all of what is merged from line %d: YAML merges whole fields; write <<: *name within %s to have both",
				child, w.where(f.Key), f.Hides.Line, child)
		}
		w.entry(path == "", child, f)
	}
}

func (w walker) entry(top bool, path string, f yamlmap.Field) {
	key, val := f.Key, f.Value
	if i := w.index(path); i >= 0 {
		w.setting(w.settings[i], val)
		return
	}
	var names []string // of settings and of groups
	for _, s := range w.settings {
		names = append(names, s.Name)
		for i, c := range s.Name {
			if group := s.Name[:i]; c == '.' && !slices.Contains(names, group) {
				names = append(names, group)
			}
		}
	}
	if slices.Contains(names, path) {
		w.mapping(path, val)
		return
	}
	// Somebody has written the variable, or the flag, in the place of the name.
	meant := strings.TrimLeft(strings.TrimPrefix(path, EnvPrefix), "-")
	switch near := slips.Near(meant, names, min(3, (len(meant)+1)/2)); {
	case near != "" && !strings.HasPrefix(path, "x-"):
		w.wrong(path, key, "unknown setting; did you mean %s?", near)
	case top && w.doc.IsTemplate(f): // what is merged elsewhere
	default:
		w.wrong(path, key, "unknown setting")
	}
}

func (w walker) setting(s Setting, node *yaml.Node) {
	switch {
	case yamlmap.IsNull(node):
		return
	case w.set[s.Name] != nil: // kafka.group, and group below kafka
		w.wrong(s.Name, node, "is set twice, here and in line %d; leave one out", w.set[s.Name].Line)
		return
	}
	w.set[s.Name] = node
	switch {
	case node.Kind == yaml.ScalarNode:
		v := found(s, node.Value, w.where(node))
		// A file names its neighbours, wherever it is read from.
		if path := strings.TrimSpace(v.text); (strings.HasSuffix(s.Name, "_file") || strings.HasSuffix(s.Name, "_dir")) && path != "" && !filepath.IsAbs(path) {
			v.text = filepath.Join(w.dir, path)
		}
		if s.id != nil {
			v.problem = yamlmap.Unquoted(s.Name, node)
		}
		w.values[s.Name] = v
	case node.Kind == yaml.SequenceNode && s.list:
		items := make([]string, 0, len(node.Content))
		for _, item := range node.Content {
			if item = yamlmap.Resolve(item); item.Kind != yaml.ScalarNode {
				w.wrong(s.Name, item, "an entry of the list is not a plain value")
				return
			}
			items = append(items, item.Value)
		}
		w.values[s.Name] = found(s, strings.Join(items, ","), w.where(node))
	case node.Kind == yaml.SequenceNode:
		w.wrong(s.Name, node, "is a list, but takes one value")
	default:
		w.wrong(s.Name, node, "is a mapping, but takes a value")
	}
}
