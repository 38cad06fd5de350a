package topics

import (
	"regexp"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
)

// Role is what a user of the brokers is for.
type Role string

const (
	// Worker is who runs the worker.
	Worker Role = "worker"
	// Audit is who reads: audit, trace, status, outcomes, deadletters list and show.
	Audit Role = "audit"
	// Replay is who sends again what failed, or is lost, or asks for a close:
	// deadletters replay, audit --republish, request.
	Replay Role = "replay"
	// Create is who makes the topics: topics create.
	Create Role = "topics"
	// Console is a web console, closeorder's own or of whatever make, that shows topics,
	// records and groups. It writes nothing, unless dead letters are replayed from it.
	Console Role = "console"
)

// Roles are all of them.
func Roles() []Role { return []Role{Worker, Audit, Replay, Create, Console} }

// ACL is what a user must be allowed, as one call of kafka-acls.sh adds it: each
// operation on each of the resources.
type ACL struct {
	// Why it is needed, in a phrase.
	Why string `json:"why"`
	// Optional: without it something is not seen, or not warned of, and all else
	// works.
	Optional bool `json:"optional,omitempty"`
	// Operations by the names of Kafka: Read, Write, Describe.
	Operations      []string `json:"operations"`
	Group           string   `json:"group,omitempty"`
	Topics          []string `json:"topics,omitempty"`
	TransactionalID string   `json:"transactional_id,omitempty"`
	Cluster         bool     `json:"cluster,omitempty"`
	// Prefixed: the names are what those of the resources begin with.
	Prefixed bool `json:"prefixed,omitempty"`
}

// Command is the call, for a shell.
func (a ACL) Command(broker, principal string) string {
	return "kafka-acls.sh --bootstrap-server " + broker + " --add --allow-principal " + word(principal) + " " + a.rule()
}

// rule is the rest of the call: operations and what they are for.
func (a ACL) rule() string {
	var b strings.Builder
	b.WriteString("--operation " + strings.Join(a.Operations, " --operation "))
	if a.Group != "" {
		b.WriteString(" --group " + word(a.Group))
	}
	if a.TransactionalID != "" {
		b.WriteString(" --transactional-id " + word(a.TransactionalID))
	}
	if a.Cluster {
		b.WriteString(" --cluster")
	}
	for _, topic := range a.Topics {
		b.WriteString(" --topic " + topic)
	}
	if a.Prefixed {
		b.WriteString(" --resource-pattern-type prefixed")
	}
	return b.String()
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

// Allowed says whom ACLs are for.
type Allowed struct {
	Names config.Topics
	Group string
	// ExactlyOnce: workers answer in transactions.
	ExactlyOnce bool
	// Prefixed has the retry topics allowed by what their names begin with, so
	// that another delay needs no ACL.
	Prefixed bool
}

// ACLs are those of a role, no more than it needs. Write implies Describe, and so
// does Read; Create does not (Kafka's AclOperation). Only for the transactional ids
// both are named, as the documents of Kafka do.
func (a Allowed) ACLs(role Role) []ACL {
	names, all := a.Names, a.Names.All()
	once := ACL{Why: "brokers before Kafka 2.8: a record is written once though it is sent again", Optional: true, Operations: []string{"IdempotentWrite"}, Cluster: true}
	reads := func(why string) []ACL {
		return slices.Concat(a.of(ACL{Why: why, Operations: []string{"Read"}}, all...),
			[]ACL{{Why: "the group's members and positions", Operations: []string{"Describe"}, Group: a.Group}})
	}
	switch role {
	case Audit:
		return append(reads("what is audited, traced and listed"),
			ACL{Why: "to see that outcomes are compacted; it can do without", Optional: true, Operations: []string{"DescribeConfigs"}, Topics: []string{names.Outcomes}})
	case Replay:
		return append(reads("what is looked at before it is sent again, and what comes of it"),
			ACL{Why: "requests", Operations: []string{"Write"}, Topics: []string{names.Requests}},
			ACL{Why: "deadletters import alone; the rest can do without", Optional: true, Operations: []string{"Write"}, Topics: []string{names.DeadLetters}},
			once)
	case Create:
		list := a.of(ACL{Why: "to make them, and to see that they are there", Operations: []string{"Create", "Describe"}}, all...)
		list = append(list, a.of(ACL{Why: "to warn of settings that lose requests; it can do without", Optional: true, Operations: []string{"DescribeConfigs"}}, all...)...)
		if a.ExactlyOnce {
			list = append(list, stateLog)
		}
		return list
	case Console:
		list := append(reads("what is shown"),
			a.of(ACL{Why: "the settings of topics; it can do without", Optional: true, Operations: []string{"DescribeConfigs"}}, all...)...)
		once.Why = "to replay, with " + once.Why
		return append(list,
			ACL{Why: "to replay dead letters with closeorder console; leave it out where a console is to show and no more", Optional: true, Operations: []string{"Write"}, Topics: []string{names.Requests}},
			once)
	}
	read := ACL{Why: "what is read, and the group's positions", Operations: []string{"Read"}}
	list := a.of(read, append([]string{names.Requests}, names.Retries()...)...)
	list[0].Group = a.Group
	list = append(list, a.of(ACL{Why: "what is written", Operations: []string{"Write"}}, append([]string{names.Outcomes, names.DeadLetters}, names.Retries()...)...)...)
	list = append(list, a.of(ACL{Why: "to warn of settings that lose requests; it can do without", Optional: true, Operations: []string{"DescribeConfigs"}}, all...)...)
	if a.ExactlyOnce {
		list = append(list, ACL{Why: "transactions", Operations: []string{"Write", "Describe"}, TransactionalID: TransactionalIDs(a.Group), Prefixed: true}, stateLog)
	}
	return append(list, once)
}

// stateLog is for looking at what transactions need.
var stateLog = ACL{Why: "to warn of what brokers lack for transactions; it can do without", Optional: true,
	Operations: []string{"Describe", "DescribeConfigs"}, Cluster: true, Topics: []string{StateLog}}

// of are the ACLs of topics: one, or with Prefixed one for the retry topics beside
// it.
func (a Allowed) of(what ACL, topics ...string) []ACL {
	if !a.Prefixed {
		what.Topics = topics
		return []ACL{what}
	}
	retries := a.Names.Retries()
	rest := what
	rest.Prefixed, rest.Topics = true, []string{a.Names.RetriesPrefix + "."}
	what.Topics = slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return slices.Contains(retries, topic) })
	return []ACL{what, rest}
}
