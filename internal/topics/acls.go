package topics

import (
	"regexp"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
)

// ACL is what a worker must be allowed, as one call of kafka-acls.sh adds it.
type ACL struct {
	// Why it is needed, in a phrase.
	Why string
	// Rule is the rest of the call: operations and what they are for.
	Rule string
}

// Command is the call, for a shell.
func (a ACL) Command(broker, principal string) string {
	return "kafka-acls.sh --bootstrap-server " + broker + " --add --allow-principal " + word(principal) + " " + a.Rule
}

var plainWord = regexp.MustCompile(`^[\w.:=,/@+-]+$`)

// word is a text as one word of a shell: a distinguished name has blanks.
func word(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// TransactionalIDs is how the transactional ids of a group's workers begin: each
// has its own behind that, by kafka.instance_id or drawn.
func TransactionalIDs(group string) string { return group + "-" }

// ACLs are those of a worker. Write implies Describe, and so does Read; only for
// the transactional ids both are named, as the documents of Kafka do.
func ACLs(names config.Topics, group string, exactlyOnce bool) []ACL {
	retries := names.Retries()
	all := []ACL{
		{"what is read, and the group's positions", "--operation Read --group " + word(group) + ofTopics(names.Requests, retries...)},
		{"what is written", "--operation Write" + ofTopics(names.Outcomes, append([]string{names.DeadLetters}, retries...)...)},
		{"to warn of settings that lose requests; it can do without", "--operation DescribeConfigs" + ofTopics(names.Requests, names.All()[1:]...)},
	}
	if exactlyOnce {
		all = append(all,
			ACL{"transactions", "--operation Write --operation Describe --transactional-id " + word(TransactionalIDs(group)) + " --resource-pattern-type prefixed"},
			ACL{"to warn of what brokers lack for transactions; it can do without", "--operation Describe --operation DescribeConfigs --cluster --topic " + StateLog})
	}
	return append(all, ACL{"brokers before Kafka 2.8: a record is written once though it is sent again", "--operation IdempotentWrite --cluster"})
}

func ofTopics(first string, more ...string) string {
	return " --topic " + strings.Join(slices.Insert(slices.Clone(more), 0, first), " --topic ")
}
