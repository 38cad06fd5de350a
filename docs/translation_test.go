package docs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A translated page has the sections of the English one, in the same order, each
// with a comment under its heading that names the English heading and holds the
// fingerprint of the English section that it was translated from:
//
//	## 对账
//	<!-- en: Auditing · 0123abcd -->
//
// Section by section it has the same lines, as in these pages a paragraph, an
// entry of a list and a row of a table is one line each. A line has the same
// code, figures, names and links as its English one; only its words differ.
// Whoever cannot write Chinese marks the section with two more lines:
//
//	<!-- behind: why -->
//	> 本节的中文尚未跟上英文版，请以英文版为准。
//
// Of such a section nothing but its place is compared. A release has none.

// behindNotice is what readers see of a section that is behind.
const behindNotice = "> 本节的中文尚未跟上英文版，请以英文版为准。"

// translated is a section of a page, English or Chinese.
type translated struct {
	number  int // line of the heading
	level   int
	heading string
	lines   []textLine // without the heading, the comments under it and blank lines

	// Of Chinese sections alone:
	of          string // the English heading
	fingerprint string // of the English section; "" where none is written down
	behind      string // why, where it is
	noticed     bool   // readers are told so
}

// textLine is a line of a page.
type textLine struct {
	number int
	text   string
	block  string // "" outside of code blocks, else what stands behind the fence, "text" for nothing and "indented"
}

var (
	atxHeading = regexp.MustCompile(`^(#{1,6}) (.+)$`)
	ofComment  = regexp.MustCompile(`^<!-- en: (.+?)(?: · ([0-9a-f]{8}))? -->$`)
	isBehind   = regexp.MustCompile(`^<!-- behind: (.+) -->$`)
	// languages is the line that leads from one language to the other.
	languages = regexp.MustCompile(`^(?:English \| \[简体中文\]\(\S+\)|\[English\]\(\S+\) \| 简体中文)$`)
)

// sectionsOf reads a page. What stands above its first heading is no section.
func sectionsOf(text string) (sections []translated) {
	fence, indented, blank := "", false, true
	for i, text := range strings.Split(text, "\n") {
		text = strings.TrimRight(text, " \t\r")
		number := i + 1
		if fence != "" {
			if text == "```" {
				fence = ""
			} else {
				add(sections, textLine{number, text, fence})
			}
			continue
		}
		if m := atxHeading.FindStringSubmatch(text); m != nil {
			sections = append(sections, translated{number: number, level: len(m[1]), heading: m[2]})
			indented, blank = false, true
			continue
		}
		if info, is := strings.CutPrefix(text, "```"); is {
			if fence = info; fence == "" {
				fence = "text"
			}
			// An empty block is seen, and where one block ends and the next one begins.
			add(sections, textLine{number, "```" + info, "fence"})
			continue
		}
		indented = strings.HasPrefix(text, "    ") && (blank || indented)
		blank = text == ""
		switch {
		case blank, languages.MatchString(text):
		case indented:
			add(sections, textLine{number, text, "indented"})
		default:
			add(sections, textLine{number, text, ""})
		}
	}
	for i := range sections {
		sections[i].takeComments()
	}
	return sections
}

func add(sections []translated, l textLine) {
	if len(sections) > 0 {
		last := &sections[len(sections)-1]
		last.lines = append(last.lines, l)
	}
}

// takeComments takes what a Chinese section says of itself out of its lines.
func (s *translated) takeComments() {
	s.lines = slices.DeleteFunc(s.lines, func(l textLine) bool {
		if l.block != "" {
			return false
		}
		if m := ofComment.FindStringSubmatch(l.text); m != nil {
			s.of, s.fingerprint = m[1], m[2]
			return true
		}
		if m := isBehind.FindStringSubmatch(l.text); m != nil {
			s.behind = m[1]
			return true
		}
		if l.text == behindNotice {
			s.noticed = true
			return true
		}
		return false
	})
}

// print is the fingerprint of an English section: of its words, not of the blank
// lines between them.
func (s *translated) print() string {
	hash := sha256.New()
	fmt.Fprintln(hash, s.level, s.heading)
	for _, l := range s.lines {
		fmt.Fprintln(hash, l.text)
	}
	return hex.EncodeToString(hash.Sum(nil))[:8]
}

// translation is an English page and its Chinese one, by their paths from the
// root of the repository.
type translation struct {
	enPath, zhPath string
	en, zh         []translated
}

// translations are all of them; links from one to the other go by it.
type translations []translation

// difference is what is wrong with a place of a translated page, and what to do.
type difference struct {
	path    string
	number  int
	section string // the English heading
	what    string
}

func (d difference) String() string {
	return fmt.Sprintf("%s:%d, section %q: %s", d.path, d.number, d.section, d.what)
}

// differences compares the sections of one translation, and the lines of those
// that are not behind. clean are the English headings of sections of which all
// but the fingerprint is right.
func (all translations) differences(t translation, words []term) (found []difference, clean []string) {
	say := func(number int, section, format string, args ...any) {
		found = append(found, difference{t.zhPath, number, section, fmt.Sprintf(format, args...)})
	}
	english := make(map[string]int)
	for i, s := range t.en {
		if _, twice := english[s.heading]; twice {
			say(1, s.heading, "two sections of %s have this heading: tell them apart", t.enPath)
		}
		english[s.heading] = i
	}
	seen := make(map[string]bool)
	last := -1
	for i := range t.zh {
		zh := &t.zh[i]
		if zh.of == "" {
			say(zh.number, zh.heading, "which English section this is does not stand under its heading: write <!-- en: HEADING -->")
			continue
		}
		at, exists := english[zh.of]
		switch {
		case !exists:
			say(zh.number, zh.of, "%s has no such section: it was renamed or removed; do the same here", t.enPath)
			continue
		case seen[zh.of]:
			say(zh.number, zh.of, "it is there twice: remove one")
			continue
		case at < last:
			say(zh.number, zh.of, "it stands elsewhere in %s, before %q: move it there", t.enPath, t.en[last].heading)
		}
		seen[zh.of] = true
		last = max(last, at)
		en := &t.en[at]
		if en.level != zh.level {
			say(zh.number, zh.of, "its heading is of level %d, in %s of level %d", zh.level, t.enPath, en.level)
		}
		if zh.behind != "" {
			if !zh.noticed {
				say(zh.number, zh.of, "it is marked as behind, and readers are not told so: write under the mark the line %s", behindNotice)
			}
			continue
		}
		if zh.noticed {
			say(zh.number, zh.of, "readers are told that it is behind, and no mark says why: write <!-- behind: WHY --> above that line, or remove it")
		}
		before := len(found)
		if isEnglish(zh.heading) {
			say(zh.number, zh.of, "its heading is not translated")
		}
		all.compareLines(t, en, zh, say)
		compareTerms(en, zh, words, say)
		for _, l := range zh.lines {
			if l.block == "" {
				for _, what := range slices.Concat(typography(l.text), forbidden(l.text, words)) {
					say(l.number, zh.of, "%s", what)
				}
			}
		}
		if len(found) == before {
			clean = append(clean, zh.of)
		}
		if now := en.print(); zh.fingerprint != now {
			say(zh.number, zh.of, "%s:%d has changed since this was translated, or was never compared with it: bring the Chinese section in step, then run go test ./docs -run Chinese -translated; who cannot write Chinese marks it with <!-- behind: WHY --> and the line %s", t.enPath, en.number, behindNotice)
		}
	}
	for _, en := range t.en {
		if !seen[en.heading] {
			say(1, en.heading, "it is missing, %s:%d has it: translate it, or write its heading with <!-- en: %s -->, <!-- behind: WHY --> and the line %s", t.enPath, en.number, en.heading, behindNotice)
		}
	}
	return found, clean
}

// compareLines compares a section with its English one, line by line.
func (all translations) compareLines(t translation, en, zh *translated, say func(int, string, string, ...any)) {
	above := zh.number
	for _, p := range pairs(en.lines, zh.lines) {
		switch {
		case p.zh == nil:
			say(above, zh.of, "a line is missing below this one: %s:%d %q", t.enPath, p.en.number, p.en.text)
		case p.en == nil:
			say(p.zh.number, zh.of, "a line that %s does not have: %q", t.enPath, p.zh.text)
		case kind(*p.en) != kind(*p.zh):
			say(p.zh.number, zh.of, "this is %s, and %s:%d is %s", kind(*p.zh), t.enPath, p.en.number, kind(*p.en))
			return // what follows is most likely one line off
		default:
			for _, what := range all.compareLine(t, *p.en, *p.zh) {
				say(p.zh.number, zh.of, "%s (%s:%d)", what, t.enPath, p.en.number)
			}
		}
		if p.zh != nil {
			above = p.zh.number
		}
	}
}

type pair struct{ en, zh *textLine } // one of them may be nil

// pairs says which line belongs to which English one. Where there are as many it
// is the one in the same place. Else as many lines as possible keep their order
// that have the same kind, code, figures and names; what is left between them is
// missing or too many.
func pairs(en, zh []textLine) (all []pair) {
	if len(en) == len(zh) {
		for i := range en {
			all = append(all, pair{&en[i], &zh[i]})
		}
		return all
	}
	same := func(i, j int) bool { return signature(en[i]) == signature(zh[j]) }
	most := make([][]int, len(en)+1) // most[i][j]: how many of en[i:] and zh[j:]
	for i := range most {
		most[i] = make([]int, len(zh)+1)
	}
	for i := range slices.Backward(en) {
		for j := range slices.Backward(zh) {
			if most[i][j] = max(most[i+1][j], most[i][j+1]); same(i, j) {
				most[i][j] = max(most[i][j], most[i+1][j+1]+1)
			}
		}
	}
	i, j := 0, 0
	for i < len(en) || j < len(zh) {
		switch {
		case i < len(en) && j < len(zh) && same(i, j) && most[i][j] == most[i+1][j+1]+1:
			all = append(all, pair{&en[i], &zh[j]})
			i, j = i+1, j+1
		case j == len(zh) || i < len(en) && most[i+1][j] == most[i][j]:
			all = append(all, pair{en: &en[i]})
			i++
		default:
			all = append(all, pair{zh: &zh[j]})
			j++
		}
	}
	return all
}

// signature is what both languages write alike in a line.
func signature(l textLine) string {
	if l.block != "" && l.block != "mermaid" {
		before, _ := cutComment(l.text)
		return l.block + before
	}
	text := plain(l.text)
	return fmt.Sprint(kind(l), sorted(code(l.text)), sorted(figures(text)), set(names(text)))
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

var numbered = regexp.MustCompile(`^\s*\d+\. `)

// kind is what a line is.
func kind(l textLine) string {
	text := strings.TrimLeft(l.text, " ")
	switch {
	case l.block == "fence":
		return "the beginning of a code block"
	case l.block != "":
		return "code"
	case strings.HasPrefix(text, "|---"):
		return "the line below a table's header"
	case strings.HasPrefix(text, "|"):
		return "a row of a table"
	case strings.HasPrefix(text, "- "):
		return "an entry of a list"
	case numbered.MatchString(l.text):
		return "a numbered entry"
	case strings.HasPrefix(text, ">"):
		return "a quotation"
	case strings.HasPrefix(text, "<!--"):
		return "a comment"
	}
	return "a paragraph"
}

// compareLine compares one line with its English one, of the same kind.
func (all translations) compareLine(t translation, en, zh textLine) (found []string) {
	switch {
	case en.text == zh.text && en.block != "":
		return nil
	case en.block == "mermaid" && zh.block == "mermaid":
		return compareDrawing(en.text, zh.text)
	case en.block != "":
		return compareCode(en.text, zh.text)
	case strings.HasPrefix(en.text, "<!--"), strings.HasPrefix(en.text, "|---"):
		if en.text != zh.text {
			return []string{fmt.Sprintf("it must be %q", en.text)}
		}
		return nil
	}
	enCells, zhCells := []string{en.text}, []string{zh.text}
	if strings.HasPrefix(en.text, "|") {
		enCells, zhCells = cellsOf(en.text), cellsOf(zh.text)
		if len(enCells) != len(zhCells) {
			return []string{fmt.Sprintf("%d cells, the English row has %d", len(zhCells), len(enCells))}
		}
	}
	for i := range enCells {
		found = append(found, all.compareWords(t, enCells[i], zhCells[i])...)
	}
	return found
}

// compareWords compares what stands in a text besides its words.
func (all translations) compareWords(t translation, en, zh string) (found []string) {
	if (en == "") != (zh == "") {
		found = append(found, fmt.Sprintf("one of %q and %q is empty", en, zh))
	}
	if isEnglish(zh) {
		found = append(found, fmt.Sprintf("%q is not translated", zh))
	}
	found = append(found, missing("code", code(en), code(zh))...)
	var want []string
	for _, target := range targets(en) {
		to, err := all.to(t, target)
		if err != nil {
			found = append(found, err.Error())
		}
		want = append(want, to)
	}
	found = append(found, missing("link to", want, targets(zh))...)
	en, zh = plain(en), plain(zh)
	found = append(found, missingFigures(figures(en), figures(zh))...)
	found = append(found, missing("name", set(names(en)), set(names(zh)))...)
	if b := strings.Count(en, "**") / 2; b != strings.Count(zh, "**")/2 {
		found = append(found, fmt.Sprintf("%d times bold, the English line %d times", strings.Count(zh, "**")/2, b))
	}
	return found
}

var lowerWord = regexp.MustCompile(`\b[a-z]{2,}\b`)

// isEnglish says whether a text has words and no Chinese: more than a word or
// two that stay as they are.
func isEnglish(text string) bool {
	text = strings.ReplaceAll(plain(text), "<br>", " ")
	return len(lowerWord.FindAllString(text, -1)) >= 2 && !strings.ContainsFunc(text, isHan)
}

// missing says what of want is not among got, and the other way round, each as
// often as it is there.
func missing(what string, want, got []string) (found []string) {
	rest := slices.Clone(got)
	for _, w := range want {
		if i := slices.Index(rest, w); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			found = append(found, fmt.Sprintf("%s %q is missing", what, w))
		}
	}
	for _, r := range rest {
		found = append(found, fmt.Sprintf("%s %q is not in the English line", what, r))
	}
	return found
}

// missingFigures is missing for figures. The Chinese one may have a unit that the
// English one leaves to the figure beside it: 90 against 14 days.
func missingFigures(want, got []string) []string {
	want = slices.Clone(want)
	for i, w := range want {
		if slices.Contains(got, w) || strings.Contains(w, " ") {
			continue
		}
		if j := slices.IndexFunc(got, func(g string) bool { return strings.HasPrefix(g, w+" ") && !slices.Contains(want, g) }); j >= 0 {
			want[i] = got[j]
		}
	}
	return missing("figure", want, got)
}

func set(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return slices.Compact(all)
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	wholeLink  = regexp.MustCompile(`\[([^\]]*)\]\([^)\s]+\)`)
)

func targets(text string) (all []string) {
	for _, m := range linkTarget.FindAllStringSubmatch(quoted.ReplaceAllString(text, "``"), -1) {
		all = append(all, m[1])
	}
	return all
}

// plain is a text without its code and where its links lead.
func plain(text string) string {
	return wholeLink.ReplaceAllString(quoted.ReplaceAllString(text, "`"), "$1")
}

// to is where a link of the English page leads in the Chinese one: to Chinese
// pages where there are some.
func (all translations) to(t translation, target string) (string, error) {
	if strings.Contains(target, "://") {
		return target, nil
	}
	file, anchor, anchored := strings.Cut(target, "#")
	to := t.enPath
	if file != "" {
		to = path.Join(path.Dir(t.enPath), file)
	}
	if i := slices.IndexFunc(all, func(o translation) bool { return o.enPath == to }); i >= 0 {
		if to = all[i].zhPath; anchored {
			at := slices.IndexFunc(all[i].en, func(s translated) bool { return slug(s.heading) == anchor })
			if at < 0 {
				return target, fmt.Errorf("%s has no heading #%s", all[i].enPath, anchor)
			}
			heading := all[i].en[at].heading
			if j := slices.IndexFunc(all[i].zh, func(s translated) bool { return s.of == heading }); j >= 0 {
				anchor = slug(all[i].zh[j].heading)
			}
		}
	}
	if to == t.zhPath && anchored {
		return "#" + anchor, nil
	}
	if up := strings.Count(t.zhPath, "/"); up > 0 {
		mine := strings.Split(path.Dir(t.zhPath), "/")
		theirs := strings.Split(to, "/")
		same := 0
		for same < len(mine) && same < len(theirs)-1 && mine[same] == theirs[same] {
			same++
		}
		to = strings.Repeat("../", up-same) + strings.Join(theirs[same:], "/")
	}
	if anchored {
		to += "#" + anchor
	}
	return to, nil
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// units are those of figures, in both languages.
var units = map[string]string{
	"s": "s", "second": "s", "seconds": "s", "秒": "s",
	"ms": "ms", "毫秒": "ms",
	"m": "min", "min": "min", "minute": "min", "minutes": "min", "分钟": "min",
	"h": "h", "hour": "h", "hours": "h", "小时": "h",
	"day": "d", "days": "d", "天": "d",
	"B": "B", "byte": "B", "bytes": "B", "字节": "B", "个字节": "B",
	"KB": "KB", "KiB": "KiB", "MiB": "MiB", "GiB": "GiB",
	"%": "%",
}

var (
	// figure is a number, with letters before it as in KIP-848 and T1, and what
	// stands behind it.
	figure   = regexp.MustCompile(`((?:[A-Za-z]+-?)?\d+(?:[.,:/]\d+)*(?:e\+\d+)?) ?(%|[A-Za-z]+|个?\p{Han}{1,2})?`)
	withUnit = regexp.MustCompile(`^个?(?:毫秒|秒|分钟|小时|天|字节)`)
)

// figures are the numbers of a text with their units; words for numbers are not
// looked at.
func figures(text string) (all []string) {
	for _, m := range figure.FindAllStringSubmatch(text, -1) {
		behind := m[2]
		if han := withUnit.FindString(behind); han != "" {
			behind = strings.TrimPrefix(han, "个")
		}
		if unit := units[behind]; unit != "" {
			all = append(all, m[1]+" "+unit)
		} else {
			all = append(all, m[1])
		}
	}
	return all
}

// name is what is written alike in both languages though no backticks stand
// around it: codes, signals, settings, CamelCase.
var name = regexp.MustCompile(`[A-Za-z][A-Za-z0-9]*(?:[_.][A-Za-z0-9]+)+|[A-Z]{4,}|[A-Z]+[a-z]+[A-Z][A-Za-z]*`)

// names are those of a text, ids of many kinds in the singular.
func names(text string) (all []string) {
	for _, n := range name.FindAllString(text, -1) {
		if n != "WeChat" { // 微信
			all = append(all, strings.Replace(n, "_ids", "_id", 1))
		}
	}
	return all
}

// compareCode compares a line of a code block that is not the same: no more than
// its comment may differ, where the Chinese one is Chinese.
func compareCode(en, zh string) []string {
	enCode, enSays := cutComment(en)
	zhCode, zhSays := cutComment(zh)
	if enCode != zhCode || (enSays == "") != (zhSays == "") || !strings.ContainsFunc(zhSays, isHan) {
		return []string{fmt.Sprintf("code differs: %q, and in English %q; only comments are translated", zh, en)}
	}
	return slices.Concat(
		missingFigures(figures(enSays), figures(zhSays)),
		missing("name", set(names(enSays)), set(names(zhSays))))
}

var comment = regexp.MustCompile(`^(.*?(?:^|\s))(#\s.*)$`)

func cutComment(text string) (before, says string) {
	if m := comment.FindStringSubmatch(text); m != nil {
		return m[1], m[2]
	}
	return text, ""
}

// label is what stands in a line of a Mermaid drawing for readers, behind what
// Mermaid reads.
var label = regexp.MustCompile(`^(\s*(?:(?:actor|participant) \w+ as |(?:alt|else) |[^:]*: ?))(.+)$`)

// compareDrawing compares a line of a Mermaid drawing: its labels are words.
func compareDrawing(en, zh string) []string {
	e, z := label.FindStringSubmatch(en), label.FindStringSubmatch(zh)
	if e == nil || z == nil || e[1] != z[1] {
		return []string{fmt.Sprintf("the drawing differs: %q, and in English %q; only labels are translated", zh, en)}
	}
	return slices.Concat(
		missingFigures(figures(e[2]), figures(z[2])),
		missing("name", set(names(e[2])), set(names(z[2]))))
}

// term is a row of the glossary.
type term struct {
	english *regexp.Regexp // nil: it has more than one meaning
	name    string         // the English words
	chinese string
	not     []string // how it is not called
}

// termsOf reads a table of the glossary. Chinese sections have the words of a
// fixed one, where the English ones have theirs.
func termsOf(rows []row, fixed bool) (all []term) {
	for _, r := range rows {
		w := term{name: r.cells[0], chinese: r.cells[1], not: strings.Split(r.cells[2], "、")}
		if fixed {
			words := strings.ReplaceAll(regexp.QuoteMeta(w.name), "y", "(?:y|ie)")
			w.english = regexp.MustCompile(`(?i)\b` + words + `e?s?\b`)
		}
		all = append(all, w)
	}
	return all
}

// compareTerms wants the Chinese word of each term of an English section.
func compareTerms(en, zh *translated, words []term, say func(int, string, string, ...any)) {
	enText, zhText := prose(en), prose(zh)
	for _, w := range words {
		if w.english == nil || strings.Contains(zhText, w.chinese) {
			continue
		}
		if found := w.english.FindString(enText); found != "" {
			say(zh.number, zh.of, "the English section has %q, and this one not %s: the glossary calls it so", found, w.chinese)
		}
	}
}

func prose(s *translated) string {
	var b strings.Builder
	for _, l := range s.lines {
		if l.block == "" {
			b.WriteString(plain(l.text) + "\n")
		}
	}
	return b.String()
}

// forbidden says which words of a line the glossary calls otherwise.
func forbidden(text string, words []term) (found []string) {
	text = plain(text)
	for _, w := range words {
		for _, not := range w.not {
			if strings.Contains(text, not) {
				found = append(found, fmt.Sprintf("%s is called %s here, not %s: see the glossary", w.name, w.chinese, not))
			}
		}
	}
	return found
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

// typos are what Chinese is not set like; the text has its code as a backtick.
var typos = []struct {
	what string
	re   *regexp.Regexp
}{
	{"a space is missing between Chinese and a Latin word, a figure or code", regexp.MustCompile("\\p{Han}(?:[A-Za-z0-9`]|\\*\\*`)|[A-Za-z0-9`%](?:\\*\\*)?\\p{Han}")},
	{"half-width punctuation in Chinese", regexp.MustCompile(`\p{Han}[,;:?!()]|[,;?!()]\p{Han}|\p{Han}\.(?:\s|$)`)},
	{"straight quotes in Chinese", regexp.MustCompile(`\p{Han}["']|["']\p{Han}`)},
	{"a space beside full-width punctuation", regexp.MustCompile(`[，。；：？！、（）“”] | [，。；：？！、（）“”]`)},
	{"a space between Chinese characters", regexp.MustCompile(`\p{Han} \p{Han}`)},
}

func typography(text string) (found []string) {
	for _, cell := range cellsOf(text) { // a text without bars is one cell
		cell = plain(cell)
		for _, typo := range typos {
			if at := typo.re.FindString(cell); at != "" {
				found = append(found, fmt.Sprintf("%s: %q", typo.what, at))
			}
		}
		if at := notBold(cell); at != "" {
			found = append(found, fmt.Sprintf("not shown as bold, as punctuation and a letter stand beside the asterisks: %q; take the punctuation out of it", at))
		}
	}
	return found
}

// notBold finds ** that CommonMark takes for asterisks: those with punctuation
// within and a letter or figure outside.
func notBold(text string) string {
	parts := strings.Split(text, "**")
	for i := 1; i < len(parts)-1; i += 2 {
		before, _ := utf8.DecodeLastRuneInString(parts[i-1])
		first, _ := utf8.DecodeRuneInString(parts[i])
		last, _ := utf8.DecodeLastRuneInString(parts[i])
		after, _ := utf8.DecodeRuneInString(parts[i+1])
		if isPunctuation(first) && isWord(before) || isPunctuation(last) && isWord(after) {
			return parts[i]
		}
	}
	return ""
}

func isPunctuation(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) }
func isWord(r rune) bool        { return unicode.IsLetter(r) || unicode.IsDigit(r) }
