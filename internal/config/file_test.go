package config_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
)

func TestBrokenYAMLIsFoundInItsLines(t *testing.T) {
	for _, tt := range []struct{ what, yaml, want string }{
		{"a colon is missing", "kafka:\n  group: g\n  client_id x\n  brokers: [a:1]\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a line that is indented by a tab", "kafka:\n  group: g\n\tclient_id: x\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a line that is indented too little", "kafka:\n    group: g\n  client_id: x\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a quote that is not closed", "kafka:\n  group: g\n  client_id: \"x\n  brokers: [a:1]\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a bracket that is not closed", "kafka:\n  group: g\n  brokers: [a:1\nmax_in_flight: 3\nlog: {level: info}\n", "look at lines 2 to 3"},
		{"a list over several lines with a mistake in the third of them", "kafka:\n  group: g\n  brokers: [a:1,\n    b:2,\n    }]\nmax_in_flight: 3\n", "look at lines 2 to 5"},
		{"the first line", "}\nkafka:\n  group: g\n", "look at line 1"},
	} {
		_, err := config.Load(config.Source{File: "c.yaml", ReadFile: files(map[string]string{"c.yaml": tt.yaml})})
		want := "1 mistake in the configuration:\n  config (c.yaml): not readable as YAML: " + tt.want
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", tt.what, err, want)
		}
	}
}

func TestAFileThatIsNotThereHidesNoMistakeElsewhereAndMakesNone(t *testing.T) {
	_, err := config.Load(config.Source{File: "missing.yaml", ReadFile: files(nil), Flags: map[string]string{"max_in_flight": "none"}})
	if err == nil || !strings.HasPrefix(err.Error(), "2 mistakes") || !strings.Contains(err.Error(), "max_in_flight") || strings.Contains(err.Error(), "no merchant") {
		t.Errorf("%v", err)
	}
}
