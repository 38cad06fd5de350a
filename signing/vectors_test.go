package signing_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// vector is described in testdata/signing/README.md.
type vector struct {
	Name   string
	Key    string
	Type   string `json:"sign_type"`
	Fields map[string]string
	String string
	Sign   string
	Verify string
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	paths, err := filepath.Glob("../testdata/signing/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Vectors []vector }
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(file.Vectors) == 0 {
			t.Fatalf("%s has no vectors", path)
		}
		all = append(all, file.Vectors...)
	}
	if len(all) == 0 {
		t.Fatal("no vectors in testdata/signing")
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			key := mustKey(t, v.Key)
			typ, err := signing.ParseType(v.Type)
			if err != nil {
				t.Fatal(err)
			}
			if got := signing.Sign(v.Fields, key, typ); got != v.Sign {
				t.Errorf("Sign = %s, want %s", got, v.Sign)
			}
			clear, ok := strings.CutSuffix(v.String, v.Key)
			if got := signing.Explain(v.Fields); !ok || got != clear+"******" {
				t.Errorf("Explain = %q, want %q with the key masked", got, v.String)
			}
			if got := verdict(signing.Verify(v.Fields, key, typ)); got != v.Verify {
				t.Errorf("Verify says %s, want %s", got, v.Verify)
			}
		})
	}
}

func verdict(err error) string {
	switch {
	case err == nil:
		return "valid"
	case errors.Is(err, signing.ErrMissing):
		return "missing"
	case errors.Is(err, signing.ErrType):
		return "type"
	case errors.Is(err, signing.ErrMismatch):
		return "mismatch"
	}
	return err.Error()
}

func mustKey(t testing.TB, text string) signing.Key {
	t.Helper()
	key, err := signing.NewKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
