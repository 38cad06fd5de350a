//go:build apachekafka

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/topics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// right is one operation on one resource, as topics acls has it.
type right struct {
	operation, kind, name string
	prefixed, optional    bool
}

func (r right) String() string { return r.operation + " on " + r.kind + " " + r.name }

// rightsOf are those of a role, one by one: what brokers before Kafka 2.8 want is
// left out.
func rightsOf(t *testing.T, env []string, args ...string) (all []right) {
	t.Helper()
	var printed []struct {
		Optional, Cluster, Prefixed bool
		Operations, Topics          []string
		Group                       string
		TransactionalID             string `json:"transactional_id"`
		Principal, Command, Why     string
	}
	if err := json.Unmarshal([]byte(callOK(t, env, append([]string{"topics", "acls", "--json"}, args...)...)), &printed); err != nil {
		t.Fatal(err)
	}
	for _, acl := range printed {
		if acl.Why == "" || !strings.HasPrefix(acl.Command, "kafka-acls.sh --bootstrap-server ") || !strings.Contains(acl.Command, acl.Principal) {
			t.Errorf("%+v", acl)
		}
		for _, operation := range acl.Operations {
			if operation == "IdempotentWrite" {
				continue
			}
			add := func(kind, name string) {
				all = append(all, right{operation, kind, name, acl.Prefixed, acl.Optional})
			}
			for _, name := range acl.Topics {
				add("topic", name)
			}
			if acl.Group != "" {
				add("group", acl.Group)
			}
			if acl.TransactionalID != "" {
				add("transactional-id", acl.TransactionalID)
			}
			if acl.Cluster {
				add("cluster", "kafka-cluster")
			}
		}
	}
	return all
}

func (r right) builder(t *testing.T, principal string) *kadm.ACLBuilder {
	t.Helper()
	operation, err := kmsg.ParseACLOperation(r.operation)
	if err != nil {
		t.Fatal(err)
	}
	b := kadm.NewACLs().Allow(principal).AllowHosts("*").Operations(operation).ResourcePatternType(kadm.ACLPatternLiteral)
	if r.prefixed {
		b = b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	switch r.kind {
	case "topic":
		return b.Topics(r.name)
	case "group":
		return b.Groups(r.name)
	case "transactional-id":
		return b.TransactionalIDs(r.name)
	}
	return b.Clusters()
}

// testRoles gives a user what topics acls prints for each role, sees that its
// commands can do with it, takes one after the other away, and reads what is said.
func testRoles(t *testing.T, s *secured, env []string) {
	admin := kadm.NewClient(s.client)
	// The broker answers as it judges.
	await := func(t *testing.T, there bool, b *kadm.ACLBuilder) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			found, err := admin.DescribeACLs(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, one := range found {
				n += len(one.Described)
			}
			if n > 0 == there {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the broker does not take it over")
			}
		}
	}
	give := func(t *testing.T, b *kadm.ACLBuilder) {
		t.Helper()
		if done, err := admin.CreateACLs(t.Context(), b); err != nil || done[0].Err != nil {
			t.Fatalf("%v, %+v", err, done)
		}
		await(t, true, b)
	}
	take := func(t *testing.T, b *kadm.ACLBuilder) {
		t.Helper()
		if _, err := admin.DeleteACLs(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		await(t, false, b)
	}
	plain := []string{"CLOSEORDER_KAFKA_BROKERS=" + s.Bootstrap()}
	inPlain := slices.DeleteFunc(slices.Concat(env, plain), func(entry string) bool { return strings.HasPrefix(entry, "CLOSEORDER_KAFKA_TLS_") })
	// In transactions, so that there is what brokers keep of those; and LATER1 waits in
	// the only retry topic.
	worker := launch(t, append(inPlain, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once", "CLOSEORDER_TOPICS_RETRY_DELAYS=10s"), "", "run")
	later := &kgo.Record{Topic: "closeorder.requests", Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":"LATER1","not_before":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339))}
	if err := s.client.ProduceSync(t.Context(), later).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, plain, "", "request", "--mch-id", "1900000109", "--out-trade-no", "DEAD1", "--wait", "--timeout", "1m"); code != exitBad || !strings.Contains(stdout, "PARAM_ERROR") {
		t.Fatalf("exit code %d, %s\n%s", code, stdout, stderr)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ends, err := admin.ListEndOffsets(t.Context(), "closeorder.retries.10s")
		if n := int64(0); err == nil {
			ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
			if n > 0 {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing waits: %v", err)
		}
	}
	worker.end(t)
	for _, role := range []struct {
		name     topics.Role
		args     []string
		settings []string
		commands []string
	}{
		{name: topics.Worker, commands: []string{"doctor --json"}},
		{name: topics.Worker, settings: []string{"CLOSEORDER_PROCESSING_GUARANTEE=exactly_once", "CLOSEORDER_KAFKA_GROUP=once"}, args: []string{"--prefixed", "--processing-guarantee", "exactly_once", "--kafka-group", "once"}, commands: []string{"doctor --json"}},
		{name: topics.Audit, settings: []string{"CLOSEORDER_TOPICS_RETRY_DELAYS=10s"}, commands: []string{"audit", "status", "trace DEAD1", "outcomes --from beginning --no-follow", "deadletters list", "deadletters show 1:0"}},
		{name: topics.Replay, args: []string{"--prefixed"}, commands: []string{"deadletters replay --yes", "audit --republish", "request --mch-id 1900000109 --out-trade-no T9"}},
		{name: topics.Create, settings: []string{"CLOSEORDER_TOPICS_REQUESTS=new.requests", "CLOSEORDER_TOPICS_OUTCOMES=new.outcomes", "CLOSEORDER_TOPICS_DEAD_LETTERS=new.dead", "CLOSEORDER_TOPICS_RETRIES_PREFIX=new.retries", "CLOSEORDER_TOPICS_RETRY_DELAYS=10s"}, commands: []string{"topics create --dry-run", "topics create --partitions 2"}},
		{name: topics.Console, commands: []string{"audit", "status", "deadletters list", "request --mch-id 1900000109 --out-trade-no T8"}},
	} {
		user := string(role.name)
		if role.settings != nil {
			user += "-2"
		}
		principal := "User:" + user
		t.Run(user, func(t *testing.T) {
			as := slices.Concat(env, role.settings, []string{"CLOSEORDER_KAFKA_BROKERS=" + s.ListenerBootstrap("LOGIN"), "CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=" + user, "CLOSEORDER_KAFKA_SASL_PASSWORD=" + secretPassword})
			offline := slices.Concat(plain, role.settings)
			if role.args != nil && role.settings != nil {
				offline = plain // by flags
			}
			rights := rightsOf(t, offline, append([]string{"--for", string(role.name), "--principal", principal}, role.args...)...)
			for _, r := range rights {
				give(t, r.builder(t, principal))
			}
			if role.name == topics.Console {
				testConsole(t, s, user, rights, give, take)
				for _, command := range role.commands { // what closeorder's own does, and a write as of a replay
					if code, stdout, stderr := call(t, as, "", strings.Fields(command)...); code == exitUsage || strings.Contains(stdout+stderr, "uthorization") {
						t.Errorf("%s: exit code %d, %s%s", command, code, stdout, stderr)
					}
				}
				return
			}
			// what one right leaves unsaid, and what all of it says
			says := func(command string) (int, string) {
				code, stdout, stderr := call(t, as, "", strings.Fields(command)...)
				return code, stdout + stderr
			}
			allowed := func(optional bool) {
				t.Helper()
				for _, command := range role.commands {
					if code, said := says(command); strings.HasPrefix(command, "doctor") {
						if regexp.MustCompile(`"severity":"danger","check":"acl`).MatchString(said) {
							t.Errorf("%s: %s", command, said)
						}
					} else if code == exitUsage || strings.Contains(said, "uthorization") && !optional {
						t.Errorf("%s, with all of its rights: exit code %d, %s", command, code, said)
					}
				}
			}
			for _, r := range rights {
				if r.optional || r.kind == "transactional-id" && r.operation == "Describe" { // Write implies it
					continue
				}
				take(t, r.builder(t, principal))
				missing := func(operation string) {
					t.Helper()
					want := regexp.MustCompile(fmt.Sprintf(`kafka-acls\.sh --add --allow-principal User:\.\.\. .*--operation %s .*--%s %s`, operation, r.kind, regexp.QuoteMeta(r.name)))
					var all []string
					for _, command := range role.commands {
						code, said := says(command)
						if want.MatchString(said) {
							return
						}
						all = append(all, fmt.Sprintf("%s: exit code %d, %s", command, code, said))
					}
					t.Errorf("without %s nothing says --operation %s: %s", r, operation, strings.Join(all, "\n"))
				}
				if strings.HasPrefix(role.commands[0], "doctor") || r.operation == "Describe" || r.operation == "Create" {
					missing("(" + r.operation + "|Write)")
				} else {
					missing("(Describe|" + r.operation + ")")
					if r.kind == "topic" { // seen, and no more
						seen := r
						seen.operation = "Describe"
						give(t, seen.builder(t, principal))
						missing(r.operation)
						take(t, seen.builder(t, principal))
					}
				}
				give(t, r.builder(t, principal))
			}
			allowed(false)
			for _, r := range rights {
				if r.optional {
					take(t, r.builder(t, principal))
				}
			}
			allowed(true)
		})
	}
}

// testConsole does what web consoles do, with a client that is not ours.
func testConsole(t *testing.T, s *secured, user string, rights []right, give, take func(*testing.T, *kadm.ACLBuilder)) {
	client, err := kgo.NewClient(append(s.asUser(t, user), kgo.ConsumeTopics("closeorder.requests"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	looks := kadm.NewClient(client)
	var names []string
	for _, r := range rights {
		if r.kind == "topic" && r.operation == "Read" {
			names = append(names, r.name)
		}
	}
	shows := func() error {
		found, err := looks.ListTopics(t.Context(), names...)
		if err == nil {
			err = found.Error()
		}
		if err != nil {
			return err
		}
		ends, err := looks.ListEndOffsets(t.Context(), names...)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		groups, err := looks.DescribeGroups(t.Context(), "closeorder")
		if err == nil {
			err = groups.Error()
		}
		if err != nil {
			return err
		}
		offsets, err := looks.FetchOffsetsForTopics(t.Context(), "closeorder", names...)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return err
		}
		if configs, err := looks.DescribeTopicConfigs(t.Context(), names...); err != nil || configs[0].Err != nil {
			return fmt.Errorf("settings: %v, %v", err, configs)
		}
		return nil
	}
	if err := shows(); err != nil {
		t.Error(err)
	}
	if fetches := client.PollRecords(t.Context(), 1); fetches.Err() != nil || fetches.NumRecords() != 1 {
		t.Errorf("%d records, %v", fetches.NumRecords(), fetches.Err())
	}
	// To write implies to describe, so that it is taken away first, as where a console
	// is to show and no more.
	writes := slices.DeleteFunc(slices.Clone(rights), func(r right) bool { return r.operation != "Write" })
	if len(writes) != 1 || !writes[0].optional {
		t.Errorf("what it may write: %v", writes)
	}
	for _, r := range writes {
		take(t, r.builder(t, "User:"+user))
	}
	if err := shows(); err != nil {
		t.Error(err)
	}
	for _, r := range rights {
		if r.operation == "Write" {
			continue
		}
		take(t, r.builder(t, "User:"+user))
		if err := shows(); err == nil && !r.optional {
			t.Errorf("it can do without %s", r)
		}
		give(t, r.builder(t, "User:"+user))
	}
	for _, r := range writes {
		give(t, r.builder(t, "User:"+user))
	}
}
