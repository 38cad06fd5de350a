package schema_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/events/schema"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// outcomeValues are the values of outcomes that are kept: golden ones, and what
// the contract shows.
func outcomeValues(t testing.TB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, m := range goldenRecords(t, "outcomes") {
		all[path] = string(m.Value)
	}
	page, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)\n\n({\"outcome\":.*?})\n```").FindAllStringSubmatch(string(page), -1)
	if len(shown) < 3 {
		t.Fatalf("the contract shows %d outcomes", len(shown))
	}
	for _, m := range shown {
		all["contract.md: "+m[1][:40]] = m[1]
	}
	return all
}

func TestOutcomesAreAsTheSchemaSays(t *testing.T) {
	s := compiled(t, schema.Outcome)
	for what, value := range outcomeValues(t) {
		if err := s.Validate(parsed(t, value)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestOutcomeSchemaTakesWhatCanBeWritten writes the most and the least that
// each field can hold.
func TestOutcomeSchemaTakesWhatCanBeWritten(t *testing.T) {
	s := compiled(t, schema.Outcome)
	year := func(n int) time.Time { return time.Date(n, 12, 31, 23, 59, 59, 0, time.UTC) }
	for sentence, o := range map[string]events.Outcome{
		"the least": {CompletedAt: year(1)},
		"the most": {
			OutTradeNo: "T1", RecordKey: "T1", Metadata: json.RawMessage(`{}`), Code: "\u0000", ConfirmedBy: "later",
			Gateway: &events.Gateway{TotalFee: math.MaxInt64, TimeEnd: "never"}, Attempts: math.MaxInt32, Replay: math.MaxInt32,
			RequestedAt: year(9999), CompletedAt: year(9999), Source: events.Source{Topic: "t", Partition: math.MaxInt32, Offset: math.MaxInt64},
		},
		"a fee below 0, and nothing else of the gateway": {CompletedAt: moment, Gateway: &events.Gateway{TotalFee: math.MinInt64}},
		"a gateway that said nothing":                    {CompletedAt: moment, Gateway: &events.Gateway{}},
		"a time that RFC 3339 cannot write":              {CompletedAt: moment, RequestedAt: year(20000)},
	} {
		t.Run(sentence, func(t *testing.T) {
			o.Result = events.Failed
			m, err := events.EncodeOutcome(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(parsed(t, string(m.Value))); err != nil {
				t.Errorf("%s: %v", m.Value, err)
			}
		})
	}
}

// TestOutcomeSchemaRefuses changes one thing of an outcome that is right.
func TestOutcomeSchemaRefuses(t *testing.T) {
	s := compiled(t, schema.Outcome)
	right := outcomeValues(t)[filepath.Join(testdata, "outcomes", "closed.json")]
	for sentence, c := range map[string]struct {
		member string // with its parent in front, if it has one
		value  any    // nil takes it away
		taken  bool
	}{
		"a field that nobody knows, as fields may be added": {"added_later", "x", true},
		"a code that nobody knows":                          {"code", "NEVER_SEEN", true},
		"no outcome":                                        {"outcome", nil, false},
		"an outcome that there is not":                      {"outcome", "lost", false},
		"safe to reissue and paid":                          {"outcome", "paid", false},
		"safe to reissue and failed":                        {"outcome", "failed", false},
		"safe to reissue as text":                           {"safe_to_reissue", "true", false},
		"nothing about whether it is safe":                  {"safe_to_reissue", nil, false},
		"less than no calls":                                {"attempts", -1, false},
		"half a call":                                       {"attempts", 0.5, false},
		"no replay":                                         {"replay", nil, false},
		"a time in another zone":                            {"completed_at", "2026-11-27T16:00:00+08:00", false},
		"a number in place of a text":                       {"mch_id", 1900000109, false},
		"metadata as text":                                  {"metadata", "{}", false},
		"a fee as text":                                     {"gateway.total_fee", "301", false},
		"no source":                                         {"source", nil, false},
		"no offset":                                         {"source.offset", nil, false},
		"an offset below 0":                                 {"source.offset", -1, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			doc := asObject(t, right)
			of, name := doc, c.member
			if parent, inner, nested := strings.Cut(c.member, "."); nested {
				of, name = doc.at(parent), inner
			}
			if of == nil {
				t.Fatalf("%s is not there", c.member)
			}
			of[name] = c.value
			if c.value == nil {
				delete(of, name)
			}
			raw, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(parsed(t, string(raw))); (err == nil) != c.taken {
				t.Errorf("taken is %v, want %v: %v", err == nil, c.taken, err)
			}
		})
	}
}

// checkWritten writes an outcome that can be read, and holds that to the schema.
func checkWritten(t *testing.T, s *jsonschema.Schema, o events.Outcome) {
	t.Helper()
	m, err := events.EncodeOutcome(o)
	if err != nil {
		return
	}
	if err := s.Validate(parsed(t, string(m.Value))); err != nil {
		t.Fatalf("%s: %v", m.Value, err)
	}
}

// FuzzOutcome is about all that closeorder can write: outcomes that it can read,
// and the answer to any request at all.
func FuzzOutcome(f *testing.F) {
	s := compiled(f, schema.Outcome)
	for _, value := range slices.Sorted(maps.Values(outcomeValues(f))) {
		f.Add([]byte(value), []byte("T1"))
	}
	for _, value := range slices.Concat(requestValues(f), corpus(f, "../testdata/fuzz/FuzzDecodeOutcome", 2)) {
		f.Add(value, []byte("T1"))
	}
	f.Fuzz(func(t *testing.T, value, key []byte) {
		m := events.Message{Key: key, Value: value, Headers: []events.Header{{Key: "ce_id", Value: []byte("e-1")}}}
		o, err := events.DecodeOutcome(m)
		if err == nil {
			checkWritten(t, s, o)
		}
		r, err := events.DecodeRequest(m)
		answer := events.NewOutcome(r, key, events.Source{Topic: "closeorder.requests", Partition: 3, Offset: 42})
		answer.Result, answer.CompletedAt = events.Failed, moment
		if err != nil {
			answer.Code, answer.Message = events.CodeInvalidRequest, err.Error()
		}
		checkWritten(t, s, answer)
	})
}

// headersOf is the headers of a record as an object.
func headersOf(m events.Message) map[string]any {
	all := make(map[string]any)
	for _, h := range m.Headers {
		all[h.Key] = string(h.Value)
	}
	return all
}

// headersOfLetter is the same of a dead letter, as its schema says: without those
// of the request that have a name of ours.
func headersOfLetter(t testing.TB, m events.Message) map[string]any {
	t.Helper()
	ours := asObject(t, schema.DeadLetter).at("properties")
	all := make(map[string]any)
	for i, h := range slices.Backward(m.Headers) {
		if h.Key != "closeorder-error-code" {
			continue
		}
		for _, h := range m.Headers[:i] {
			if ours[h.Key] == nil {
				all[h.Key] = string(h.Value)
			}
		}
		maps.Copy(all, headersOf(events.Message{Headers: m.Headers[i:]}))
		return all
	}
	return headersOf(m)
}

func TestDeadLettersAreAsTheSchemaSays(t *testing.T) {
	s := compiled(t, schema.DeadLetter)
	for path, m := range goldenRecords(t, "dead-letters") {
		if err := s.Validate(headersOfLetter(t, m)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, m := range goldenRecords(t, "retries") {
		if s.Validate(headersOfLetter(t, m)) == nil {
			t.Errorf("%s is a record that waits, and passes for a dead letter", path)
		}
	}
}

// TestDeadLetterSchemaHasItsHeaders writes one with every header there is, and
// the least one.
func TestDeadLetterSchemaHasItsHeaders(t *testing.T) {
	doc, s := asObject(t, schema.DeadLetter), compiled(t, schema.DeadLetter)
	names := func(m events.Message) []string { return slices.Sorted(maps.Keys(headersOf(m))) }
	least := records.EncodeDeadLetter(records.DeadLetter{FailedAt: moment})
	full := records.EncodeDeadLetter(records.DeadLetter{
		ErrorCode: events.CodeUnknownMerchant, ErrorMessage: strings.Repeat("\u8ba2", 2000), FailedAt: moment,
		Source: events.Source{Topic: "closeorder.requests", Partition: 1<<31 - 1, Offset: 1<<63 - 1}, SourceTimestamp: moment,
		ValueOmitted: records.OmittedKey, StandInKey: true,
	})
	if got := slices.Sorted(maps.Keys(doc.at("properties"))); !slices.Equal(got, names(full)) {
		t.Errorf("properties %q, headers %q", got, names(full))
	}
	var required []string
	for _, name := range listOf(doc["required"]) {
		required = append(required, name.(string))
	}
	slices.Sort(required)
	if !slices.Equal(required, names(least)) {
		t.Errorf("required %q, always written %q", required, names(least))
	}
	for _, m := range []events.Message{least, full} {
		if err := s.Validate(headersOf(m)); err != nil {
			t.Error(err)
		}
		for _, name := range required {
			headers := headersOf(m)
			delete(headers, name)
			if s.Validate(headers) == nil {
				t.Errorf("without %s it passes", name)
			}
			if _, err := records.DecodeDeadLetter(without(m, name)); err == nil && name != "closeorder-error-message" {
				t.Errorf("without %s it can be read", name)
			}
		}
	}
}

func without(m events.Message, name string) events.Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h events.Header) bool { return h.Key == name })
	return m
}

// FuzzDeadLetter is about all that can be read as a dead letter, written again.
func FuzzDeadLetter(f *testing.F) {
	s := compiled(f, schema.DeadLetter)
	add := func(m events.Message) {
		var headers strings.Builder
		for _, h := range m.Headers {
			headers.WriteString(h.Key + ": " + string(h.Value) + "\n")
		}
		f.Add(m.Value, headers.String())
	}
	for _, m := range goldenRecords(f, "dead-letters") {
		add(m)
	}
	f.Add([]byte("{}"), "closeorder-source-timestamp: of the request's own")
	f.Fuzz(func(t *testing.T, value []byte, headers string) {
		m := events.Message{Value: value}
		for line := range strings.SplitSeq(headers, "\n") {
			if name, text, ok := strings.Cut(line, ": "); ok {
				m.Headers = append(m.Headers, events.Header{Key: name, Value: []byte(text)})
			}
		}
		d, err := records.DecodeDeadLetter(m)
		if err != nil {
			d = records.DeadLetter{Original: m, FailedAt: moment, ErrorMessage: headers}
		}
		if err := s.Validate(headersOfLetter(t, records.EncodeDeadLetter(d))); err != nil {
			t.Fatal(err)
		}
	})
}
