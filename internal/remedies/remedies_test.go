package remedies

import (
	"os"
	"regexp"
	"testing"
)

// The codes of events are what a request can fail with of closeorder's own.
func TestEachCodeOfOursHasARemedy(t *testing.T) {
	source, err := os.ReadFile("../../events/outcome.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\tCode\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 5 {
		t.Fatalf("%d codes found in events/outcome.go", len(codes))
	}
	for _, code := range codes {
		if For(string(code[1])) == Others {
			t.Errorf("%s has no remedy", code[1])
		}
	}
	if For("SOMETHING_NEW") != Others {
		t.Error("a code that nobody knows has no remedy")
	}
}
