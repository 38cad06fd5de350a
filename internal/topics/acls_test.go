package topics_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/topics"
)

// cmd/closeorder shows that each role can do with them, and not without.
func TestTheACLsOfAWorkerAreCommands(t *testing.T) {
	var got strings.Builder
	for _, role := range topics.Roles() {
		for _, a := range []topics.Allowed{{Names: names, Group: "closeorder"}, {Names: names, Group: "closeorder", ExactlyOnce: true, Prefixed: true}} {
			got.WriteString("== " + string(role))
			if a.Prefixed {
				got.WriteString(", exactly once, prefixed")
			}
			got.WriteString("\n")
			for _, acl := range a.ACLs(role) {
				got.WriteString("# " + acl.Why + "\n" + acl.Command("kafka-1:9092", "User:closeorder") + "\n")
			}
		}
	}
	golden.Check(t, "../../testdata/topics/acls.txt", got.String())
	for principal, want := range map[string]string{
		"User:CN=closeorder,OU=pay": "kafka-acls.sh --bootstrap-server b:1 --add --allow-principal User:CN=closeorder,OU=pay --operation r",
		"User:CN=close order":       "kafka-acls.sh --bootstrap-server b:1 --add --allow-principal 'User:CN=close order' --operation r",
		"User:o'neill; rm *":        `kafka-acls.sh --bootstrap-server b:1 --add --allow-principal 'User:o'\''neill; rm *' --operation r`,
	} {
		if got := (topics.ACL{Operations: []string{"r"}}).Command("b:1", principal); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
