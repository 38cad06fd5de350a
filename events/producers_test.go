package events

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// producerRecord is what a real producer library wrote, as the README of
// testdata/events/producers describes it.
type producerRecord struct {
	Library     string `json:"library"`
	Version     string `json:"version"`
	What        string `json:"what"`
	TimestampMS *int64 `json:"timestamp_ms,omitempty"`
	Key         []byte `json:"key_base64"`
	Value       []byte `json:"value_base64"`
	Headers     []struct {
		Key   string `json:"key"`
		Value []byte `json:"value_base64"`
	} `json:"headers"`
}

func (p producerRecord) message() Message {
	m := Message{Key: p.Key, Value: p.Value}
	for _, h := range p.Headers {
		m.Headers = append(m.Headers, Header{h.Key, h.Value})
	}
	return m
}

// reading is what we make of such a record; Error is empty where it is served.
type reading struct {
	What    string       `json:"what"`
	Kind    string       `json:"kind,omitempty"`
	Error   []string     `json:"error,omitempty"`
	Request *wantRequest `json:"request,omitempty"`
}

// Every library asks for the same order to be closed. Either it is served, and
// then as if it had been written by hand, or it is refused in a way that says
// what to change, and the order is named wherever it stands there.
func TestProducers(t *testing.T) {
	golden := filepath.Join(testdata, "producers.json")
	want := map[string]reading{}
	if text, err := os.ReadFile(golden); err == nil {
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]reading{}
	served := 0
	for _, path := range files(t, "producers") {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			var p producerRecord
			readJSON(t, path, &p)
			if p.Library == "" || p.Version == "" || p.What == "" {
				t.Error("does not say where it comes from")
			}
			m := p.message()
			r, err := DecodeRequest(m)
			g := reading{What: p.Library + " " + p.Version + ": " + p.What, Request: wanted(r)}
			g.Kind, g.Error = judge(err)
			got[name] = g
			if w := want[name]; !*update && (g.Kind != w.Kind || !slices.Equal(g.Error, w.Error) || w.Request == nil || *g.Request != *w.Request) {
				t.Errorf("got  %s %q %+v\nwant %s %q %+v", g.Kind, g.Error, g.Request, w.Kind, w.Error, w.Request)
			}
			checkProducer(t, m, r, err)
			if err == nil {
				served++
			}
		})
	}
	if *update {
		writeJSON(t, golden, got)
	}
	for name := range want {
		if _, ok := got[name]; !ok && !*update {
			t.Errorf("there is no record %s any more", name)
		}
	}
	t.Logf("%d of %d are served", served, len(got))
}

// checkProducer knows nothing of how a record was written.
func checkProducer(t *testing.T, m Message, r Request, err error) {
	text := string(m.Value)
	if inner := unbase64([]byte(strings.Trim(text, `"`))); inner != nil {
		text = string(inner)
	}
	created := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	if err == nil {
		if r.OutTradeNo != "PRODUCER1" || r.MchID != "1900000109" || r.Reason != "payment_timeout" {
			t.Errorf("served as %+v", r)
		}
		if at := r.OrderCreatedAt.Truncate(time.Second); !at.Equal(created) {
			t.Errorf("order_created_at is served as %v", at)
		}
		return
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	o := NewOutcome(r, m.Key, source)
	switch {
	case o.OutTradeNo == "" && o.RecordKey == "" && len(m.Key) > 0:
		t.Errorf("neither order nor key is named: %v", err)
	case o.OutTradeNo != "PRODUCER1" && strings.Contains(text, `"PRODUCER1"`):
		t.Errorf("the order is in there, and is named as %q", o.OutTradeNo)
	}
}
