package schema_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
)

const testdata = "../../testdata/events"

// record is a record in the files under testdata/events, as its README
// describes it.
type record struct {
	Key         *string      `json:"key"`
	KeyBase64   *string      `json:"key_base64"`
	Headers     [][2]*string `json:"headers"`
	Value       *string      `json:"value"`
	ValueBase64 *string      `json:"value_base64"`
}

func (r record) message(t testing.TB) events.Message {
	t.Helper()
	bytesOf := func(text, encoded *string) []byte {
		switch {
		case text != nil:
			return []byte(*text)
		case encoded != nil:
			b, err := base64.StdEncoding.DecodeString(*encoded)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		return nil
	}
	m := events.Message{Key: bytesOf(r.Key, r.KeyBase64), Value: bytesOf(r.Value, r.ValueBase64)}
	for _, h := range r.Headers {
		header := events.Header{Key: *h[0]}
		if h[1] != nil {
			header.Value = []byte(*h[1])
		}
		m.Headers = append(m.Headers, header)
	}
	return m
}

// files are those of a folder of testdata/events, one at least.
func files(t testing.TB, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(testdata, folder, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no files (%v)", folder, err)
	}
	return names
}

func readJSON(t testing.TB, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// goldenRecords are the records of a folder with one record in each file, by path.
func goldenRecords(t testing.TB, folder string) map[string]events.Message {
	t.Helper()
	all := make(map[string]events.Message)
	for _, path := range files(t, folder) {
		var r record
		readJSON(t, path, &r)
		all[path] = r.message(t)
	}
	return all
}

// requestValues are the values of all requests that are kept anywhere: right
// ones and wrong ones, what real libraries write, and what the contract shows.
func requestValues(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, path := range files(t, "requests") {
		var cases []struct{ Record record }
		readJSON(t, path, &cases)
		for _, c := range cases {
			all = append(all, c.Record.message(t).Value)
		}
	}
	for _, path := range files(t, "producers") {
		var p struct {
			Value []byte `json:"value_base64"`
		}
		readJSON(t, path, &p)
		all = append(all, p.Value)
	}
	page, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```\nkey .*?\n\n(.*?)```").FindAllSubmatch(page, -1)
	rows := regexp.MustCompile("(?m)^\\| `(\".*)` \\| (?:served|refused|ignored)").FindAllSubmatch(page, -1)
	if len(shown) < 5 || len(rows) < 20 {
		t.Fatalf("the contract shows %d records and %d rows", len(shown), len(rows))
	}
	for _, m := range shown {
		all = append(all, m[1])
	}
	for _, m := range rows {
		all = append(all, []byte(`{`+string(m[1])+`}`))
		all = append(all, []byte(`{"out_trade_no":"T9","mch_id":"1900000109",`+string(m[1])+`}`))
	}
	return all
}

// corpus are the arguments of type []byte, of one of their lines, that Go's
// fuzzing has kept of a test of package events.
func corpus(t testing.TB, folder string, line int) [][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no files (%v)", folder, err)
	}
	var all [][]byte
	for _, path := range names {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		quoted, ok := strings.CutPrefix(strings.Split(string(text), "\n")[line], "[]byte(")
		value, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
		if !ok || err != nil {
			t.Fatalf("%s, line %d: %v", path, line, err)
		}
		all = append(all, []byte(value))
	}
	return all
}

// moment is a time like any other.
var moment = time.Date(2026, 11, 27, 8, 0, 0, 123456789, time.UTC)
