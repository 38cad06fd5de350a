package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// telling is a broker that says of itself what a test wants, nil for that nobody
// may ask.
func telling(t *testing.T, settings map[string]string) (env []string) {
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
			one.Name, one.Value = name, kmsg.StringPtr(settings[name])
			is.Configs = append(is.Configs, one)
		}
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res.Resources = append(res.Resources, is)
		return res, nil, true
	})
	return []string{
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
			env := telling(t, tt.settings)
			code, stdout, stderr := call(t, env, "", "topics", "create", "--partitions", "1")
			if code != exitDone || stderr != "" || strings.Contains(stdout, "__transaction_state") {
				t.Errorf("at least once: exit code %d, %s\n%s", code, stderr, stdout)
			}
			env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
			code, stdout, stderr = call(t, env, "", "topics", "create")
			if code != tt.code || stderr != tt.stderr || !regexp.MustCompile(`\n__transaction_state +`+tt.row).MatchString(stdout) {
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
