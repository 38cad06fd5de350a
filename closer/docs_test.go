package closer

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tableUnder returns the first table of docs/verdicts.md whose header has the
// given cell, row by row, header included.
func tableUnder(t *testing.T, header string) [][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "verdicts.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.SplitSeq(string(data), "\n") {
		if len(rows) == 0 && !strings.HasPrefix(line, "| "+header) {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(strings.Trim(strings.TrimSpace(cell), "¹²³")))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("docs/verdicts.md has no table %q", header)
	}
	return rows
}

// The table that order services read is the one that is computed.
func TestDocumentedSettling(t *testing.T) {
	in := map[string][]decision{
		"`SUCCESS`": {answeredSuccess}, "`ORDERNOTEXIST`": {answeredNotExist},
		"`ORDERCLOSED`": {answeredClosed}, "`ORDERPAID`": {answeredPaid}, "refused": {answeredRefused},
		"unknown code": {answeredUnknown}, "temporary": {answeredLater, answeredNothing}, "`FREQUENCY_LIMITED` and its kin": {answeredLimit},
	}
	ages := map[string]age{"settled": settled, "young": young, "age unknown": ageUnknown}
	queries := map[string]trade{
		"not asked": notQueried, "not told": unanswered, "closed": tradeClosed,
		"paid": tradePaid, "open": tradeOpen, "not known": tradeUnknown,
	}
	cell := func(d decision, q trade, a age) string {
		r := weigh(standing{close: d, query: q, age: a, confirm: ConfirmDoubt})
		switch {
		case r.step != conclude:
			return [...]string{again: "again", queryFirst: "asks", later: "later"}[r.step]
		case r.safe:
			return "closed, safe"
		case r.class == Closed:
			return "closed, **not safe**"
		}
		return r.class.String()
	}
	rows := tableUnder(t, "close \\ query")
	covered := 0
	for _, row := range rows[1:] {
		name, ageName, _ := strings.Cut(row[0], ", ")
		for _, d := range in[name] {
			for i, got := range row[1:] {
				q, ok := queries[rows[0][i+1]]
				if !ok {
					t.Fatalf("column %q", rows[0][i+1])
				}
				want := cell(d, q, settled)
				if a, ok := ages[ageName]; ok {
					want = cell(d, q, a)
				} else if y, u := cell(d, q, young), cell(d, q, ageUnknown); y != u {
					t.Errorf("row %q needs rows for its ages", row[0])
				} else if want == "closed, safe" && y == "closed, **not safe**" {
					want = "closed, safe when settled"
				} else if want != y {
					want = "settled: " + want + "; else " + y
				}
				if got != want {
					t.Errorf("%s, query %s: the page says %q, weigh %q", row[0], rows[0][i+1], got, want)
				}
				covered++
			}
		}
	}
	if covered != 13*6 {
		t.Errorf("%d cells checked, there should be %d", covered, 13*6)
	}
}

// The codes on the page have the classes that they have.
func TestDocumentedCodes(t *testing.T) {
	classes := []struct {
		words string
		class Class
	}{
		{"closed", Closed}, {"paid", Paid}, {"temporary", Temporary},
		{"the merchant's configuration", MerchantRefused}, {"failed", Failed},
	}
	codes := regexp.MustCompile("`([A-Z0-9_]+)`")
	n := 0
	for _, row := range tableUnder(t, "answer | class")[1:] {
		for _, c := range classes {
			if !strings.HasPrefix(row[1], c.words) {
				continue
			}
			for _, m := range codes.FindAllStringSubmatch(row[0], -1) {
				in := signedAnswer("FAIL", m[1])
				if m[1] == "SUCCESS" {
					in = signedAnswer("SUCCESS", "")
				}
				if got := decide(in).class; got != c.class {
					t.Errorf("%s: the page says %v, decide %v", m[1], c.class, got)
				}
				n++
			}
		}
	}
	if n != 26 {
		t.Errorf("%d codes on the page, there are 26", n)
	}
}

// The words on the page are taken as the page says.
func TestDocumentedWords(t *testing.T) {
	hints := []struct {
		words string
		hint  hint
	}{
		{"a rate limit", hintLimited}, {"the merchant's configuration: every key", hintSignature},
		{"the merchant's configuration: after", hintMerchant}, {"a request that cannot work", hintRequest}, {"temporary", hintNone},
	}
	samples := regexp.MustCompile("`([^`]+)`")
	rows, n := tableUnder(t, "words such as | taken as")[1:], 0
	for _, row := range rows {
		for _, h := range hints {
			if !strings.HasPrefix(row[1], h.words) {
				continue
			}
			for _, m := range samples.FindAllStringSubmatch(row[0], -1) {
				if got, _ := readWords(m[1]); got != h.hint {
					t.Errorf("%s: the page says %q, readWords %d", m[1], h.words, got)
				}
				n++
			}
			break
		}
	}
	if len(rows) != 10 || n != 37 {
		t.Errorf("%d words in %d rows on the page, there are 37 in 10", n, len(rows))
	}
}
