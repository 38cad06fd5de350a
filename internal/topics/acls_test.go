package topics_test

import (
	"testing"

	"github.com/closeorder/closeorder/internal/topics"
)

// cmd/closeorder shows that a worker can do with them, and not without.
func TestTheACLsOfAWorkerAreCommands(t *testing.T) {
	got := ""
	for _, acl := range topics.ACLs(names, "closeorder", true) {
		got += "# " + acl.Why + "\n" + acl.Command("kafka-1:9092", "User:closeorder") + "\n"
	}
	if want := `# what is read, and the group's positions
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation Read --group closeorder --topic requests --topic retries.1m
# what is written
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation Write --topic outcomes --topic dead --topic retries.1m
# to warn of settings that lose requests; it can do without
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation DescribeConfigs --topic requests --topic outcomes --topic dead --topic retries.1m
# transactions
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation Write --operation Describe --transactional-id closeorder- --resource-pattern-type prefixed
# to warn of what brokers lack for transactions; it can do without
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation Describe --operation DescribeConfigs --cluster --topic __transaction_state
# brokers before Kafka 2.8: a record is written once though it is sent again
kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:closeorder --operation IdempotentWrite --cluster
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if n := len(topics.ACLs(names, "closeorder", false)); n != 4 {
		t.Errorf("at least once takes %d", n)
	}
	for principal, want := range map[string]string{
		"User:CN=closeorder,OU=pay": "kafka-acls.sh --bootstrap-server b:1 --add --allow-principal User:CN=closeorder,OU=pay r",
		"User:CN=close order":       "kafka-acls.sh --bootstrap-server b:1 --add --allow-principal 'User:CN=close order' r",
		"User:o'neill; rm *":        `kafka-acls.sh --bootstrap-server b:1 --add --allow-principal 'User:o'\''neill; rm *' r`,
	} {
		if got := (topics.ACL{Rule: "r"}).Command("b:1", principal); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
