package schema_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/events/schema"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// asyncAPI is the document as JSON has it.
func asyncAPI(t testing.TB) object {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(schema.AsyncAPI), &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return asObject(t, string(raw))
}

// asComponent is a JSON Schema as it stands in the document: there "#" is the
// document, and the draft is AsyncAPI's own, which has all that is used of ours.
func asComponent(name, text string) string {
	text = regexp.MustCompile(`(?m)^  "\$(schema|id|comment)": .*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, `"#/$defs/`, `"#/components/schemas/`+name+`/$defs/`)
	return "    " + name + ": " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// TestAsyncAPIHasOurSchemas holds the end of the document to the files beside
// it. YAML has all of JSON in it, so that they stand there as they are.
func TestAsyncAPIHasOurSchemas(t *testing.T) {
	const begin = "\n  schemas:\n"
	written, _, found := strings.Cut(schema.AsyncAPI, begin)
	if !found {
		t.Fatalf("there is no %q", begin)
	}
	golden.Check(t, "asyncapi.yaml", written+begin+
		asComponent("request", schema.Request)+asComponent("outcome", schema.Outcome)+asComponent("deadLetter", schema.DeadLetter))

	schemas := asyncAPI(t).at("components").at("schemas")
	if got, want := slices.Sorted(maps.Keys(schemas)), []string{"deadLetter", "outcome", "request"}; !slices.Equal(got, want) {
		t.Errorf("schemas %q, want %q", got, want)
	}
}

// refs calls f for each reference in v.
func refs(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if ref, ok := inner.(string); ok && name == "$ref" {
				f(ref)
			}
			refs(inner, f)
		}
	case []any:
		for _, inner := range v {
			refs(inner, f)
		}
	}
}

func TestAsyncAPINamesWhatIsInIt(t *testing.T) {
	doc := asyncAPI(t)
	n := 0
	used := make(map[string]bool)
	refs(map[string]any(doc), func(ref string) {
		n++
		used[ref] = true
		path, ok := strings.CutPrefix(ref, "#/")
		at := doc
		for name := range strings.SplitSeq(path, "/") {
			at = at.at(name)
		}
		if !ok || at == nil {
			t.Errorf("%s is not there", ref)
		}
	})
	if n < 20 {
		t.Errorf("only %d references were found", n)
	}
	for _, kind := range []string{"messages", "schemas"} {
		for name := range doc.at("components").at(kind) {
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("%s %s is used nowhere", kind, name)
			}
		}
	}
}

// TestAsyncAPIHasTheTopics also says who reads and who writes: closeorder.
func TestAsyncAPIHasTheTopics(t *testing.T) {
	doc, topics := asyncAPI(t), config.Default().Topics
	for channel, topic := range map[string]string{"requests": topics.Requests, "outcomes": topics.Outcomes, "deadLetters": topics.DeadLetters} {
		c := doc.at("channels").at(channel)
		if c["address"] != topic || c.at("bindings").at("kafka")["topic"] != topic {
			t.Errorf("%s is %v, and %v for Kafka, want %s", channel, c["address"], c.at("bindings").at("kafka")["topic"], topic)
		}
	}
	actions := make(map[string]any)
	for _, o := range doc["operations"].(map[string]any) {
		o := object(o.(map[string]any))
		actions[o.at("channel")["$ref"].(string)] = o["action"]
	}
	if want := map[string]any{"#/channels/requests": "receive", "#/channels/outcomes": "send", "#/channels/deadLetters": "send"}; !maps.Equal(actions, want) || len(doc.at("channels")) != len(want) {
		t.Errorf("operations %v of %d channels, want %v", actions, len(doc.at("channels")), want)
	}
}

// TestAsyncAPIHasTheHeaders compares with the contract what may be sent, and
// with an outcome that has them all what is written.
func TestAsyncAPIHasTheHeaders(t *testing.T) {
	messages := asyncAPI(t).at("components").at("messages")
	headers := func(message string) []string {
		return slices.Sorted(maps.Keys(messages.at(message).at("headers").at("properties")))
	}
	page, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| header | attribute | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var sent []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		sent = append(sent, m[1])
	}
	slices.Sort(sent)
	if got := headers("request"); !slices.Equal(got, sent) {
		t.Errorf("a request has %q, in the contract %q", got, sent)
	}

	m, err := events.EncodeOutcome(events.Outcome{
		Result: events.Closed, OutTradeNo: "T1", CompletedAt: moment, TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := headers("outcome"), slices.Sorted(maps.Keys(headersOf(m))); !slices.Equal(got, want) {
		t.Errorf("an outcome has %q, one that is written %q", got, want)
	}
	for path, m := range goldenRecords(t, "outcomes") {
		if err := compiledAt(t, "outcome", "headers").Validate(headersOf(m)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// compiledAt is a schema of a message.
func compiledAt(t *testing.T, message, part string) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(asyncAPI(t))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // which AsyncAPI's own is made of
	c.UseLoader(jsonschema.SchemeURLLoader{})
	if err := c.AddResource("asyncapi.json", parsed(t, string(raw))); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("asyncapi.json#/components/messages/" + message + "/" + part)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAsyncAPIShowsRecordsAsTheyAre reads its examples as records.
func TestAsyncAPIShowsRecordsAsTheyAre(t *testing.T) {
	shown := make(map[string]int)
	for name := range asyncAPI(t).at("components").at("messages") {
		message := asyncAPI(t).at("components").at("messages").at(name)
		for _, e := range listOf(message["examples"]) {
			e := object(e.(map[string]any))
			t.Run(name+" "+e["name"].(string), func(t *testing.T) {
				shown[name]++
				raw, err := json.Marshal(e["payload"])
				if err != nil {
					t.Fatal(err)
				}
				m := events.Message{Value: raw}
				headers := map[string]any(e.at("headers"))
				if headers == nil {
					headers = map[string]any{}
				}
				for _, h := range slices.Sorted(maps.Keys(headers)) {
					m.Headers = append(m.Headers, events.Header{Key: h, Value: []byte(headers[h].(string))})
				}
				if err := compiledAt(t, name, "headers").Validate(headers); err != nil {
					t.Error(err)
				}
				if err := compiledAt(t, name, "payload").Validate(parsed(t, string(raw))); err != nil {
					t.Error(err)
				}
				if name == "outcome" {
					o, err := events.DecodeOutcome(m)
					if err != nil {
						t.Fatal(err)
					}
					again, err := events.EncodeOutcome(o)
					if err != nil || !maps.Equal(headersOf(again), headers) {
						t.Errorf("headers %v, it would be written with %v, %v", headers, headersOf(again), err)
					}
					return
				}
				if _, err := events.DecodeRequest(m); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if want := map[string]int{"request": 2, "structuredRequest": 1, "outcome": 2, "deadLetter": 1}; !maps.Equal(shown, want) {
		t.Errorf("shown are %v, want %v", shown, want)
	}
}
