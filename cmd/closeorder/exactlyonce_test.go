package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// telling is a broker that says of itself what a test wants, nil for that nobody
// may ask.
func telling(t *testing.T, settings map[string]string) (c *kfake.Cluster, env []string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.DescribeConfigsRequest).Resources[0]
		if asked.ResourceType != kmsg.ConfigResourceTypeBroker {
			return nil, nil, false
		}
		is := kmsg.NewDescribeConfigsResponseResource()
		is.ResourceType, is.ResourceName = asked.ResourceType, asked.ResourceName
		if settings == nil {
			is.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			one := kmsg.NewDescribeConfigsResponseResourceConfig()
			one.Name, one.Value = name, new(settings[name])
			is.Configs = append(is.Configs, one)
		}
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res.Resources = append(res.Resources, is)
		return res, nil, true
	})
	return c, []string{
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(c.ListenAddrs(), ","), "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s",
		"CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY=" + secretKey,
	}
}

// TestWhatExactlyOnceLacksIsNamed by topics create and by run, where it is asked
// for.
func TestWhatExactlyOnceLacksIsNamed(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		settings map[string]string
		code     int
		row      string // of __transaction_state, a regular expression
		stderr   string
		log      string // of run, "" for no ALARM
	}{
		{"nothing", map[string]string{"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1", "transaction.state.log.num.partitions": "50", "transaction.max.timeout.ms": "900000"},
			exitDone, `left to the brokers +50 +1 +made at the first transaction\n`, "", ""},
		{"brokers", map[string]string{"transaction.state.log.replication.factor": "3", "transaction.state.log.num.partitions": "50"},
			exitBad, `wrong +50 +3 +transaction\.state\.log\.replication\.factor=3, and 1 broker is up: `, "",
			`level=error msg="ALARM: the brokers are not fit for exactly_once: transaction\.state\.log\.replication\.factor=3, and 1 broker is up: .*; set it to 1 in server\.properties`},
		{"time", map[string]string{"transaction.state.log.replication.factor": "1", "transaction.max.timeout.ms": "9000"},
			exitBad, `wrong +- +1 +transaction\.max\.timeout\.ms=9000: kafka\.transaction_timeout \(10s\) is longer`, "",
			`level=error msg="ALARM: the brokers are not fit for exactly_once: transaction\.max\.timeout\.ms=9000: .*lower it to 9s`},
		{"leave to ask", nil,
			exitDone, `left to the brokers +- +- +made at the first transaction; whether they can make it is not known`,
			"closeorder: what transactions need was not looked at: DescribeConfigs, cluster: [31] Cluster Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation DescribeConfigs --cluster\n",
			`level=info msg="what transactions need of the brokers was not looked at" error="DescribeConfigs, cluster: `},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			_, env := telling(t, tt.settings)
			formats := "" // of records, which the brokers' settings say too
			if tt.settings == nil {
				formats = "closeorder: whether the brokers keep records with headers was not looked at: no ACL DescribeConfigs on the cluster; closeorder doctor looks at the topics themselves\n"
			}
			code, stdout, stderr := call(t, env, "", "topics", "create", "--partitions", "1")
			if code != exitDone || stderr != formats || strings.Contains(stdout, "__transaction_state") {
				t.Errorf("at least once: exit code %d, %s\n%s", code, stderr, stdout)
			}
			env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
			code, stdout, stderr = call(t, env, "", "topics", "create")
			if code != tt.code || stderr != formats+tt.stderr || !regexp.MustCompile(`\n__transaction_state +`+tt.row).MatchString(stdout) {
				t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
			}
			worker := launch(t, env, "", "run")
			if tt.log != "" {
				worker.stderr.find(t, tt.log)
			} else {
				worker.stderr.find(t, "partitions assigned")
			}
			worker.end(t)
			if alarm := strings.Contains(worker.stderr.String(), "ALARM"); alarm != (tt.code == exitBad) {
				t.Errorf("run: %s", worker.stderr)
			}
		})
	}
}

// TestAWorkerCanDoWithTheACLsThatArePrinted, and with none less.
func TestAWorkerCanDoWithTheACLsThatArePrinted(t *testing.T) {
	for _, guarantee := range []string{config.AtLeastOnce, config.ExactlyOnce} {
		t.Run(guarantee, func(t *testing.T) { testPrintedACLs(t, guarantee) })
	}
}

func testPrintedACLs(t *testing.T, guarantee string) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("SCRAM-SHA-512", "admin", secretPassword), kfake.User("SCRAM-SHA-512", "worker", secretPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	brokers := strings.Join(c.ListenAddrs(), ",")
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.SASL(scram.Auth{User: "admin", Pass: secretPassword}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	env := append(asWorker(brokers), "CLOSEORDER_KAFKA_SASL_PASSWORD="+secretPassword, "CLOSEORDER_GATEWAY_URLS="+gateway(t, gatewaysim.Config{}), "CLOSEORDER_PROCESSING_GUARANTEE="+guarantee)
	asAdmin := append(slices.Clone(env), "CLOSEORDER_KAFKA_SASL_USERNAME=admin")
	callOK(t, asAdmin, "topics", "create", "--partitions", "1")
	code, printed, stderr := call(t, env, "", "topics", "acls", "--principal", "User:worker")
	if code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	admin := kadm.NewClient(client)
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "IdempotentWrite") { // it is no such old broker
			continue
		}
		done, err := admin.CreateACLs(t.Context(), acls(t, line))
		if err != nil || len(done) == 0 || done[0].Err != nil {
			t.Fatalf("%s: %v, %+v", line, err, done)
		}
	}
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "partitions assigned")
	callOK(t, asAdmin, "request", "--wait", "--mch-id", "1900000109", "--out-trade-no", "T1")
	code, stdout, stderr := call(t, asAdmin, "", "request", "--wait", "--mch-id", "1900000109", "--out-trade-no", "DEAD1") // and a dead letter
	if code != exitBad || stderr != "" || !strings.Contains(stdout, "PARAM_ERROR") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	if code := worker.end(t); code != exitDone || strings.Contains(worker.stderr.String(), "uthorization") {
		t.Errorf("exit code %d\n%s", code, worker.stderr)
	}
}

// acls reads a call of kafka-acls.sh.
func acls(t *testing.T, command string) *kadm.ACLBuilder {
	t.Helper()
	words := strings.Fields(command)
	b, pattern := kadm.NewACLs().AllowHosts("*"), kadm.ACLPatternLiteral
	var operations []kadm.ACLOperation
	var topics []string
	for i := 1; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch i++; words[i-1] {
		case "--add":
			i--
		case "--cluster":
			i--
			b.Clusters()
		case "--bootstrap-server":
		case "--allow-principal":
			b.Allow(value)
		case "--operation":
			op, err := kmsg.ParseACLOperation(value)
			if err != nil {
				t.Fatal(err)
			}
			operations = append(operations, op)
		case "--topic":
			topics = append(topics, value)
		case "--group":
			b.Groups(value)
		case "--transactional-id":
			b.TransactionalIDs(value)
		case "--resource-pattern-type":
			pattern = kadm.ACLPatternPrefixed
		default:
			t.Fatalf("%s: what is %s?", command, words[i-1])
		}
	}
	return b.Topics(topics...).Operations(operations...).ResourcePatternType(pattern)
}

// TestWhatExactlyOnceCannotDoEndsRun before it has joined its group: one message
// for each cause, with the setting or the ACL and the remedy.
func TestWhatExactlyOnceCannotDoEndsRun(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		cluster  []kfake.Opt
		want     string // all of standard error that is no log, a regular expression
	}{
		{"brokers of before Kafka 2.5", []kfake.Opt{kfake.MaxVersions(kversion.V2_4_0())},
			`processing_guarantee exactly_once: (TxnOffsetCommit|OffsetFetch): the broker speaks it up to version \d, and exactly_once needs \d \(Kafka 2\.5\); upgrade the brokers, or set processing_guarantee to at_least_once`},
		{"a time-out that the brokers do not allow", []kfake.Opt{kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "5000"})},
			`processing_guarantee exactly_once: InitProducerId, transactional id closeorder-worker-0: the brokers let no transaction be open for as long as kafka\.transaction_timeout says; set it to no more than transaction\.max\.timeout\.ms of the brokers, or raise that`},
		{"no ACL for the transactional id", []kfake.Opt{kfake.EnableSASL(), kfake.EnableACLs(),
			kfake.Superuser("SCRAM-SHA-512", "admin", secretPassword), kfake.User("SCRAM-SHA-512", "worker", secretPassword)},
			`processing_guarantee exactly_once: FindCoordinator, transactional id closeorder-worker-0: \[53\] Transactional ID Authorization Failed; add the ACL: kafka-acls\.sh --add --allow-principal User:\.\.\. --operation Write --transactional-id closeorder-worker-0 \(for all ids of a group at once: closeorder topics acls prints it\)`},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			c, err := kfake.NewCluster(append(tt.cluster, kfake.NumBrokers(1))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			joined := false
			c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				joined = true
				return nil, nil, false
			})
			env := append(asWorker(strings.Join(c.ListenAddrs(), ",")), "CLOSEORDER_KAFKA_SASL_PASSWORD="+secretPassword,
				"CLOSEORDER_KAFKA_INSTANCE_ID=worker-0", "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
			if len(tt.cluster) == 1 { // without SASL
				env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, "CLOSEORDER_KAFKA_SASL_") })
			}
			code, stdout, stderr := call(t, env, "", "run")
			last := stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:]
			if code != exitBad || stdout != "" || !regexp.MustCompile(`^closeorder: `+tt.want+`\n$`).MatchString(last) {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			if c.Close(); joined {
				t.Error("it has joined its group")
			}
		})
	}
}

// TestNothingIsServedWhileTransactionsCannotBegin, which is told once, beside why:
// a coordinator that is not there may come yet.
func TestNothingIsServedWhileTransactionsCannotBegin(t *testing.T) {
	t.Parallel() // it waits
	c, env := telling(t, map[string]string{"transaction.state.log.replication.factor": "3"})
	callOK(t, env, "topics", "create", "--partitions", "1")
	away := make(chan struct{})
	c.ControlKey(int16(kmsg.FindCoordinator), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.FindCoordinatorRequest)
		select {
		case <-away:
			return nil, nil, false
		default:
		}
		if asked.CoordinatorType != 1 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
		res.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return res, nil, true
	})
	env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once", "CLOSEORDER_LOG_LEVEL=debug")
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, `level=error msg="ALARM: the brokers are not fit for exactly_once: transaction\.state\.log\.replication\.factor=3, and 1 broker is up`)
	worker.stderr.find(t, `level=warning msg="cannot begin transactions: trying again, nothing is served before that" error=".*transactional id closeorder-\w+: .*Coordinator Not Available`)
	if strings.Contains(worker.stderr.String(), "partitions assigned") {
		t.Errorf("it serves: %s", worker.stderr)
	}
	close(away)
	worker.stderr.find(t, `exactly once: outcomes and offsets are written in transactions.*(?s:.*)partitions assigned`)
	if code := worker.end(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

// TestTwoWorkersOfOneInstanceIDAreOneMessage, of the first one: the second has its
// place in the group and its transactional id.
func TestTwoWorkersOfOneInstanceIDAreOneMessage(t *testing.T) {
	const head = "mch_id,out_trade_no\n"
	for _, guarantee := range []string{config.AtLeastOnce, config.ExactlyOnce} {
		t.Run(guarantee, func(t *testing.T) {
			_, env := shop(t)
			env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE="+guarantee, "CLOSEORDER_KAFKA_INSTANCE_ID=worker-0")
			first := launch(t, env, "", "run")
			first.stderr.find(t, "partitions assigned")
			if code, _, stderr := call(t, env, head+lines("A", 20), "request", "--wait", "--file", "-"); code != exitDone {
				t.Fatal(stderr)
			}
			second := launch(t, env, "", "run")
			second.stderr.find(t, "partitions assigned")
			if code := first.wait(t); code != exitBad {
				t.Errorf("the first one ends with %d", code)
			}
			said := first.stderr.String()
			if last := said[strings.LastIndex(strings.TrimSuffix(said, "\n"), "\n")+1:]; !strings.HasPrefix(last, "closeorder: ") || !strings.Contains(last, "kafka.instance_id") {
				t.Errorf("the first one says at last: %s\nall of it: %s", last, said)
			}
			if code, _, stderr := call(t, env, head+lines("B", 20), "request", "--wait", "--file", "-"); code != exitDone {
				t.Fatal(stderr)
			}
			if code := second.end(t); code != exitDone {
				t.Errorf("the second one ends with %d: %s", code, second.stderr)
			}
			if code, stdout, stderr := call(t, env, "", "audit"); code != exitDone || !strings.Contains(stdout, "40 = 40 closed") {
				t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
			}
		})
	}
}

// TestTheCommandsReadCommitted, all that look at topics: what was aborted is not
// there, and nobody waits for what is open.
func TestTheCommandsReadCommitted(t *testing.T) {
	b, env := shop(t)
	names := config.Default().Topics
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("x"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	write := func(order string) {
		t.Helper()
		m := events.Message{Key: []byte(order), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"` + order + `"}`)}
		req, err := events.DecodeRequest(m)
		if err != nil {
			t.Fatal(err)
		}
		at := events.Source{Topic: names.Requests}
		o := events.NewOutcome(req, m.Key, at)
		o.Result, o.Code, o.CompletedAt = events.Failed, "PARAM_ERROR", time.Now()
		outcome, err := events.EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		dead := records.EncodeDeadLetter(records.DeadLetter{Original: m, ErrorCode: "PARAM_ERROR", FailedAt: time.Now(), Source: at, SourceTimestamp: time.Now()})
		for topic, m := range map[string]events.Message{names.Outcomes: outcome, names.DeadLetters: dead} {
			r := &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value}
			for _, h := range m.Headers {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
			if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for order, how := range map[string]kgo.TransactionEndTry{"ABORTED": kgo.TryAbort, "COMMITTED": kgo.TryCommit} {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		write(order)
		if err := producer.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	write("OPEN")
	for _, args := range []string{"outcomes --from beginning --no-follow", "deadletters list"} {
		code, stdout, stderr := call(t, env, "", strings.Fields(args)...)
		if code != exitDone || stderr != "" || !strings.Contains(stdout, "COMMITTED") || strings.Contains(stdout, "ABORTED") || strings.Contains(stdout, "OPEN") {
			t.Errorf("%s: exit code %d, %s\n%s", args, code, stderr, stdout)
		}
		code, stdout, stderr = call(t, env, "", append(strings.Fields(args), "--kafka-isolation", "read_uncommitted")...)
		if code != exitDone || stderr != "" || !strings.Contains(stdout, "COMMITTED") || !strings.Contains(stdout, "ABORTED") || !strings.Contains(stdout, "OPEN") {
			t.Errorf("%s, uncommitted: exit code %d, %s\n%s", args, code, stderr, stdout)
		}
	}
}

// TestACommandThatMayWriteTwiceSaysSo, once, with what mends it.
func TestACommandThatMayWriteTwiceSaysSo(t *testing.T) {
	b, env := shop(t)
	c := b.Cluster()
	c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		res.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return res, nil, true
	})
	code, _, stderr := call(t, env, "mch_id,out_trade_no\n"+lines("T", 30), "request", "--file", "-")
	const want = "closeorder: warning: InitProducerId: [31] Cluster Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation IdempotentWrite --cluster "
	if code != exitDone || strings.Count(stderr, "warning") != 1 || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
