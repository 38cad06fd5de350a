package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

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
	fail := func(where, format string, args ...any) {
		l.unread = true
		l.mistakes = append(l.mistakes, Mistake{Setting: "config", Where: where, Problem: fmt.Sprintf(format, args...)})
	}
	data, err := l.read(name)
	if err != nil {
		fail(by, "%v", err)
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // nothing but comments
	case err != nil:
		fail(name, "not readable as YAML: %s", whereBroken(data, err))
		return
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		fail(name, "more than one YAML document; one is expected")
		return
	}
	w := walker{file: filepath.Base(name), dir: filepath.Dir(name), loader: l}
	w.mapping("", doc.Content[0])
}

// yamlLine is all that is kept of a YAML error: its text may quote the
// document, which may hold a password.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// mostTried bounds the lines of a document in which a mistake is searched.
const mostTried = 2000

// whereBroken names the lines to look at. A parser complains where it cannot
// go on, or where the mapping began that it was in, and some complaints count
// from 0. So the mistake is searched: the last beginning of the document that
// can be read ends at the mistake or one line before it.
func whereBroken(data []byte, err error) string {
	lines := bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) > mostTried {
		return "it has a mistake"
	}
	good := len(lines) - 1
	for good > 0 && !isYAML(bytes.Join(lines[:good], nil)) {
		good--
	}
	from, to := max(good, 1), min(good+1, len(lines))
	// What spans lines, such as a bracket, cannot be read before it ends: the
	// mistake may be further down.
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > to {
			to = min(n+1, len(lines))
		}
	}
	if from == to {
		return fmt.Sprintf("look at line %d", from)
	}
	return fmt.Sprintf("look at lines %d to %d", from, to)
}

func isYAML(data []byte) bool {
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(new(yaml.Node))
	return err == nil || errors.Is(err, io.EOF)
}

// walker goes through the mappings of one document.
type walker struct {
	file string
	dir  string // where it is
	*loader
}

func (w walker) wrong(path string, node *yaml.Node, format string, args ...any) {
	w.mistakes = append(w.mistakes, Mistake{Setting: path, Where: w.where(node), Problem: fmt.Sprintf(format, args...)})
}

func (w walker) where(node *yaml.Node) string { return w.file + ":" + strconv.Itoa(node.Line) }

func (w walker) mapping(path string, node *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case isNull(node):
		return
	case node.Kind != yaml.MappingNode:
		at := path
		if at == "" {
			at = "config"
		}
		w.wrong(at, node, "is not a mapping of settings; write them as name: value below it")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, val := node.Content[i], node.Content[i+1]
		child := key.Value
		if path != "" {
			child = path + "." + key.Value
		}
		if line, twice := seen[child]; twice {
			w.wrong(child, key, "is set twice, here and in line %d; leave one out", line)
			continue
		}
		seen[child] = key.Line
		w.entry(child, key, val)
	}
}

func (w walker) entry(path string, key, val *yaml.Node) {
	if val.Kind == yaml.AliasNode {
		val = val.Alias
	}
	group := false
	for _, s := range w.settings {
		if s.Name == path {
			w.setting(s, val)
			return
		}
		group = group || strings.HasPrefix(s.Name, path+".")
	}
	if group {
		w.mapping(path, val)
		return
	}
	names := make([]string, len(w.settings))
	for i, s := range w.settings {
		names[i] = s.Name
	}
	if near := Nearest(path, names, 3); near != "" {
		w.wrong(path, key, "unknown setting; did you mean %s?", near)
	} else {
		w.wrong(path, key, "unknown setting")
	}
}

func (w walker) setting(s Setting, node *yaml.Node) {
	switch {
	case isNull(node):
		return
	case node.Kind == yaml.ScalarNode:
		text := node.Value
		// A file names its neighbours, wherever it is read from.
		if path := strings.TrimSpace(text); s.namesFile() && path != "" && !filepath.IsAbs(path) {
			text = filepath.Join(w.dir, path)
		}
		w.values[s.Name] = value{text: text, where: w.where(node)}
	case node.Kind == yaml.SequenceNode:
		items := make([]string, 0, len(node.Content))
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				w.wrong(s.Name, item, "an entry of the list is not a plain value")
				return
			}
			items = append(items, item.Value)
		}
		w.values[s.Name] = value{text: strings.Join(items, ","), where: w.where(node)}
	default:
		w.wrong(s.Name, node, "is a mapping, but takes a value")
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
