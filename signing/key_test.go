package signing_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"

	"github.com/closeorder/closeorder/signing"
)

func TestTheLengthOfAPlatformKeyIsKnown(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("k", 32): true, strings.Repeat("k", 31): false, strings.Repeat("k", 33): false, "k": false,
	} {
		if got := mustKey(t, text).HasPlatformLength(); got != want {
			t.Errorf("%d bytes: %v", len(text), got)
		}
	}
	if (signing.Key{}).HasPlatformLength() {
		t.Error("the zero Key has a length")
	}
}

type embedding struct {
	signing.Key
	Name string
}

type holding struct {
	Name   string
	key    signing.Key
	keys   []signing.Key
	byName map[string]signing.Key
	at     *signing.Key
	Public signing.Key
}

// shown prints and encodes v in every way that a program of ours could.
func shown(t testing.TB, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%10.3s"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	out["Sprint"] = fmt.Sprint(v)
	out["error"] = fmt.Errorf("bad: %v", v).Error()
	if b, err := json.Marshal(v); err == nil {
		out["json"] = string(b)
	}
	if b, err := xml.Marshal(v); err == nil {
		out["xml"] = string(b)
	}
	if b, err := yaml.Marshal(v); err == nil {
		out["yaml"] = string(b)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	for _, f := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
		l := logrus.New()
		l.Out, l.Formatter = &log, f
		l.WithField("v", v).Info(v)
	}
	out["log"] = log.String()
	return out
}

func holders(key signing.Key) map[string]any {
	h := holding{"n", key, []signing.Key{key}, map[string]signing.Key{"a": key}, &key, key}
	return map[string]any{
		"a key":                                 key,
		"a pointer to a key":                    &key,
		"a list of keys":                        []signing.Key{key},
		"a list of pointers to keys":            []*signing.Key{&key},
		"a map of keys":                         map[string]signing.Key{"a": key},
		"a struct that embeds a key":            embedding{key, "n"},
		"a pointer to a struct that embeds one": &embedding{key, "n"},
		"a struct with keys in all its fields":  h,
		"a pointer to such a struct":            &h,
		"a list of such structs":                []holding{h},
	}
}

func TestAKeyIsNeverShown(t *testing.T) {
	key := mustKey(t, sampleKey)
	for what, v := range holders(key) {
		for how, text := range shown(t, v) {
			if reveals(text, sampleKey) {
				t.Errorf("%s by %s: %s", what, how, text)
			}
		}
	}
}

// reveals reports whether text has secret in it, in clear, in hex or as a
// list of bytes.
func reveals(text, secret string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(text, secret) ||
		strings.Contains(lower, fmt.Sprintf("%x", secret)) ||
		strings.Contains(text, strings.Trim(fmt.Sprint([]byte(secret)), "[]"))
}

func TestAKeyIsMasked(t *testing.T) {
	key := mustKey(t, sampleKey)
	for format, want := range map[string]string{"%v": "******", "%s": "******", "%+v": "******", "%d": "******", "%#v": "signing.Key(******)"} {
		if got := fmt.Sprintf(format, key); got != want {
			t.Errorf("%s gives %s, want %s", format, got, want)
		}
	}
	if got, err := json.Marshal(key); err != nil || string(got) != `"******"` {
		t.Errorf("json: %s, %v", got, err)
	}
	if got := fmt.Sprintf("%v|%#v", signing.Key{}, signing.Key{}); got != "|signing.Key()" {
		t.Errorf("the zero key prints as %s", got)
	}
}

func TestAMaskIsNotReadAsAKey(t *testing.T) {
	for _, v := range []any{&signing.Key{}, &holding{}} {
		if err := json.Unmarshal([]byte(`"******"`), v); err == nil {
			t.Errorf("read into %T", v)
		}
	}
}

func TestNewKey(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"32 letters and digits":       {sampleKey, ""},
		"any length":                  {"k", ""},
		"not ASCII":                   {"密钥", ""},
		"punctuation":                 {"a&b=c", ""},
		"empty":                       {"", "API key is empty"},
		"a newline from a file":       {"abc\n", "API key has white space at byte 4 of 4: it ends with a line break, write it with printf or echo -n"},
		"a space before it":           {" abc", "API key has white space at byte 1 of 4: leave it out"},
		"a space in it":               {"a bc", "API key has white space at byte 2 of 4: leave it out"},
		"nothing but white space":     {" \t", "API key has white space at byte 1 of 2: leave it out"},
		"a no-break space":            {"a\u00a0", "API key has white space at byte 2 of 3: leave it out"},
		"a control character":         {"ab\x00", "API key has a character that cannot be printed at byte 3 of 3: U+0000, type or copy it without"},
		"an invisible character":      {"ab\u200b", "API key has a character that cannot be printed at byte 3 of 5: U+200B, type or copy it without"},
		"a byte order mark before it": {"\ufeffab", "API key has a character that cannot be printed at byte 1 of 5: U+FEFF, type or copy it without"},
		"not UTF-8":                   {"ab\xff", "API key is not valid UTF-8"},
		"UTF-16":                      {"\xff\xfea\x00b\x00", "API key is not valid UTF-8, but UTF-16, as PowerShell writes it; save it as UTF-8"},
		"a line break of Windows":     {"abc\r\n", "API key has white space at byte 4 of 5: it ends with a line break, write it with printf or echo -n"},
		"in quotes":                   {`"abc"`, "API key is in quotes, leave them out"},
		"in single quotes":            {`'abc'`, "API key is in quotes, leave them out"},
		"in curly quotes":             {"“abc”", "API key is in quotes, leave them out"},
		"in quotes and a line break":  {"'abc'\n", "API key is in quotes, leave them out"},
		"two quotes alone":            {`""`, "API key is in quotes, leave them out"},
		"one quote":                   {`a"b`, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			key, err := signing.NewKey(c.text)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if key.IsZero() != (c.want != "") {
				t.Errorf("IsZero = %v", key.IsZero())
			}
		})
	}
}

func TestAKeyIsReadFromAFileAsEditorsLeaveIt(t *testing.T) {
	for sentence, c := range map[string]struct{ file, want string }{
		"alone":                       {sampleKey, ""},
		"a newline behind it":         {sampleKey + "\n", ""},
		"newlines of Windows":         {sampleKey + "\r\n\r\n", ""},
		"a blank behind it":           {sampleKey + " \n", ""},
		"a byte order mark before it": {"\ufeff" + sampleKey + "\r\n", ""},
		"a blank before it":           {" " + sampleKey, "white space at byte 1"},
		"two keys":                    {sampleKey + "\n" + sampleKey, "white space at byte 33"},
		"in quotes":                   {`"` + sampleKey + "\"\n", "in quotes"},
		"nothing but white space":     {" \n", "empty"},
		"UTF-16":                      {"\xff\xfea\x00\n\x00", "UTF-16"},
	} {
		key, err := signing.ReadKey([]byte(c.file))
		fields := map[string]string{"a": "b"}
		switch {
		case c.want == "" && (err != nil || signing.Sign(fields, key, signing.MD5) != signing.Sign(fields, mustKey(t, sampleKey), signing.MD5)):
			t.Errorf("%s: %v", sentence, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), sampleKey[:8])):
			t.Errorf("%s: %v, want %s", sentence, err, c.want)
		}
	}
}
