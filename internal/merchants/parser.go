package merchants

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/slips"
	"github.com/closeorder/closeorder/internal/yamlmap"
	"github.com/closeorder/closeorder/signing"
)

var plainName = regexp.MustCompile(`^[a-z]+([_-][a-z]+)*$`)

// parser reads the file node by node: decoding into a struct would
// lose the lines, and stop at the first mistake.
type parser struct {
	dir      string
	readFile func(string) ([]byte, error)
	getenv   func(string) (string, bool)
	doc      *yamlmap.Document
	mistakes []mistake
	said     map[mistake]bool
	isWrong  map[*yaml.Node]bool // something was said about the node
}

type mistake struct {
	at   *yaml.Node
	text string
}

// Mistakes are all that is wrong with a file, each with its line, in the order
// of the file. They show no key.
type Mistakes []string

func (ms Mistakes) Error() string { return strings.Join(ms, "\n") }

// wrong notes a mistake, once: what is merged into many merchants is looked at
// as often.
func (p *parser) wrong(n *yaml.Node, format string, args ...any) {
	m := mistake{n, fmt.Sprintf(format, args...)}
	if p.said[m] {
		return
	}
	p.said[m], p.isWrong[n] = true, true
	p.mistakes = append(p.mistakes, m)
}

// parse reads a whole file. Its error is of type [Mistakes].
func (p *parser) parse(data []byte) ([]closer.Merchant, error) {
	p.said, p.isWrong = map[mistake]bool{}, map[*yaml.Node]bool{}
	doc, err := yamlmap.Read(data, func(at *yaml.Node, problem string) { p.wrong(at, "%s", problem) })
	switch {
	case err != nil:
		return nil, Mistakes{err.Error()}
	case doc.Root == nil:
		return nil, Mistakes{"the file is empty; it needs a list named merchants"}
	}
	p.doc = doc
	var list []closer.Merchant
	lines := map[string]int{}
	top := p.mapping(doc.Root, "the file", "merchants")
	if top.node("merchants") == nil && doc.Root.Kind == yaml.MappingNode {
		p.wrong(doc.Root, "a list named merchants is missing")
	}
	items := p.list(top, "merchants")
	for _, item := range items {
		m, at := p.merchant(item)
		if m.MchID != "" {
			if first, twice := lines[m.MchID]; twice {
				p.wrong(at, "merchant %s is there already, in line %d", shownID(m.MchID), first)
			} else {
				lines[m.MchID] = at.Line
			}
		}
		list = append(list, m)
	}
	if len(items) == 0 && len(p.mistakes) == 0 {
		p.wrong(doc.Root, "there is no merchant in the list")
	}
	if len(p.mistakes) == 0 {
		return list, nil
	}
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return a.at.Line - b.at.Line })
	var all Mistakes
	for _, m := range p.mistakes {
		all = append(all, fmt.Sprintf("line %d: %s", m.at.Line, m.text))
	}
	return nil, all
}

// fields are those of one mapping by name. One that is null is not there: so
// a merchant switches off what is merged into it.
type fields map[string]yamlmap.Field

// node is where a field stands, nil when it is not there.
func (f fields) node(name string) *yaml.Node { return f[name].Value }

// list returns the items of a list, none when it is not there.
func (p *parser) list(f fields, name string) []*yaml.Node {
	n := f.node(name)
	switch {
	case n == nil:
		return nil
	case n.Kind != yaml.SequenceNode:
		p.wrong(n, "%s must be a list: write its entries below it, each with - before it", name)
		return nil
	}
	return n.Content
}

// mapping returns the fields of a mapping and complains about those that are
// not among known, or are there twice. At the top of the file there may also
// be what is merged elsewhere.
func (p *parser) mapping(n *yaml.Node, what string, known ...string) fields {
	f := fields{}
	if n.Kind != yaml.MappingNode {
		hint := yamlmap.WideHint(n)
		if n.Kind == yaml.SequenceNode && n == p.doc.Root {
			hint = "; write merchants: above the list"
		}
		p.wrong(n, "%s must be a mapping of names to values%s", what, hint)
		return f
	}
	for _, one := range p.doc.Fields(n) {
		k := one.Key
		switch {
		case !slices.Contains(known, k.Value):
			if n == p.doc.Root && p.doc.IsTemplate(one) {
				continue
			}
			// The value is never shown, and the name only when it looks like
			// one: either may be a key in the wrong place.
			near := slips.Near(k.Value, known, min(2, len(k.Value)/3))
			name := "this"
			if near != "" || plainName.MatchString(k.Value) {
				name = k.Value
			}
			problem := fmt.Sprintf("%s is not a known name here; known are %s", name, strings.Join(known, ", "))
			if near != "" {
				problem = fmt.Sprintf("%s is not a known name here; did you mean %s?", name, near)
			}
			p.wrong(k, "%s", problem)
		case one.First != k:
			p.wrong(k, "%s is there twice", k.Value)
		case !yamlmap.IsNull(one.Value):
			f[k.Value] = one
		}
	}
	return f
}

var merchantFields = [...]string{
	"mch_id", "appid", "mode", "sub_mch_id", "sub_appid",
	"key", "key_file", "key_env", "next_key", "next_key_file", "next_key_env",
	"sign_type", "rate", "hosts",
}

// merchant reads one item of the list; the node is where its mch_id stands.
func (p *parser) merchant(n *yaml.Node) (closer.Merchant, *yaml.Node) {
	n = yamlmap.Resolve(n)
	f := p.mapping(n, "a merchant", merchantFields[:]...)
	at := n
	if id := f.node("mch_id"); id != nil {
		at = id
	}
	m := closer.Merchant{
		MchID:    p.id(f, "mch_id", CheckMchID),
		AppID:    p.id(f, "appid", CheckAppID),
		SubMchID: p.id(f, "sub_mch_id", CheckMchID),
		SubAppID: p.id(f, "sub_appid", CheckAppID),
	}
	if n.Kind != yaml.MappingNode {
		return m, at
	}
	switch mode := p.text(f, "mode"); mode {
	case "", "direct":
	case "institution":
		m.Institution = true
	default:
		p.wrong(f.node("mode"), "mode is %.40q, not direct or institution", mode)
	}
	t, err := signing.ParseType(p.text(f, "sign_type"))
	if err != nil {
		p.wrong(f.node("sign_type"), "sign_type: %v", err)
	}
	m.SignType = t
	m.Rate = p.rate(f)
	m.Hosts = p.hosts(f)
	if at == n {
		p.wrong(at, "mch_id is missing")
	}
	if !m.Institution && (m.SubMchID != "" || m.SubAppID != "") {
		p.wrong(at, "sub_mch_id and sub_appid belong to institution mode")
	}
	before := len(p.mistakes)
	if next, ok := p.key(f, "next_key"); ok {
		m.Keys = append(m.Keys, next)
	}
	if key, ok := p.key(f, "key"); ok {
		m.Keys = append(m.Keys, key)
	} else if len(p.mistakes) == before {
		p.wrong(at, "merchant %q has no key: set key, key_file or key_env", shownID(m.MchID))
	}
	return m, at
}

// text returns a scalar, "" when it is not there.
func (p *parser) text(f fields, name string) string {
	n := f.node(name)
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode:
		p.wrong(n, "%s must be a single value", name)
		return ""
	}
	if _, quoted := slips.Unquote(n.Value); quoted {
		p.wrong(n, "%s has quotes in its value, leave them out: those of YAML stand around it alone", name)
		return ""
	}
	return n.Value
}

// id returns an identity, "" when it is not there or not as it must be.
// Without quotes YAML takes 0123, 1_000 and 1e9 for numbers: not the text meant.
func (p *parser) id(f fields, name string, check func(string) error) string {
	n := f.node(name)
	if n == nil {
		return ""
	}
	text := p.text(f, name)
	if p.isWrong[n] {
		return ""
	}
	if problem := yamlmap.Unquoted(name, n); problem != "" {
		p.wrong(n, "%s %s", name, problem)
		return ""
	}
	if err := check(text); err != nil {
		p.wrong(n, "%s %v", name, err)
		return ""
	}
	return text
}

func (p *parser) rate(f fields) float64 {
	n := f.node("rate")
	if n == nil {
		return 0
	}
	rate, err := strconv.ParseFloat(p.text(f, "rate"), 64)
	if p.isWrong[n] {
		return 0
	}
	if err != nil {
		rate = -1
	}
	if err := closer.CheckRate(rate); err != nil {
		p.wrong(n, "rate %v", err)
		return 0
	}
	return rate
}

func (p *parser) hosts(f fields) []string {
	items := p.list(f, "hosts")
	list := make([]string, len(items))
	for i, item := range items {
		if item = yamlmap.Resolve(item); item.Kind == yaml.ScalarNode {
			list[i] = item.Value
		}
	}
	hosts, problems := ParseHosts(list)
	// YAML tears a password with a comma in it into several entries.
	torn := slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "@") })
	for i, item := range items {
		switch err := problems[i]; {
		case err == nil:
		case torn && !strings.Contains(list[i], "@"):
			p.wrong(item, "host (not shown beside one with an @) must be a plain base URL")
		default:
			p.wrong(item, "host %v", err)
		}
	}
	return hosts
}

// key reads one key from whichever of its three sources is given.
func (p *parser) key(f fields, name string) (key signing.Key, ok bool) {
	given := slices.DeleteFunc([]string{name, name + "_file", name + "_env"}, func(source string) bool { return f.node(source) == nil })
	switch len(given) {
	case 0:
		return key, false
	case 1:
	default:
		first, second := f[given[0]], f[given[1]]
		at, remedy := second.Value, "leave one"
		switch {
		case first.Merged && !second.Merged:
			remedy = fmt.Sprintf("%s is merged from line %d, switch it off with %s: null", given[0], first.Key.Line, given[0])
		case second.Merged && !first.Merged:
			at = first.Value
			remedy = fmt.Sprintf("%s is merged from line %d, switch it off with %s: null", given[1], second.Key.Line, given[1])
		}
		p.wrong(at, "%s are both there: %s", strings.Join(given, " and "), remedy)
		return key, false
	}
	source := given[0]
	at, value := f.node(source), p.text(f, source)
	switch {
	case p.isWrong[at]:
	case value == "":
		p.wrong(at, "%s is empty", source)
	default:
		var err error
		if key, err = p.readKey(source[len(name):], value); err != nil {
			p.wrong(at, "%s: %v", source, err)
		}
	}
	return key, !key.IsZero()
}

// readKey reads a key from where a field with the ending "", _file or _env
// says that it is.
func (p *parser) readKey(ending, value string) (signing.Key, error) {
	switch ending {
	case "_file":
		path := value
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.dir, path)
		}
		data, err := p.readFile(path)
		switch {
		case err != nil && slips.LooksLikeKey(value):
			return signing.Key{}, errors.New("there is no such file; this looks like a key itself (not shown), which is written without _file")
		case err != nil:
			return signing.Key{}, err
		}
		return signing.ReadKey(data)
	case "_env":
		text, ok := p.getenv(value)
		switch {
		case !ok && slips.LooksLikeKey(value):
			return signing.Key{}, errors.New("there is no such variable; this looks like a key itself (not shown), which is written without _env")
		case !ok:
			return signing.Key{}, fmt.Errorf("the environment has no variable %s", value)
		case text == "":
			return signing.Key{}, fmt.Errorf("the variable %s is there, but empty", value)
		}
		return signing.NewKey(text)
	}
	return signing.NewKey(value)
}
