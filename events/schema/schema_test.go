package schema_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/events/schema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// documents are the JSON Schemas, by the names of their files.
func documents() map[string]string {
	return map[string]string{
		"request.schema.json":     schema.Request,
		"outcome.schema.json":     schema.Outcome,
		"dead-letter.schema.json": schema.DeadLetter,
	}
}

// parsed is JSON as a validator takes it.
func parsed(t testing.TB, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// compiled is a schema by itself: nothing else can be loaded.
func compiled(t testing.TB, text string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	doc := parsed(t, text)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// object is a JSON object of a schema, and what is asked of it here.
type object map[string]any

func (o object) at(name string) object {
	inner, _ := o[name].(map[string]any)
	return inner
}

func asObject(t testing.TB, text string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestSchemasAreWhatPeopleRead holds each one to what a reader and a validator
// need of it: it says what it is, shows examples that are right, names and
// describes each field, and needs no other document.
func TestSchemasAreWhatPeopleRead(t *testing.T) {
	for file, text := range documents() {
		t.Run(file, func(t *testing.T) {
			s, doc := compiled(t, text), asObject(t, text)
			if doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
				t.Errorf("$schema is %v", doc["$schema"])
			}
			if want := "https://github.com/closeorder/closeorder/events/schema/" + file; doc["$id"] != want {
				t.Errorf("$id is %v, want %s", doc["$id"], want)
			}
			if doc["title"] == nil || doc["description"] == nil {
				t.Error("no title or description")
			}
			var examples []json.RawMessage
			if raw, err := json.Marshal(doc["examples"]); err != nil || json.Unmarshal(raw, &examples) != nil || len(examples) == 0 {
				t.Fatalf("no examples: %v", doc["examples"])
			}
			for _, e := range examples {
				if err := s.Validate(parsed(t, string(e))); err != nil {
					t.Errorf("example %s: %v", e, err)
				}
			}
			checkFields(t, "", doc)
			if strings.Contains(text, `"format"`) {
				t.Error("has a format, about which validators disagree")
			}
			if !strings.HasSuffix(text, "}\n") || strings.ContainsFunc(text, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' }) {
				t.Error("is not ASCII with a line break at its end")
			}
		})
	}
}

// checkFields complains of a field without a title, and of an example of one
// that is not what it is an example of.
func checkFields(t *testing.T, parent string, of object) {
	t.Helper()
	for name, raw := range of.at("properties") {
		field, _ := raw.(map[string]any)
		if field["title"] == nil && parent != "then." {
			t.Errorf("%s%s has no title", parent, name)
		}
		checkFields(t, parent+name+".", field)
	}
}

// kind is the word that a schema has for a Go type.
func kind(t *testing.T, typ reflect.Type) string {
	t.Helper()
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case typ == reflect.TypeFor[json.RawMessage](), typ.Kind() == reflect.Struct:
		return "object"
	case typ.Kind() == reflect.String:
		return "string"
	case typ.Kind() == reflect.Bool:
		return "boolean"
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Int64:
		return "integer"
	}
	t.Fatalf("there is no word for a %s", typ)
	return ""
}

// compareFields holds the properties of a schema to the fields of a struct:
// names, their order in the file, kinds, and which are always there.
func compareFields(t *testing.T, path string, s object, typ reflect.Type) {
	t.Helper()
	var always []string
	names := make(map[string]bool)
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		names[name] = true
		if !strings.Contains(options, "omit") {
			always = append(always, name)
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		property := s.at("properties").at(name)
		if property == nil {
			t.Errorf("%s%s is a field of the Go type and not of the schema", path, name)
			continue
		}
		got := ""
		switch is := property["type"].(type) {
		case string:
			got = is
		case []any: // or null
			got, _ = is[0].(string)
		}
		if property["$ref"] == "#/$defs/time" {
			got = "time"
		}
		if want := kind(t, inner); got != want {
			t.Errorf("%s%s is %q in the schema and %q in Go", path, name, got, want)
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
			compareFields(t, path+name+".", property, inner)
		}
	}
	for name := range s.at("properties") {
		if !names[name] {
			t.Errorf("%s%s is a field of the schema and not of the Go type", path, name)
		}
	}
	var required []string
	for _, name := range listOf(s["required"]) {
		required = append(required, name.(string))
	}
	slices.Sort(always)
	slices.Sort(required)
	if !slices.Equal(always, required) {
		t.Errorf("%srequired is %q in the schema and %q in Go", path, required, always)
	}
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}

// TestSchemasHaveTheFieldsOfTheTypes fails when a field is added to one side,
// taken away, or is of another kind.
func TestSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	compareFields(t, "request: ", asObject(t, schema.Request), reflect.TypeFor[events.Request]())
	compareFields(t, "outcome: ", asObject(t, schema.Outcome), reflect.TypeFor[events.Outcome]())
}

// TestPackageHasEveryFile complains of a document that nobody can get at.
func TestPackageHasEveryFile(t *testing.T) {
	files, err := filepath.Glob("*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(documents())); !slices.Equal(files, want) {
		t.Errorf("files %q, variables %q", files, want)
	}
	for file, text := range documents() {
		if raw, err := os.ReadFile(file); err != nil || string(raw) != text {
			t.Errorf("%s is not its variable: %v", file, err)
		}
	}
}
