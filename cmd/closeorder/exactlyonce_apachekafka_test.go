//go:build apachekafka

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// administrator is a client of the first listener of a cluster, where everything
// is allowed.
func administrator(t *testing.T, cluster *apachekafka.Cluster) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// grant makes rules, and returns when the broker goes by them: the controller
// answers before that.
func grant(t *testing.T, admin *kadm.Client, rules ...*kadm.ACLBuilder) {
	t.Helper()
	for _, rule := range rules {
		done, err := admin.CreateACLs(t.Context(), rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range done {
			if one.Err != nil {
				t.Fatalf("%+v", one)
			}
		}
		for applied := 0; applied < len(done); {
			applied = 0
			found, err := admin.DescribeACLs(t.Context(), rule)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range found {
				applied += len(one.Described)
			}
		}
	}
}

// lastLine is what a command says at last.
func lastLine(said string) string {
	said = strings.TrimSuffix(said, "\n")
	return said[strings.LastIndex(said, "\n")+1:]
}

// TestWhatExactlyOnceLacksOnApacheKafka: a worker of a user with the ACLs that
// topics acls prints, but for one at a time, and with what the brokers do not
// allow.
func TestWhatExactlyOnceLacksOnApacheKafka(t *testing.T) {
	const listener = "listener.name.secure."
	cluster := apachekafka.ForTest(t, apachekafka.Config{Secure: "SASL_PLAINTEXT", Properties: map[string]string{
		"authorizer.class.name":                     "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                               "User:ANONYMOUS",
		listener + "sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		listener + "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"transaction.max.timeout.ms":                "60000",
	}})
	admin := administrator(t, cluster)
	done, err := admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "worker", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: secretPassword}})
	if err != nil || done.Error() != nil {
		t.Fatalf("%v, %v", err, done)
	}
	plain := []string{"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap(), "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once"}
	callOK(t, plain, "topics", "create", "--partitions", "2")
	env := append(asWorker(cluster.SecureBootstrap()), "CLOSEORDER_KAFKA_SASL_PASSWORD="+secretPassword, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once",
		"CLOSEORDER_KAFKA_INSTANCE_ID=worker-0", "CLOSEORDER_GATEWAY_URLS="+gateway(t, gatewaysim.Config{}))
	var rules []*kadm.ACLBuilder
	ofID := -1 // the rule of the transactional id
	for line := range strings.Lines(callOK(t, env, "topics", "acls", "--principal", "User:worker")) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "IdempotentWrite") { // it is no such old broker
			continue
		}
		if strings.Contains(line, "--transactional-id") {
			ofID = len(rules)
		}
		rules = append(rules, acls(t, line))
	}
	if ofID < 0 {
		t.Fatal("no ACL for the transactional id is printed")
	}
	grant(t, admin, slices.Delete(slices.Clone(rules), ofID, ofID+1)...)
	ends := func(t *testing.T, env []string, want string) {
		t.Helper()
		code, stdout, stderr := call(t, env, "", "run")
		if last := lastLine(stderr); code != exitBad || stdout != "" || last != "closeorder: processing_guarantee exactly_once: "+want || strings.Contains(stderr, "partitions assigned") {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	}
	t.Run("the ACL for the transactional id", func(t *testing.T) {
		ends(t, env, "FindCoordinator, transactional id closeorder-worker-0: [53] Transactional ID Authorization Failed; add the ACL: "+
			"kafka-acls.sh --add --allow-principal User:... --operation Write --transactional-id closeorder-worker-0 (for all ids of a group at once: closeorder topics acls prints it)")
	})
	grant(t, admin, rules[ofID])
	t.Run("as much time as kafka.transaction_timeout", func(t *testing.T) {
		ends(t, append(slices.Clone(env), "CLOSEORDER_KAFKA_TRANSACTION_TIMEOUT=2m"), "InitProducerId, transactional id closeorder-worker-0: the brokers let no transaction be open for as long as "+
			"kafka.transaction_timeout says; set it to no more than transaction.max.timeout.ms of the brokers, or raise that")
	})
	t.Run("an instance id of its own", func(t *testing.T) {
		const head = "mch_id,out_trade_no\n"
		first := launch(t, env, "", "run")
		first.stderr.find(t, "partitions assigned")
		if code, _, stderr := call(t, plain, head+lines("A", 20), "request", "--wait", "--file", "-"); code != exitDone {
			t.Fatal(stderr)
		}
		second := launch(t, env, "", "run")
		second.stderr.find(t, "partitions assigned")
		if code := first.wait(t); code != exitBad {
			t.Errorf("the first one ends with %d", code)
		}
		if last := lastLine(first.stderr.String()); !strings.HasPrefix(last, "closeorder: ") || !strings.Contains(last, "kafka.instance_id") {
			t.Errorf("the first one says at last: %s\nall of it: %s", last, first.stderr)
		}
		if code, _, stderr := call(t, plain, head+lines("B", 20)+lines("DEAD", 1), "request", "--wait", "--file", "-"); code != exitBad { // one fails, with a dead letter
			t.Fatal(stderr)
		}
		if code := second.end(t); code != exitDone || strings.Contains(second.stderr.String(), "uthorization") {
			t.Errorf("the second one ends with %d: %s", code, second.stderr)
		}
		if code, stdout, stderr := call(t, plain, "", "audit"); code != exitDone || !strings.Contains(stdout, "  duplicates             0  ") || !strings.Contains(stdout, "41 = 40 closed") {
			t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
		}
	})
	t.Run("what the doctor finds", func(t *testing.T) {
		expect := func(safe bool, env []string, severity, check, evidence string) {
			t.Helper()
			if e := diagnosed(t, env, [3]string{severity, check, evidence}, "--probe"); e.Safe != safe {
				t.Errorf("safe: %v in\n%+v", e.Safe, e.Findings)
			}
		}
		for _, check := range []string{"broker-advertised", "acl-topic", "acl-group", "acl-idempotent-write", "acl-transactional-id", "transactions", "topic-settings", "position", "group-offsets-retention", "merchant-probe"} {
			expect(true, env, "ok", check, "")
		}
		expect(true, env, "ok", "broker-release", "speak as Kafka ")
		expect(false, append(slices.Clone(env), "CLOSEORDER_KAFKA_TRANSACTION_TIMEOUT=2m"), "danger", "transactions", "transaction.max.timeout.ms=60000")
		two := "2"
		set := func(op kadm.IncrementalOp, value *string) {
			if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: "min.insync.replicas", Value: value}}, "closeorder.outcomes"); err != nil {
				t.Fatal(err)
			}
		}
		set(kadm.SetConfig, &two)
		expect(false, env, "danger", "topic-min-insync", "min.insync.replicas=2 of 1 replicas: nothing can be written")
		set(kadm.DeleteConfig, nil)
		if _, err := admin.DeleteACLs(t.Context(), rules[ofID]); err != nil {
			t.Fatal(err)
		}
		expect(false, env, "danger", "acl-transactional-id", "[53] Transactional ID Authorization Failed")
	})
}

// TestAStateLogThatCannotBeMadeOnApacheKafka: the brokers want more replicas for
// __transaction_state than there are, and say for ever that the coordinator is
// not there yet. Nothing is served, and why is told.
func TestAStateLogThatCannotBeMadeOnApacheKafka(t *testing.T) {
	t.Parallel() // it waits
	cluster := apachekafka.ForTest(t, apachekafka.Config{Properties: map[string]string{"transaction.state.log.replication.factor": "3"}})
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap(), "CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY=" + secretKey,
		"CLOSEORDER_LOG_LEVEL=debug",
	}
	callOK(t, env, "topics", "create", "--partitions", "1")
	env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
	code, stdout, stderr := call(t, env, "", "topics", "create")
	if code != exitBad || !strings.Contains(stdout, "transaction.state.log.replication.factor=3, and 1 broker is up: ") {
		t.Errorf("topics create: exit code %d, %s\n%s", code, stderr, stdout)
	}
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, `level=error msg="ALARM: the brokers are not fit for exactly_once: transaction\.state\.log\.replication\.factor=3, and 1 broker is up: .*; set it to 1 in server\.properties`)
	worker.stderr.find(t, `level=warning msg="cannot begin transactions: trying again, nothing is served before that" error=".*transactional id closeorder-\w+: .*Coordinator Not Available`)
	if code := worker.end(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(worker.stderr.String(), "partitions assigned") {
		t.Errorf("it serves: %s", worker.stderr)
	}
}
