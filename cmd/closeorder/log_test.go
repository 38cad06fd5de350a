package main

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/sirupsen/logrus"
)

// logged is what a logger of a format writes.
func logged(format string, write func(logrus.FieldLogger)) string {
	out := newStream()
	write((&app{stderr: out}).logger(config.Log{Format: format, Level: "debug"}))
	return out.String()
}

func TestEveryFieldIsWrittenInEveryFormat(t *testing.T) {
	type ring struct {
		Name string
		Next *ring
	}
	round := &ring{Name: "a"}
	round.Next = round
	self := map[string]any{}
	self["self"] = self
	list := make([]any, 1)
	list[0] = list
	var none *config.Mistake
	for what, tt := range map[string]struct {
		value      any
		json, text string // parts of the line
	}{
		"a list of errors":       {[]error{errors.New("one"), errors.New("two")}, `["one","two"]`, `"[one two]"`},
		"an error in an object":  {map[string]error{"a": errors.New("one")}, `{"a":"one"}`, `map[a:one]`},
		"errors that are joined": {errors.Join(errors.New("one"), errors.New("two")), `"one\ntwo"`, `"one\ntwo"`},
		"an error that is nil":   {error(nil), `null`, `f="<nil>"`},
		"a channel":              {make(chan int), `"(chan int)"`, `(chan int)`},
		"a list of functions":    {[]func(){func() {}}, `["(func())"]`, `[(func())]`},
		"no number":              {math.NaN(), `"NaN"`, `f=NaN`},
		"infinitely much":        {[]float64{math.Inf(-1), 1.5}, `["-Inf",1.5]`, `[-Inf 1.5]`},
		"a complex number":       {1i, `"(complex128)"`, `(complex128)`},
		"what points at itself":  {round, `"Name":"a"`, `Name:a`},
		"a map that has itself":  {self, `"..."`, `...`},
		"a list that has itself": {list, `"..."`, `...`},
		"a pointer to nothing":   {none, `nil`, `<nil>`},
		"a duration":             {1500 * time.Millisecond, `"1.5s"`, `f=1.5s`},
		"a time has its zone":    {time.Date(2026, 1, 31, 8, 0, 0, 0, time.FixedZone("", 8*3600)), `"2026-01-31T08:00:00+08:00"`, `2026-01-31T08:00:00+08:00`},
		"a time of a far year":   {time.Date(20260, 1, 31, 8, 0, 0, 0, time.UTC), `"20260-01-31T08:00:00Z"`, `20260-01-31`},
		"bytes":                  {[]byte("text"), `"text"`, `f=text`},
		"bytes that are no text": {[]byte{0xff}, `\\xff`, `\\xff`},
		"a long list":            {make([]int, 300), `"and 200 more"]`, `and 200 more]`},
		"a map by numbers":       {map[int]bool{7: true}, `{"7":true}`, `map[7:true]`},
	} {
		t.Run(what, func(t *testing.T) {
			for format, want := range map[string]string{"json": tt.json, "text": tt.text} {
				line := logged(format, func(l logrus.FieldLogger) { l.WithField("f", tt.value).WithField("other", "kept").Warn("message") })
				if !strings.Contains(line, want) || !strings.Contains(line, "message") || !strings.Contains(line, "kept") || strings.Count(line, "\n") != 1 {
					t.Errorf("%s: %q is not in %s", format, want, line)
				}
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
}

// odd is what words from outside may hold: of a gateway, a broker or a request.
const odd = "end\nlevel=error msg=forged\r\x1b[2K\u009b2J\u202egone\x00 \xff \u2028.\U000e0001"

func TestWordsFromOutsideForgeNoLine(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		checkOneLine(t, format, odd)
	}
	line := func(l logrus.FieldLogger) { l.WithField(odd, odd).Warn(odd) }
	log := logrus.New()
	out := newStream()
	log.SetOutput(out)
	log.SetFormatter(textLog{&logrus.TextFormatter{ForceColors: true, FullTimestamp: true}})
	line(log)
	if text := colours.ReplaceAllString(out.String(), ""); strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\x1b\r\u009b\u202e\x00") {
		t.Errorf("in colours: %q", text)
	}
}

func FuzzALogLineIsOne(f *testing.F) {
	f.Add(odd)
	f.Add("\"}\n{")
	f.Fuzz(func(t *testing.T, text string) {
		checkOneLine(t, "json", text)
		checkOneLine(t, "text", text)
	})
}

func checkOneLine(t *testing.T, format, text string) {
	t.Helper()
	got := logged(format, func(l logrus.FieldLogger) {
		l.WithFields(logrus.Fields{"key": text, "error": errors.New(text), "list": []string{text}, "map": map[string]string{text: text}, text: 1}).Warn(text)
	})
	if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || strings.ContainsAny(got, "\x1b\r\u009b\u202e\x00\u2028") {
		t.Errorf("%s: %q", format, got)
	}
	var line map[string]any
	if format == "json" && json.Unmarshal([]byte(got), &line) != nil {
		t.Errorf("no JSON: %q", got)
	}
	if format == "json" && line["msg"] != string([]rune(text)) {
		t.Errorf("the message %q is %q", text, line["msg"])
	}
}

func TestAFieldThatIsAFunctionLosesNoEntry(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		if line := logged(format, func(l logrus.FieldLogger) { l.WithField("f", func() {}).Warn("message") }); !strings.Contains(line, "message") {
			t.Errorf("%s: %s", format, line)
		}
	}
}
