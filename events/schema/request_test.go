package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/events/schema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// exception is a difference between the schema of a request and
// [events.DecodeRequest], and why it stays.
type exception struct {
	name string
	why  string
	// example is a value that one of them takes and the other refuses.
	example string
	// problem is what DecodeRequest refuses it for, as "field: problem". Without
	// one it is DecodeRequest that takes it.
	problem *regexp.Regexp
	// but is what it does not excuse, by the fields of a value; nil for nothing.
	but func(fields map[string]any) bool
}

// exceptions are all differences that there are.
var exceptions = sync.OnceValue(func() []exception {
	const two = `"out_trade_no":"T1","mch_id":"1900000109"`
	problem := regexp.MustCompile
	return []exception{
		{
			name:    "a field twice",
			why:     "a validator sees the last one alone; two readers could see two orders",
			example: `{` + two + `,"out_trade_no":"T2"}`,
			problem: problem(`^\w+: occurs more than once$`),
		},
		{
			name:    "a name that is nearly ours, where ours is not there",
			why:     "which names are near is counted in edits; listed they would be thousands",
			example: `{` + two + `,"expire_at":"2099-11-27T16:00:00Z"}`,
			problem: problem(`^\w+: .* (is|are) not known, did you mean \w+\?`),
		},
		{
			name:    "a text of too many bytes and not too many characters",
			why:     "maxLength counts characters",
			example: `{` + two + `,"request_id":"` + strings.Repeat("\u8ba2", 100) + `"}`,
			problem: problem(`^(request_id|reason): has \d+ bytes, at most \d+ are allowed$`),
			but: func(fields map[string]any) bool {
				for name, most := range map[string]int{"request_id": events.MaxRequestID, "reason": events.MaxReason} {
					if text, _ := fields[name].(string); utf8.RuneCountInString(text) > most {
						return true
					}
				}
				return false
			},
		},
		{
			name:    "metadata of more than 4 KiB",
			why:     "no keyword counts the bytes of an object",
			example: `{` + two + `,"metadata":{"a":"` + strings.Repeat("a", events.MaxMetadata) + `"}}`,
			problem: problem(`^metadata: has \d+ bytes`),
		},
		{
			name:    "a value of more than 64 KiB",
			why:     "no keyword counts the bytes of an object",
			example: `{` + two + `,"other":"` + strings.Repeat("a", events.MaxRequest) + `"}`,
			problem: problem(`^value: has \d+ bytes`),
		},
		{
			name:    "a request_id with a character that no version of Unicode has, or that is beyond U+FFFF and cannot be printed",
			why:     "Python's patterns know no categories of Unicode, and elsewhere a pattern may see what is beyond U+FFFF, or is half of it, as something else",
			example: `{` + two + `,"request_id":"\udb40\udc41"}`,
			problem: problem(`^request_id: has characters that cannot be printed`),
			but: func(fields map[string]any) bool {
				text, _ := fields["request_id"].(string)
				return strings.ContainsFunc(text, isUsualUnprintable)
			},
		},
		{
			name:    "the year 0000, or a time that is outside the years 1 to 9999 in UTC",
			why:     "the offset moves it, and a pattern does not reckon",
			example: `{` + two + `,"not_before":"0001-01-01T00:00:00+08:00"}`,
			problem: problem(`^\w+: is ".*", outside the years 1 to 9999$`),
		},
		{
			name:    "the second 60 where UTC has none",
			why:     "the offset moves it, and a pattern does not reckon",
			example: `{` + two + `,"not_before":"2026-11-27T16:00:60Z"}`,
			problem: problem(`^\w+: is ".{16}:60.*has a second beyond 59`),
		},
		{
			name:    "expires_at that is not after not_before",
			why:     "no keyword compares two fields",
			example: `{` + two + `,"not_before":"2026-11-27T16:00:00Z","expires_at":"2026-11-27T16:00:00+08:00"}`,
			problem: problem(`^expires_at: is .*, must be after not_before `),
		},
		{
			name:    "replacement_out_trade_no that is out_trade_no",
			why:     "no keyword compares two fields",
			example: `{` + two + `,"replacement_out_trade_no":"T1"}`,
			problem: problem(`^replacement_out_trade_no: is the same as out_trade_no$`),
		},
		{
			name:    "a request with a layer round it",
			why:     "DecodeRequest takes off what libraries put round a value; the schema is about the request itself",
			example: `{"schema":null,"payload":{` + two + `}}`,
		},
	}
})

// isUsualUnprintable reports whether the schema names a character that cannot
// be printed: controls, blanks, formatting and private use up to U+FFFF, and
// U+FFFD, which is what a broken text becomes.
func isUsualUnprintable(r rune) bool {
	return r == utf8.RuneError ||
		r <= 0xffff && r != ' ' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Z)
}

// judge asks both about a value without headers.
func judge(s *jsonschema.Schema, value []byte) (bySchema, byDecoder error) {
	_, byDecoder = events.DecodeRequest(events.Message{Value: value})
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	switch {
	case err != nil:
		bySchema = err
	case !utf8.Valid(value):
		bySchema = errors.New("is not UTF-8, and so no JSON")
	default:
		bySchema = s.Validate(doc)
	}
	return bySchema, byDecoder
}

// differ returns the exceptions that explain why the two do not agree about a
// value, none where they agree, and an error where something is left that none
// explains.
func differ(s *jsonschema.Schema, value []byte) (because []string, err error) {
	bySchema, byDecoder := judge(s, value)
	var fields map[string]any
	if json.Unmarshal(value, &fields) != nil {
		fields = nil
	}
	if (bySchema == nil) == (byDecoder == nil) {
		return nil, nil
	}
	if byDecoder == nil {
		// The request itself has one of the required names at its top.
		if fields["out_trade_no"] == nil && fields["mch_id"] == nil {
			return []string{"a request with a layer round it"}, nil
		}
		return nil, fmt.Errorf("DecodeRequest takes it; the schema does not: %w", bySchema)
	}
	invalid, ok := errors.AsType[*events.ValidationError](byDecoder)
	if !ok {
		return nil, fmt.Errorf("the schema takes it; DecodeRequest does not: %w", byDecoder)
	}
	for _, f := range invalid.Fields {
		text := f.Field + ": " + f.Problem
		i := slices.IndexFunc(exceptions(), func(e exception) bool { return e.problem != nil && e.problem.MatchString(text) })
		if i < 0 {
			return because, fmt.Errorf("the schema takes it; DecodeRequest does not: %s", text)
		}
		e := exceptions()[i]
		if e.but != nil && e.but(fields) {
			return because, fmt.Errorf("the schema takes it; DecodeRequest does not, and that is no %s: %s", e.name, text)
		}
		because = append(because, e.name)
	}
	return because, nil
}

// TestEachExceptionIsOne holds the table to what it says: its examples differ,
// and for that reason alone.
func TestEachExceptionIsOne(t *testing.T) {
	s := compiled(t, schema.Request)
	for _, e := range exceptions() {
		t.Run(e.name, func(t *testing.T) {
			if e.why == "" {
				t.Error("no reason")
			}
			because, err := differ(s, []byte(e.example))
			if err != nil || !slices.Equal(because, []string{e.name}) {
				t.Errorf("differs because of %q, %v", because, err)
			}
		})
	}
}

// TestSchemaAgreesAboutEveryRequestThatIsKept is about the golden requests, what
// real libraries write and what the contract shows. The rows of the contract
// are refused by both but for the exceptions named here.
func TestSchemaAgreesAboutEveryRequestThatIsKept(t *testing.T) {
	s := compiled(t, schema.Request)
	taken, refused := 0, 0
	for _, value := range requestValues(t) {
		if _, err := differ(s, value); err != nil {
			t.Errorf("%q: %v", value, err)
		}
		if bySchema, _ := judge(s, value); bySchema == nil {
			taken++
		} else {
			refused++
		}
	}
	if taken < 50 || refused < 100 {
		t.Errorf("the schema takes only %d and refuses only %d", taken, refused)
	}
}

// TestUnprintableNamesWhatItSays asks about each character up to U+FFFF.
func TestUnprintableNamesWhatItSays(t *testing.T) {
	pattern := asObject(t, schema.Request).at("$defs").at("unprintable")["pattern"].(string)
	re := regexp.MustCompile(pattern)
	for r := range rune(0x10000) {
		if 0xd800 <= r && r <= 0xdfff {
			continue // no characters
		}
		named := re.MatchString(string(r))
		if isUsualUnprintable(r) && !named {
			t.Errorf("%U is not named", r)
		}
		if named && unicode.IsPrint(r) && r != utf8.RuneError {
			t.Errorf("%U is named and can be printed", r)
		}
	}
}

// What a request is made of in place of what it should be: a name, a value, and
// a text within it.
var (
	memberNames = []string{
		"out_trade_no", "mch_id", "appid", "sub_mch_id", "sub_appid", "request_id", "reason",
		"order_created_at", "not_before", "expires_at", "replacement_out_trade_no", "metadata",
		"colour", "expire_at", "mchId", "specversion", "type", "id", "data", "schema", "payload", "",
	}
	memberValues = []string{
		`"T1"`, `"1900000109"`, `null`, `""`, `0`, `1900000109`, `1.0`, `-0`, `true`, `[]`, `{}`, `["T1"]`, `{"string":"T1"}`, `{"a":{"a":[1e400]}}`,
		`" "`, `"T 1"`, `"T1\n"`, `"\u0054\u0031"`, `"T|1*@_-"`, `"null"`, `"NULL"`, `"uNdefined"`, `"None"`, `"nil"`, `"NaN"`, `"nulls"`,
		`"1.9e9"`, `"19e8"`, `"19e-8"`, `"19e--8"`, `"-19"`, `"1_900"`, `"_1"`, `"1_"`, `"0x71"`, `"0xg"`, `"-0X_"`, `"0o17"`, `"0o8"`, `"0b10"`, `"0b2"`, `"1e"`, `"-"`, `"1-2"`, `"1e5e"`,
		`"` + strings.Repeat("1", 32) + `"`, `"` + strings.Repeat("1", 33) + `"`, `"` + strings.Repeat("a", 128) + `"`, `"` + strings.Repeat("a", 129) + `"`,
		`"` + strings.Repeat("a", 256) + `"`, `"` + strings.Repeat("a", 257) + `"`, `"` + strings.Repeat("\u8ba2", 42) + `"`, `"` + strings.Repeat("\u8ba2", 128) + `"`,
		`"\ud800"`, `"\u0000"`, `"\u00a0"`, `"\ufffd"`, `"\u8ba2\u5355"`, `"\ud83d\ude00"`, `"\u0378"`,
		`"2026-11-27T16:00:00+08:00"`, `"2026-11-27T08:00:00.123Z"`, `"2026-11-27t08:00:00z"`, `"2026-11-27 08:00:00-00:00"`, `"2026-11-27T08:00:00"`, `"2026-11-27"`,
		`"2026-11-27T08:00Z"`, `"2026-11-27T08:00:00,1Z"`, `"2026-11-27T08:00:00.Z"`, `"2026-11-27T24:00:00Z"`, `"2026-11-27T23:60:00Z"`, `"2026-11-27T08:00:00+24:00"`,
		`"2026-11-27T08:00:00+08:60"`, `"2026-11-27T08:00:00+0800"`, `"2026-11-31T08:00:00Z"`, `"2026-00-01T08:00:00Z"`, `"2026-13-01T08:00:00Z"`, `"2026-12-00T08:00:00Z"`,
		`"2024-02-29T08:00:00Z"`, `"2026-02-29T08:00:00Z"`, `"2000-02-29T08:00:00Z"`, `"2100-02-29T08:00:00Z"`, `"2016-12-31T23:59:60Z"`, `"2017-01-01T07:59:60.5+08:00"`,
		`"2016-12-31T23:58:60Z"`, `"0000-12-31T23:30:00-01:00"`, `"0000-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"9999-12-31T23:59:59-00:01"`,
		`"1795766400"`, `"20261127160000"`, `"2026-11-27T16:00:00+08:00[Asia/Shanghai]"`, `"2026-11-27T08:00:00.12345678901234567890Z"`,
	}
	inserted = []string{
		`a`, `0`, `9`, `_`, `-`, `|`, `.`, `,`, `:`, `+`, `Z`, `e`, `x`, ` `, `\n`, `\r`, `\t`, `\u2028`, `\u0085`, `\u0000`, `\u007f`, `\u200b`, `\ufeff`,
		`\\`, `\"`, `\u00e9`, `\u0663`, `\uff11`, `\u017f`, `\u212a`, `\u8ba2`, `\ud83d\ude00`, `\udb40\udc41`,
	}
)

// built is the request that a recipe makes: of each three bytes the first is a
// name, the second a value, the third what is put into that, and where. A name
// that is there already gets the value, or stands there twice.
func built(recipe []byte) []byte {
	type member struct{ name, value string }
	members := []member{{"out_trade_no", `"T9"`}, {"mch_id", `"1900000109"`}}
	for step := range slices.Chunk(recipe, 3) {
		if len(step) < 3 {
			break
		}
		m := member{memberNames[int(step[0])%len(memberNames)], memberValues[int(step[1])%len(memberValues)]}
		if n := int(step[2]); n > 127 && m.value[0] == '"' && !strings.Contains(m.value, `\`) {
			n -= 128
			at := 1 + (n*31)%(len(m.value)-1)
			for !utf8.RuneStart(m.value[at]) {
				at--
			}
			m.value = m.value[:at] + inserted[n%len(inserted)] + m.value[at:]
		}
		i := slices.IndexFunc(members, func(o member) bool { return o.name == m.name })
		switch {
		case i < 0 || step[2] == 0:
			members = append(members, m)
		case step[2] == 1:
			members = slices.Delete(members, i, i+1)
		default:
			members[i] = m
		}
	}
	var b bytes.Buffer
	for i, m := range members {
		fmt.Fprintf(&b, `%c%q:%s`, "{,"[min(i, 1)], m.name, m.value)
	}
	if len(members) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes()
}

// TestSchemaAgreesAboutManyRequests is the fuzz test below without its engine:
// always the same requests, each with one to three things changed.
func TestSchemaAgreesAboutManyRequests(t *testing.T) {
	s := compiled(t, schema.Request)
	check := func(value []byte) error {
		_, err := differ(s, value)
		return err
	}
	taken := 0
	// Each value in each field alone, then what chance makes.
	for n := range memberNames {
		for v := range memberValues {
			for _, recipe := range [][]byte{{byte(n), byte(v), 2}, {3, 1, 2, byte(n), byte(v), 2}} {
				if err := check(built(recipe)); err != nil {
					t.Fatalf("%s: %v", built(recipe), err)
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(14, 4))
	for range 4000 {
		recipe := make([]byte, 3*(1+random.IntN(3)))
		for i := range recipe {
			recipe[i] = byte(random.IntN(256))
		}
		value := built(recipe)
		if err := check(value); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if bySchema, _ := judge(s, value); bySchema == nil {
			taken++
		}
	}
	if taken < 300 {
		t.Errorf("the schema takes only %d of them", taken)
	}
}

// FuzzRequestText is about any bytes.
func FuzzRequestText(f *testing.F) {
	s := compiled(f, schema.Request)
	for _, value := range requestValues(f) {
		f.Add(value)
	}
	for _, value := range corpus(f, "../testdata/fuzz/FuzzDecodeRequest", 2) {
		f.Add(value)
	}
	for _, e := range exceptions() {
		f.Add([]byte(e.example))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, err := differ(s, value); err != nil {
			t.Fatalf("%q: %v", value, err)
		}
	})
}

// FuzzRequestFields is about requests whose fields are changed, so that it gets
// behind the JSON.
func FuzzRequestFields(f *testing.F) {
	s := compiled(f, schema.Request)
	f.Add([]byte(nil))
	for n := range memberNames {
		f.Add([]byte{byte(n), byte(n), byte(n)})
	}
	f.Fuzz(func(t *testing.T, recipe []byte) {
		value := built(recipe[:min(len(recipe), 60)])
		if _, err := differ(s, value); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
	})
}
