package docs_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var takeAsTranslated = flag.Bool("translated", false, "write down that the Chinese sections are translations of the English ones as these are now; those with other differences are left out")

const glossary = "zh-CN/glossary.md"

// readTranslations reads all Chinese pages there are, and their English ones.
func readTranslations(t *testing.T) (all translations) {
	t.Helper()
	pages, err := filepath.Glob("zh-CN/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pairs := [][2]string{{"README.md", "README.zh-CN.md"}}
	for _, page := range pages {
		if page = filepath.ToSlash(page); page != glossary {
			pairs = append(pairs, [2]string{"docs/" + strings.TrimPrefix(page, "zh-CN/"), "docs/" + page})
		}
	}
	for _, p := range pairs {
		en, err := os.ReadFile(filepath.Join("..", p[0]))
		if err != nil {
			t.Fatalf("%s is a translation: %v", p[1], err)
		}
		zh, err := os.ReadFile(filepath.Join("..", p[1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, translation{p[0], p[1], sectionsOf(string(en)), sectionsOf(string(zh))})
	}
	if len(all) < 4 {
		t.Fatalf("%d translated pages are there, want the README, order-services, operations and kubernetes", len(all))
	}
	return all
}

func readGlossary(t *testing.T) (words []term) {
	t.Helper()
	for _, table := range readPage(t, glossary).tables {
		words = append(words, termsOf(table.rows, table.section == "固定的译法")...)
	}
	if len(words) < 40 || words[0].english == nil {
		t.Fatalf("%d terms were read of %s", len(words), glossary)
	}
	return words
}

// The Chinese pages say what the English ones say. With -translated it writes
// down which English sections they were translated from.
func TestTheChinesePagesAreInStep(t *testing.T) {
	all, words := readTranslations(t), readGlossary(t)
	for _, page := range all {
		if *takeAsTranslated {
			_, clean := all.differences(page, words)
			writeFingerprints(t, page, clean)
		}
	}
	if *takeAsTranslated {
		all = readTranslations(t)
	}
	lines := 0
	for _, page := range all {
		found, _ := all.differences(page, words)
		for _, d := range found {
			t.Error(d)
		}
		for _, s := range page.zh {
			lines += len(s.lines)
			if s.behind != "" {
				t.Logf("%s:%d, section %q is behind: %s", page.zhPath, s.number, s.of, s.behind)
			}
		}
	}
	if lines < 500 {
		t.Errorf("only %d lines were compared", lines)
	}
}

// writeFingerprints writes those of sections that have no other difference.
func writeFingerprints(t *testing.T, page translation, clean []string) {
	t.Helper()
	name := filepath.Join("..", page.zhPath)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		m := ofComment.FindStringSubmatch(l)
		if m == nil || !slices.Contains(clean, m[1]) {
			continue
		}
		at := slices.IndexFunc(page.en, func(s translated) bool { return s.heading == m[1] })
		lines[i] = "<!-- en: " + m[1] + " · " + page.en[at].print() + " -->"
	}
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each page leads to the other language, in the line below its title.
func TestEachPageLeadsToTheOtherLanguage(t *testing.T) {
	for _, page := range readTranslations(t) {
		for from, line := range map[string]string{
			page.enPath: "English | [简体中文](" + relative(t, page.enPath, page.zhPath) + ")",
			page.zhPath: "[English](" + relative(t, page.zhPath, page.enPath) + ") | 简体中文",
		} {
			text, err := os.ReadFile(filepath.Join("..", from))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(strings.Split(string(text), "\n")[:5], line) {
				t.Errorf("%s: its first lines have no line %q", from, line)
			}
		}
	}
}

func relative(t *testing.T, from, to string) string {
	t.Helper()
	rel, err := filepath.Rel(filepath.Dir(from), to)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(rel)
}

// englishPage and chinesePage are in step but for the fingerprints, which
// [inStep] writes.
const (
	englishPage = `# Close

English | [简体中文](zh-CN/page.md)

Retries wait for 10 s or 2 hours; see [the rules](#rules) and [others](other.md#later), [not translated](verdicts.md).

## Rules

1. Set ` + "`max_in_flight`" + ` to 256 and send SIGTERM.
2. Never guess: KIP-848 **counts**.

<!-- settings -->
| setting | default | what |
|---|---|---|
| ` + "`a.one`" + ` | ` + "`1`" + ` | the first, within 5 minutes |
| ` + "`b.two`" + ` | ` + "`2`" + ` | the second of a partition |

` + "```yaml" + `
brokers: [k:9092]   # all 3 of them
` + "```" + `

### Pictures

` + "```mermaid" + `
    B->>S: buys number 1
` + "```" + `

    kafka-topics.sh --list
`
	chinesePage = `# 关单
<!-- en: Close -->

[English](../page.md) | 简体中文

重试等待 10 秒或 2 小时；见[规则](#规则)和[其他](other.md#以后)、[没有译的](../verdicts.md)。

## 规则
<!-- en: Rules -->

1. 把 ` + "`max_in_flight`" + ` 设为 256，然后发 SIGTERM。
2. 绝不猜测：KIP-848 **算数**。

<!-- settings -->
| 配置项 | 默认值 | 含义 |
|---|---|---|
| ` + "`a.one`" + ` | ` + "`1`" + ` | 第一个，5 分钟内 |
| ` + "`b.two`" + ` | ` + "`2`" + ` | 分区的第二个 |

` + "```yaml" + `
brokers: [k:9092]   # 全部 3 个
` + "```" + `

` + chinesePictures
	chinesePictures = `### 图
<!-- en: Pictures -->

` + "```mermaid" + `
    B->>S: 购买，单号 1
` + "```" + `

    kafka-topics.sh --list
`
	otherEnglish = "# Other\n\n## Later\n\nText.\n"
	otherChinese = "# 其他\n<!-- en: Other -->\n\n## 以后\n<!-- en: Later -->\n\n正文。\n"
)

// compare writes the fingerprints of one English page into the Chinese ones, and
// compares these with another.
func compare(translatedFrom, english, chinese string) (found []string) {
	for _, s := range sectionsOf(translatedFrom) {
		chinese = strings.ReplaceAll(chinese, "<!-- en: "+s.heading+" -->", "<!-- en: "+s.heading+" · "+s.print()+" -->")
	}
	all := translations{
		{"docs/page.md", "docs/zh-CN/page.md", sectionsOf(english), sectionsOf(chinese)},
		{"docs/other.md", "docs/zh-CN/other.md", sectionsOf(otherEnglish), sectionsOf(otherChinese)},
	}
	rows := []row{{cells: []string{"partition", "分区", "分片"}}}
	differences, _ := all.differences(all[0], termsOf(rows, true))
	for _, d := range differences {
		found = append(found, d.String())
	}
	return found
}

func TestWhatIsNotInStepIsTold(t *testing.T) {
	if found := compare(englishPage, englishPage, chinesePage); found != nil {
		t.Fatalf("the pages of this test are not in step: %q", found)
	}
	for sentence, test := range map[string]struct {
		old, new string // in the Chinese page
		want     string
	}{
		"a figure is another":                     {"256", "265", `section "Rules": figure "256" is missing`},
		"a figure has another unit":               {"10 秒", "10 分钟", `figure "10 s" is missing`},
		"a figure has no unit":                    {"2 小时", "2", `figure "2 h" is missing`},
		"a figure with letters is another":        {"KIP-848", "KIP-884", `figure "KIP-848" is missing`},
		"a code is another":                       {"`max_in_flight`", "`max_inflight`", "code \"max_in_flight\" is missing"},
		"a code is there twice":                   {"然后发", "`x` 然后发", "code \"x\" is not in the English line"},
		"a signal is another":                     {"SIGTERM", "SIGKILL", `name "SIGTERM" is missing`},
		"bold is lost":                            {"**算数**", "算数", "0 times bold"},
		"two rows changed places":                 {"`a.one` | `1` | 第一个，5 分钟内 |\n| `b.two` | `2` | 分区的第二个 |", "`b.two` | `2` | 分区的第二个 |\n| `a.one` | `1` | 第一个，5 分钟内 |", `code "a.one" is missing`},
		"a row is missing":                        {"| `b.two` | `2` | 分区的第二个 |\n", "", "a line is missing"},
		"a row has a cell less":                   {"| `1` | 第一个，5 分钟内 |", "| `1`，第一个，5 分钟内 |", "2 cells, the English row has 3"},
		"a cell is empty":                         {"分区的第二个", "", "is empty"},
		"a paragraph is missing":                  {"2. 绝不猜测：KIP-848 **算数**。\n", "", `a line is missing below this one: docs/page.md:10 "2. Never guess`},
		"a paragraph too many":                    {"### 图\n", "多出来的一段。\n\n### 图\n", `a line that docs/page.md does not have: "多出来的一段。"`},
		"code in a block is another":              {"[k:9092]", "[k:9093]", "code differs"},
		"a comment in code has another figure":    {"全部 3 个", "全部 4 个", `figure "3" is missing`},
		"a comment in code is changed English":    {"# 全部 3 个", "# all three", "code differs"},
		"a comment in code is lost":               {"   # 全部 3 个", "", "code differs"},
		"an indented command is another":          {"    kafka-topics.sh --list", "    kafka-topics.sh --describe", "code differs"},
		"a drawing has another arrow":             {"B->>S:", "S->>B:", "the drawing differs"},
		"a drawing has another figure":            {"单号 1", "单号 2", `figure "1" is missing`},
		"a link leads to the English page":        {"(other.md#以后)", "(../other.md#later)", `link to "other.md#以后" is missing`},
		"a link leads to an anchor that is not":   {"(#规则)", "(#rules)", `link to "#规则" is missing`},
		"a link leads elsewhere":                  {"(../verdicts.md)", "(../contract.md)", `link to "../verdicts.md" is missing`},
		"a cell is left in English":               {"第一个，5 分钟内", "the first, within 5 minutes", `"the first, within 5 minutes" is not translated`},
		"a heading is left in English":            {"### 图", "### Pictures of orders and outcomes", "its heading is not translated"},
		"a comment of the page is another":        {"<!-- settings -->", "<!-- setting -->", `it must be "<!-- settings -->"`},
		"a heading is of another level":           {"### 图", "## 图", "its heading is of level 2, in docs/page.md of level 3"},
		"a heading does not say whose it is":      {"<!-- en: Pictures -->\n", "", "which English section this is does not stand under its heading"},
		"a section is of none":                    {"<!-- en: Pictures -->", "<!-- en: Images -->", "docs/page.md has no such section"},
		"a section is there twice":                {"<!-- en: Pictures -->", "<!-- en: Rules -->", "it is there twice"},
		"a section is missing":                    {chinesePictures, "", `docs/zh-CN/page.md:1, section "Pictures": it is missing`},
		"a section was never compared":            {"<!-- en: Rules -->", "<!-- en: Rules · 00000000 -->", "or was never compared with it"},
		"a word is not that of the glossary":      {"分区的", "区的", `the English section has "partition", and this one not 分区`},
		"a word is one that the glossary forbids": {"绝不猜测", "分片绝不猜测", "partition is called 分区 here, not 分片"},
		"no space before a figure":                {"等待 10", "等待10", "a space is missing"},
		"no space behind code":                    {"` 设为", "`设为", "a space is missing"},
		"half-width punctuation":                  {"绝不猜测：", "绝不猜测:", "half-width punctuation"},
		"a space behind full-width punctuation":   {"绝不猜测：", "绝不猜测： ", "a space beside full-width punctuation"},
		"bold that is not shown":                  {"KIP-848 **算数**。", "KIP-848 **算数。**完", "not shown as bold"},
		"a mark without a word to readers":        {"<!-- en: Rules -->", "<!-- en: Rules -->\n<!-- behind: nobody here writes Chinese -->", "readers are not told so"},
		"a word to readers without a mark":        {"<!-- en: Rules -->", "<!-- en: Rules -->\n" + behindNotice, "no mark says why"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if strings.Count(chinesePage, test.old) != 1 {
				t.Fatalf("%q is not there once", test.old)
			}
			found := compare(englishPage, englishPage, strings.Replace(chinesePage, test.old, test.new, 1))
			if !slices.ContainsFunc(found, func(d string) bool { return strings.Contains(d, test.want) }) {
				t.Errorf("told is %q, want %q", found, test.want)
			}
		})
	}
}

func TestAChangedEnglishPageLeavesTheChineseOneBehind(t *testing.T) {
	const behind = "<!-- en: Rules -->\n<!-- behind: nobody here writes Chinese -->\n" + behindNotice
	for sentence, test := range map[string]struct {
		old, new string // in the English page
		marked   bool
		want     string // "" for nothing
	}{
		"a word alone":                    {"Never guess", "Guess never", false, `docs/zh-CN/page.md:8, section "Rules": docs/page.md:7 has changed since this was translated`},
		"a heading":                       {"## Rules", "## The rules", false, "docs/page.md has no such section"},
		"sections change places":          {"## Rules", "### Pictures of old\n\nText.\n\n## Rules", false, `section "Pictures of old": it is missing`},
		"a line, of a section marked so":  {"2. Never guess", "2. Sometimes guess 12 times\n3. Never guess", true, ""},
		"nothing but a blank line":        {"2. Never guess", "\n2. Never guess", false, ""},
		"a line of another section alone": {"Retries wait", "Requests wait", true, `docs/zh-CN/page.md:1, section "Close": docs/page.md:1 has changed`},
	} {
		t.Run(sentence, func(t *testing.T) {
			chinese := chinesePage
			if test.marked {
				chinese = strings.Replace(chinese, "<!-- en: Rules -->", behind, 1)
			}
			if strings.Count(englishPage, test.old) != 1 {
				t.Fatalf("%q is not there once", test.old)
			}
			found := compare(englishPage, strings.Replace(englishPage, test.old, test.new, 1), chinese)
			if test.want == "" && found != nil || !slices.ContainsFunc(append(found, ""), func(d string) bool { return strings.Contains(d, test.want) }) {
				t.Errorf("told is %q, want %q", found, test.want)
			}
		})
	}
	swapped := strings.Replace(chinesePage, chinesePictures, "", 1)
	swapped = strings.Replace(swapped, "## 规则", chinesePictures+"\n## 规则", 1)
	if found := compare(englishPage, englishPage, swapped); !slices.ContainsFunc(found, func(d string) bool {
		return strings.Contains(d, `section "Rules": it stands elsewhere in docs/page.md, before "Pictures"`)
	}) {
		t.Errorf("sections in another order: told is %q", found)
	}
}

// No number of the English pages, and no code, can change without a word about
// the Chinese ones.
func TestNoFigureAndNoCodeOfThePagesChangesUnseen(t *testing.T) {
	all, tried := readTranslations(t), 0
	for _, page := range all {
		for _, zh := range page.zh {
			at := slices.IndexFunc(page.en, func(s translated) bool { return s.heading == zh.of })
			if zh.behind != "" || at < 0 || len(page.en[at].lines) != len(zh.lines) {
				continue // the test above tells of it
			}
			for i, l := range page.en[at].lines {
				for _, changed := range slices.Concat(changedDigits(l.text), changedCode(l)) {
					tried++
					if found := all.compareLine(page, textLine{l.number, changed, l.block}, zh.lines[i]); len(found) == 0 {
						t.Errorf("%s:%d: nothing is said of %s:%d when it becomes %q", page.zhPath, zh.lines[i].number, page.enPath, l.number, changed)
					}
				}
			}
		}
	}
	if tried < 1500 {
		t.Errorf("only %d changes were tried", tried)
	}
}

// changedDigits are the texts that differ in the last digit of one number.
func changedDigits(text string) (all []string) {
	for i, c := range []byte(text) {
		if '0' <= c && c <= '9' && (i+1 == len(text) || text[i+1] < '0' || text[i+1] > '9') {
			all = append(all, text[:i]+string('0'+(c-'0'+1)%10)+text[i+1:])
		}
	}
	return all
}

// changedCode are the texts of which one code is another.
func changedCode(l textLine) (all []string) {
	if l.block != "" {
		return nil
	}
	for _, m := range quoted.FindAllStringIndex(l.text, -1) {
		all = append(all, l.text[:m[1]-1]+"x"+l.text[m[1]-1:])
	}
	return all
}
