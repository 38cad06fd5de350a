package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/slips"
)

// Source is where settings come from. The zero Source has none: all defaults.
type Source struct {
	// Flags that were given, by the name of the setting.
	Flags map[string]string
	// Env as of os.Environ. A variable that is set to nothing counts as not set.
	Env []string
	// File is the YAML file; empty = the one that CLOSEORDER_CONFIG names, if any.
	File string
	// Merchant, if set, is the one merchant to load: of a merchants file no
	// other is returned, without a file it is the single merchant.
	Merchant string
	// Also names settings of sections that were not asked for which are checked
	// all the same.
	Also []string
	// ReadFile reads every file that a setting names; nil = os.ReadFile.
	ReadFile func(string) ([]byte, error)
}

// value is the text of one setting and where it was found.
type value struct {
	text  string
	where string
	// quoted: it stood in quotes, which something kept; text is without them.
	quoted bool
	// problem is what YAML made of it, see yamlmap.Unquoted.
	problem string
}

// found is a value as it was found. Quotes round it are taken off, so that
// what else is wrong with it is told with them; those of a password may be meant.
func found(s Setting, text, where string) value {
	if s.Name == saslPassword || s.Name == saslClientSecret {
		return value{text: text, where: where}
	}
	inner, quoted := slips.Unquote(text)
	if quoted && s.list { // "a:1","b:2"
		inner = strings.NewReplacer(`"`, "", "'", "", "`", "").Replace(inner)
	}
	return value{text: inner, where: where, quoted: quoted}
}

// Default returns the Config of defaults alone: no merchant, no secret.
func Default() Config {
	c, err := Load(Source{}, Connection, TopicNames, Work, Logging)
	if err != nil {
		panic("config: a default: " + err.Error())
	}
	return c
}

// Load reads all settings and checks those of the sections asked for, all of
// them when none is given. A setting of another section may be wrong or
// missing, and no file that only it names is read: whoever follows outcomes
// needs no API key.
//
// The error, if any, is of type [Mistakes]; the Config is usable only without one.
func Load(from Source, sections ...Section) (Config, error) {
	if len(sections) == 0 {
		sections = Everything()
	}
	if from.ReadFile == nil {
		from.ReadFile = os.ReadFile
	}
	l := loader{Source: from, sections: sections, values: map[string]value{}, empty: map[string]bool{}}
	l.settings = table(&l.config)
	for _, s := range l.settings {
		l.values[s.Name] = value{text: s.Default}
	}
	l.file()
	l.environment()
	l.flags()
	l.parse()
	// What is missing or does not fit may stand in a file that was not read.
	if !l.unread {
		l.checkKafka()
		l.checkTopics()
		l.checkGateway()
		l.loadMerchants()
		l.checkConsole()
	}
	if len(l.mistakes) > 0 {
		// Those of unknown settings come first.
		rank := func(m Mistake) int { return l.index(m.Setting) }
		slices.SortStableFunc(l.mistakes, func(a, b Mistake) int { return rank(a) - rank(b) })
		for _, doubt := range l.doubts {
			l.mistakes = append(l.mistakes, Mistake{Problem: doubt, Doubt: true})
		}
		return Config{}, l.mistakes
	}
	return l.config, nil
}

// read reads a file. Its error names the whole path, as it may not be clear
// what a relative one was taken from.
func (l *loader) read(name string) ([]byte, error) {
	data, err := l.ReadFile(name)
	return data, fromHere(err)
}

// fromHere makes the path in an error of a file an absolute one.
func fromHere(err error) error {
	broken, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return err
	}
	if path, failed := filepath.Abs(broken.Path); failed == nil {
		return &fs.PathError{Op: broken.Op, Path: path, Err: broken.Err}
	}
	return broken
}

type loader struct {
	Source
	sections []Section
	settings []Setting
	values   map[string]value
	empty    map[string]bool // variables that are there and set to nothing
	config   Config
	mistakes Mistakes
	doubts   []string // those of the warnings that may be why something is wrong
	unread   bool     // the file could not be read
}

func (l *loader) environment() {
	known := map[string]Setting{EnvFile: {}}
	for _, s := range l.settings {
		known[s.Env()] = s
	}
	names := slices.Sorted(maps.Keys(known))
	for _, entry := range l.Env {
		variable, text, _ := strings.Cut(entry, "=")
		s, ok := known[variable]
		switch {
		case text == "":
			l.empty[variable] = true
		case !ok:
			l.unknownVariable(variable, names)
		case s.Name != "":
			l.values[s.Name] = found(s, text, variable)
			l.empty[variable] = false // the last one counts
		}
	}
	slices.Sort(l.config.Warnings)
	slices.Sort(l.doubts)
}

// doubt warns of something that may be why something else is wrong.
func (l *loader) doubt(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.config.Warnings = append(l.config.Warnings, text)
	l.doubts = append(l.doubts, text)
}

// notSettings are the variables with our prefix that are for others: what
// tests read, and what Kubernetes sets in every pod for services whose name
// begins with ours.
var notSettings = regexp.MustCompile(`^CLOSEORDER_((AUDIT|CHAOS|CRASH|HELPER|REQUIRE|SIM|TEST)_\w+|(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

// unknownVariable warns of a variable that sets nothing, also of one whose
// prefix is misspelt or in small letters. It is no mistake by itself: other
// programs may share the environment.
func (l *loader) unknownVariable(variable string, known []string) {
	ours := strings.HasPrefix(variable, EnvPrefix)
	// A line of a shell's file, read as Docker and systemd do.
	upper := strings.TrimPrefix(strings.ToUpper(variable), "EXPORT ")
	upper = strings.NewReplacer("-", "_", ".", "_").Replace(upper)
	limit := 3
	if !ours && !strings.HasPrefix(upper, EnvPrefix) {
		if limit = 2; !strings.Contains(upper, "CLOSE") && !strings.Contains(upper, "ORDER") {
			return
		}
	}
	near := slips.Near(upper, known, limit)
	text := fmt.Sprintf("environment variable %s is not known", variable)
	switch {
	case near != "":
		text += "; did you mean " + near + "?"
	case !ours || notSettings.MatchString(variable):
		return
	}
	l.doubt("%s", text)
}

func (l *loader) flags() {
	for _, s := range l.settings {
		if text, ok := l.Flags[s.Name]; ok {
			l.values[s.Name] = found(s, text, "--"+s.Flag())
		}
	}
	if l.Merchant != "" {
		l.values["mch_id"] = value{text: l.Merchant, where: "--mch-id"}
	}
}

func (l *loader) parse() {
	for _, s := range l.settings {
		v := l.values[s.Name]
		switch {
		case !v.quoted:
		case v.where == s.Env():
			l.wrong(s.Name, "is in quotes, leave them out: nothing takes them off on the way here (Docker's --env-file keeps them)")
		default:
			l.wrong(s.Name, "has quotes in its value, leave them out")
		}
		if v.where == s.Env() && strings.Contains(v.text, " #") {
			l.doubt("%s (%s) has a # in it, and what stands behind it is part of the value: Docker's --env-file knows no comments behind a value", s.Name, v.where)
		}
		if s.parse == nil || v.where == "" && v.text == "" {
			continue
		}
		err := s.parse(v.text)
		switch {
		case err == nil:
		case !s.Secret && s.Name != "gateway.proxy" && slips.Wide(v.text) != "" && !strings.Contains(err.Error(), slips.Wide(v.text)):
			l.wrong(s.Name, "%v; %s", err, slips.Wide(v.text))
		default:
			l.wrong(s.Name, "%v", err)
		}
	}
}

// text is what a setting was set to, its default if it was not.
func (l *loader) text(name string) string { return strings.TrimSpace(l.values[name].text) }

// given reports whether a setting was set to something, other than by default.
func (l *loader) given(name string) bool {
	v := l.values[name]
	return v.where != "" && strings.TrimSpace(v.text) != ""
}

// index is where a setting stands in the table, -1 for one that nobody knows.
func (l *loader) index(name string) int {
	return slices.IndexFunc(l.settings, func(s Setting) bool { return s.Name == name })
}

// wrong notes a mistake, unless nobody asked for that setting or its section.
func (l *loader) wrong(name, format string, args ...any) {
	if !l.checked(name) {
		return
	}
	l.mistakes = append(l.mistakes, Mistake{Setting: name, Where: l.values[name].where, Problem: fmt.Sprintf(format, args...)})
}

// howTo says how a setting can be set, for messages.
func (l *loader) howTo(name string) string {
	s := l.settings[l.index(name)]
	variable := s.Env()
	if l.empty[variable] {
		variable += " (which is there, but empty)"
	}
	if s.Secret {
		return fmt.Sprintf("%s or %s in the file", variable, s.Name)
	}
	return fmt.Sprintf("--%s, %s or %s in the file", s.Flag(), variable, s.Name)
}
