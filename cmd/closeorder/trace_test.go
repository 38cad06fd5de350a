package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/timeline"
)

// TestTracesReadAsStories prints the reports of testdata/timeline as people see them.
func TestTracesReadAsStories(t *testing.T) {
	files, err := filepath.Glob("../../testdata/timeline/reports/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d reports, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r timeline.Report
			if err := json.Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			out := newStream()
			(&tracePrinter{out: out, zone: time.FixedZone("", 8*3600)}).print(&r, nil)
			golden.Check(t, goldens+"trace/"+name+".txt", out.String())
		})
	}
}
