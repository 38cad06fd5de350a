package events

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/closeorder/closeorder/internal/golden"
)

// vector is a row of testdata/events/precedence.json: two values of outcomes
// and their ce_id, as a reader in any language has them.
type vector struct {
	Name       string          `json:"name"`
	Current    json.RawMessage `json:"current"`
	CurrentID  string          `json:"current_id"`
	Next       json.RawMessage `json:"next"`
	NextID     string          `json:"next_id"`
	Supersedes bool            `json:"supersedes"`
}

// The file is the table of TestSupersedes as it is on the wire. The clients in
// examples are held to it by tests of their own.
func TestVectorsOfPrecedence(t *testing.T) {
	file := filepath.Join(testdata, "precedence.json")
	table := precedences()
	var vectors []vector
	for _, name := range slices.Sorted(maps.Keys(table)) {
		row := table[name]
		v := vector{Name: name, CurrentID: row.current.ID, NextID: row.next.ID, Supersedes: row.want}
		for to, o := range map[*json.RawMessage]Outcome{&v.Current: row.current, &v.Next: row.next} {
			m, err := EncodeOutcome(o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			*to = m.Value
		}
		vectors = append(vectors, v)
	}
	text, err := encodeIndented(vectors)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, file, string(text))

	var read []vector
	readJSON(t, file, &read)
	for _, v := range read {
		if got := Supersedes(v.outcome(t, v.Current, v.CurrentID), v.outcome(t, v.Next, v.NextID)); got != v.Supersedes {
			t.Errorf("%s: read back, got %v", v.Name, got)
		}
	}
}

// outcome reads one side of v as it comes from the topic.
func (v vector) outcome(t *testing.T, value json.RawMessage, id string) Outcome {
	t.Helper()
	var head struct {
		Outcome Result `json:"outcome"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	o, err := DecodeOutcome(Message{Value: value, Headers: eventHeaders(value, Outcome{Result: head.Outcome}.eventType(), id, outcomeSource, "", noon, "")})
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return o
}
