package closer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/closeorder/closeorder/signing"
)

// maxMerchantsFile bounds what is read of a merchants file and of a key file:
// a path to the wrong thing must not fill the memory.
const maxMerchantsFile = 16 << 20

// LoadMerchants reads a file of merchants, in the order of the file. The
// error names every mistake with its line; it never shows a key.
//
//	merchants:
//	  - mch_id: "1900000109"
//	    appid: wx8888888888888888      # default for orders that bring none
//	    key_file: keys/1900000109      # or key, or key_env
//	    next_key_env: NEXT_KEY         # a second key while the key is changed
//	    sign_type: HMAC-SHA256         # default MD5
//	    rate: 100                      # calls per second, default the worker's
//	    hosts: [https://api.mch.weixin.qq.com]
//	  - mch_id: "1900000111"
//	    mode: institution              # default direct
//	    key_env: KEY_1900000111
//	    sub_mch_id: "1900000112"       # defaults for orders that bring none
//	    sub_appid: wx1234567890123456
//
// A relative key_file is taken from the folder of the merchants file. White
// space at the end of a key file is dropped, so that an editor's newline does
// no harm.
//
// While a key is being changed both stand in the file: calls are signed with
// next_key first and, as long as the gateway refuses that, with key; replies
// count under either. When the change is through, next_key becomes key.
func LoadMerchants(path string) ([]Merchant, error) {
	list, _, err := loadMerchants(path)
	return list, err
}

// ParseMerchants is LoadMerchants for a file that is already in memory. dir
// is the folder that a relative key_file is taken from.
func ParseMerchants(data []byte, dir string) ([]Merchant, error) {
	p := merchantsParser{dir: dir, readFile: readBounded, getenv: os.LookupEnv}
	return p.parse(data)
}

// loadMerchants also returns everything that was read, so that a change can
// be told from a touch.
func loadMerchants(path string) ([]Merchant, *fingerprint, error) {
	seen := newFingerprint()
	data, err := seen.read(path)
	if err != nil {
		return nil, seen, fmt.Errorf("merchants file: %w", err)
	}
	p := merchantsParser{dir: filepath.Dir(path), readFile: seen.read, getenv: os.LookupEnv}
	list, err := p.parse(data)
	if err != nil {
		return nil, seen, fmt.Errorf("merchants file %s: %w", path, err)
	}
	return list, seen, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMerchantsFile+1))
	if err == nil && len(data) > maxMerchantsFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxMerchantsFile)
	}
	return data, err
}

var (
	// quoted is where a YAML error shows a piece of the file.
	quoted    = regexp.MustCompile("'[^']*'|`[^`]*`|\"[^\"]*\"")
	plainName = regexp.MustCompile(`^[a-z]+([_-][a-z]+)*$`)
)

// merchantsParser reads the file node by node: decoding into a struct would
// lose the lines, and stop at the first mistake.
type merchantsParser struct {
	dir      string
	readFile func(string) ([]byte, error)
	getenv   func(string) (string, bool)
	mistakes []mistake
}

type mistake struct {
	at   *yaml.Node
	text string
}

func (p *merchantsParser) wrong(n *yaml.Node, format string, args ...any) {
	p.mistakes = append(p.mistakes, mistake{n, fmt.Sprintf(format, args...)})
}

// isWrong reports whether something was said about the node already.
func (p *merchantsParser) isWrong(n *yaml.Node) bool {
	return slices.ContainsFunc(p.mistakes, func(m mistake) bool { return m.at == n })
}

// err is every mistake in the order of the file, nil when there is none.
func (p *merchantsParser) err() error {
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return a.at.Line - b.at.Line })
	var errs []error
	for _, m := range p.mistakes {
		errs = append(errs, fmt.Errorf("line %d: %s", m.at.Line, m.text))
	}
	return errors.Join(errs...)
}

func (p *merchantsParser) parse(data []byte) ([]Merchant, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return nil, errors.New("the file is empty; it needs a list named merchants")
	case err != nil:
		return nil, errors.New(quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "(not shown)"))
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("there is more than one YAML document in the file")
	}
	var list []Merchant
	lines := map[string]int{}
	top := p.mapping(doc.Content[0], "the file", "merchants")
	items := p.list(doc.Content[0], top, "merchants")
	for _, item := range items {
		m, at := p.merchant(item)
		if m.MchID != "" {
			if first, twice := lines[m.MchID]; twice {
				p.wrong(at, "merchant %s is there already, in line %d", m.MchID, first)
			} else {
				lines[m.MchID] = at.Line
			}
		}
		list = append(list, m)
	}
	if len(items) == 0 && len(p.mistakes) == 0 {
		p.wrong(doc.Content[0], "there is no merchant in the list")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return list, nil
}

// list returns the items of a list that must be there.
func (p *merchantsParser) list(parent *yaml.Node, fields map[string]*yaml.Node, name string) []*yaml.Node {
	n := fields[name]
	switch {
	case n == nil:
		if parent.Kind == yaml.MappingNode {
			p.wrong(parent, "a list named %s is missing", name)
		}
		return nil
	case n.Kind != yaml.SequenceNode:
		p.wrong(n, "%s must be a list", name)
		return nil
	}
	return n.Content
}

// mapping returns the fields of a mapping and complains about those that are
// not among known, or are there twice.
func (p *merchantsParser) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "%s must be a mapping of names to values", what)
		return fields
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, k.Value):
			// The value is never shown, and the name only when it looks like
			// one: either may be a key in the wrong place.
			name := "this"
			if plainName.MatchString(k.Value) {
				name = k.Value
			}
			p.wrong(k, "%s is not a known name here; known are %s", name, strings.Join(known, ", "))
		case fields[k.Value] != nil:
			p.wrong(k, "%s is there twice", k.Value)
		default:
			if v.Kind == yaml.AliasNode {
				v = v.Alias
			}
			fields[k.Value] = v
		}
	}
	return fields
}

var merchantFields = [...]string{
	"mch_id", "appid", "mode", "sub_mch_id", "sub_appid",
	"key", "key_file", "key_env", "next_key", "next_key_file", "next_key_env",
	"sign_type", "rate", "hosts",
}

// merchant reads one item of the list; the node is where its mch_id stands.
func (p *merchantsParser) merchant(n *yaml.Node) (Merchant, *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	f := p.mapping(n, "a merchant", merchantFields[:]...)
	at := n
	if f["mch_id"] != nil {
		at = f["mch_id"]
	}
	m := Merchant{
		MchID:    p.text(f, "mch_id"),
		AppID:    p.text(f, "appid"),
		SubMchID: p.text(f, "sub_mch_id"),
		SubAppID: p.text(f, "sub_appid"),
	}
	if n.Kind != yaml.MappingNode {
		return m, at
	}
	switch mode := p.text(f, "mode"); mode {
	case "", "direct":
	case "institution":
		m.Institution = true
	default:
		p.wrong(f["mode"], "mode is %.40q, not direct or institution", mode)
	}
	t, err := signing.ParseType(p.text(f, "sign_type"))
	if err != nil {
		p.wrong(f["sign_type"], "sign_type: %v", err)
	}
	m.SignType = t
	if v := f["rate"]; v != nil {
		m.Rate, err = strconv.ParseFloat(p.text(f, "rate"), 64)
		if err != nil || m.Rate <= 0 {
			p.wrong(v, "rate must be a positive number of calls per second")
			m.Rate = 0
		}
	}
	if f["hosts"] != nil {
		for _, h := range p.list(n, f, "hosts") {
			if h.Kind == yaml.AliasNode {
				h = h.Alias
			}
			url, err := parseHost(h.Value)
			if err != nil {
				p.wrong(h, "%v", err)
				continue
			}
			m.Hosts = append(m.Hosts, url)
		}
	}
	checked := m
	if p.isWrong(f["mch_id"]) {
		checked.MchID = "said already"
	}
	for _, err := range checked.problems() {
		p.wrong(at, "%v", err)
	}
	before := len(p.mistakes)
	if next, ok := p.key(n, f, "next_key"); ok {
		m.Keys = append(m.Keys, next)
	}
	if key, ok := p.key(n, f, "key"); ok {
		m.Keys = append(m.Keys, key)
	} else if len(p.mistakes) == before {
		p.wrong(at, "merchant %q has no key: set key, key_file or key_env", m.MchID)
	}
	return m, at
}

// text returns a scalar, "" when it is not there or null.
func (p *merchantsParser) text(fields map[string]*yaml.Node, name string) string {
	n := fields[name]
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode:
		p.wrong(n, "%s must be a single value", name)
		return ""
	case n.Tag == "!!null":
		return ""
	case n.Tag != "!!str" && name == "mch_id" && !digits(n.Value):
		// Unquoted, YAML reads 0123 and 1_000 as numbers: not the digits meant.
		p.wrong(n, "%s must be in quotes", name)
		return ""
	}
	return n.Value
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// key reads one key from whichever of its three sources is given.
func (p *merchantsParser) key(n *yaml.Node, fields map[string]*yaml.Node, name string) (signing.Key, bool) {
	var given []string
	for _, source := range []string{name, name + "_file", name + "_env"} {
		if fields[source] != nil {
			given = append(given, source)
		}
	}
	switch len(given) {
	case 0:
		return signing.Key{}, false
	case 1:
	default:
		p.wrong(fields[given[1]], "%s are both there: leave one", strings.Join(given, " and "))
		return signing.Key{}, false
	}
	source := given[0]
	at, value := fields[source], p.text(fields, source)
	if value == "" {
		if !p.isWrong(at) {
			p.wrong(at, "%s is empty", source)
		}
		return signing.Key{}, false
	}
	switch source {
	case name + "_file":
		path := value
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.dir, path)
		}
		data, err := p.readFile(path)
		if err != nil {
			p.wrong(at, "%s: %v", source, err)
			return signing.Key{}, false
		}
		value = strings.TrimRight(string(data), " \t\r\n")
	case name + "_env":
		var ok bool
		variable := value
		if value, ok = p.getenv(variable); !ok || value == "" {
			p.wrong(at, "%s: the environment has no variable %s", source, variable)
			return signing.Key{}, false
		}
	}
	key, err := signing.NewKey(value)
	if err != nil {
		p.wrong(at, "%s: %v", source, err)
		return signing.Key{}, false
	}
	return key, true
}
