package main

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// asWorker are the settings of the user worker at a broker of SCRAM, but for the
// password.
func asWorker(brokers string) []string {
	return []string{
		"CLOSEORDER_KAFKA_BROKERS=" + brokers, "CLOSEORDER_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
		"CLOSEORDER_KAFKA_SASL_USERNAME=worker", "CLOSEORDER_KAFKA_SESSION_TIMEOUT=6s", "CLOSEORDER_SHUTDOWN_GRACE=1s", "CLOSEORDER_LOG_LEVEL=debug",
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}
}

// triedAgain is what the log of debug has when a worker has tried to join some
// times, told what it tells of that.
const triedAgain = `(level=debug msg="cannot join the group yet(?s:.*)){4}`

var told = regexp.MustCompile(`level=(warning|error) msg="cannot join`)

// rule is one ACL that the worker needs.
type rule struct {
	operation kadm.ACLOperation
	topic     string // "" for the group
}

// rulesOfAWorker are all of them.
func rulesOfAWorker() []rule {
	names := config.Default().Topics
	rules := []rule{{kadm.OpRead, ""}, {kadm.OpRead, names.Requests}, {kadm.OpWrite, names.Outcomes}, {kadm.OpWrite, names.DeadLetters}}
	for _, name := range names.Retries() {
		rules = append(rules, rule{kadm.OpRead, name}, rule{kadm.OpWrite, name})
	}
	for _, name := range names.All() {
		rules = append(rules, rule{kadm.OpDescribeConfigs, name})
	}
	return rules
}

func (r rule) builder() *kadm.ACLBuilder {
	b := kadm.NewACLs().Allow("User:worker").AllowHosts("*").Operations(r.operation).ResourcePatternType(kadm.ACLPatternLiteral)
	if r.topic == "" {
		return b.Groups("closeorder")
	}
	return b.Topics(r.topic)
}

// testMissingACLs takes from a worker what it may do, one thing after the other,
// and reads what it says.
func testMissingACLs(t *testing.T, client *kgo.Client, env []string) {
	admin := kadm.NewClient(client)
	grant := func(t *testing.T, rules ...rule) {
		t.Helper()
		for _, r := range rules {
			done, err := admin.CreateACLs(t.Context(), r.builder())
			if err != nil || done[0].Err != nil {
				t.Fatalf("%+v: %v, %+v", r, err, done)
			}
		}
	}
	for _, r := range rulesOfAWorker() {
		grant(t, r)
	}
	names := config.Default().Topics
	for _, tt := range []struct {
		sentence string
		taken    []rule
		given    []rule    // in their place
		want     string    // the line, a regular expression
		order    bool      // whether it takes a request to notice
		doctor   [3]string // severity, check and evidence of what doctor finds
	}{
		{"the group", []rule{{kadm.OpRead, ""}}, nil,
			`kafka\.group \\?"closeorder\\?": \[30\] Group Authorization Failed.*; add the ACL: kafka-acls\.sh --add --allow-principal User:\.\.\. --operation Read --group closeorder`, false,
			[3]string{"danger", "acl-group", "may not Read"}},
		{"requests, altogether", []rule{{kadm.OpRead, names.Requests}, {kadm.OpDescribeConfigs, names.Requests}}, nil,
			`level=error msg="cannot join the group until this is mended: trying again" error="Metadata, topic closeorder\.requests: \[29\] Topic Authorization Failed; add the ACL: .* --operation Describe --topic closeorder\.requests \(Read and Write imply it\)"`, false,
			[3]string{"danger", "acl-topic", "may not Read"}},
		{"outcomes and a retry topic, altogether", []rule{{kadm.OpWrite, names.Outcomes}, {kadm.OpDescribeConfigs, names.Outcomes}, {kadm.OpWrite, names.Retries()[0]}, {kadm.OpRead, names.Retries()[0]}, {kadm.OpDescribeConfigs, names.Retries()[0]}}, nil,
			`Metadata, topics closeorder\.(outcomes, closeorder\.retries\.10s|retries\.10s, closeorder\.outcomes): .* --operation Describe --topic closeorder\.\S+ --topic closeorder\.\S+ \(`, false,
			[3]string{"danger", "acl-topic", "may not Read and Write"}},
		{"requests may be seen and not read", []rule{{kadm.OpRead, names.Requests}}, []rule{{kadm.OpDescribe, names.Requests}},
			`Fetch, topic closeorder\.requests: \[29\] .* --operation Read --topic closeorder\.requests`, false,
			[3]string{"danger", "acl-topic", "may not Read"}},
		{"outcomes may be seen and not written", []rule{{kadm.OpWrite, names.Outcomes}}, []rule{{kadm.OpDescribe, names.Outcomes}},
			`Produce, topic closeorder\.outcomes: \[29\] .* --operation Write --topic closeorder\.outcomes`, true,
			[3]string{"danger", "acl-topic", "may not Write"}},
		{"settings of topics", []rule{{kadm.OpDescribeConfigs, names.Requests}}, nil,
			`level=info msg="the settings of the topics were not looked at" error="DescribeConfigs, topic closeorder\.requests: .* --operation DescribeConfigs --topic closeorder\.requests"`, false,
			[3]string{"note", "topic-settings", "[29] Topic Authorization Failed"}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			for _, r := range tt.taken {
				if _, err := admin.DeleteACLs(t.Context(), r.builder()); err != nil {
					t.Fatal(err)
				}
			}
			grant(t, tt.given...)
			defer grant(t, tt.taken...)
			diagnosed(t, env, tt.doctor)
			worker := launch(t, env, "", "run")
			if tt.order {
				worker.stderr.find(t, "partitions assigned")
				publishOne(t, client, names.Requests)
			}
			worker.stderr.find(t, tt.want)
			if tt.taken[0].topic == "" { // what ends it says so itself
				if code := worker.wait(t); code != exitBad {
					t.Errorf("exit code %d", code)
				}
				return
			}
			if strings.Contains(tt.want, "Metadata") {
				worker.stderr.find(t, triedAgain)
				if n := len(told.FindAllString(worker.stderr.String(), -1)); n != 1 {
					t.Errorf("%d lines for one thing:\n%s", n, worker.stderr)
				}
			}
			grant(t, tt.taken...)
			worker.stderr.find(t, "partitions assigned")
			if code := worker.end(t); code != exitDone {
				t.Errorf("exit code %d", code)
			}
		})
	}
	t.Run("commands end at once", func(t *testing.T) {
		for _, operation := range []kadm.ACLOperation{kadm.OpWrite, kadm.OpDescribe, kadm.OpDescribeConfigs} {
			if _, err := admin.DeleteACLs(t.Context(), rule{operation, names.Outcomes}.builder()); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range []string{"outcomes", "topics create", "audit"} {
			began := time.Now()
			code, _, stderr := call(t, env, "", strings.Fields(args)...)
			if took := time.Since(began); code != exitBad || took > 10*time.Second || !strings.Contains(stderr, "Metadata, topic closeorder.outcomes: [29] Topic Authorization Failed; add the ACL: ") {
				t.Errorf("%s: exit code %d after %v, %s", args, code, took, stderr)
			}
		}
	})
}

func publishOne(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	one := &kgo.Record{Topic: topic, Value: []byte(`{"mch_id":"1900000109","out_trade_no":"NOBODY"}`)} // what it is does not matter
	if err := client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestAMissingACLIsNamed(t *testing.T) {
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
	env := append(asWorker(brokers), "CLOSEORDER_KAFKA_SASL_PASSWORD="+secretPassword, "CLOSEORDER_GATEWAY_URLS="+gateway(t, gatewaysim.Config{}))
	callOK(t, append(slices.Clone(env), "CLOSEORDER_KAFKA_SASL_USERNAME=admin"), "topics", "create", "--partitions", "2")
	testMissingACLs(t, client, env)
}

// TestWhatNobodyCanConnectWith goes through the mistakes of TLS and SASL: the
// commands end within seconds, and run tells once what is to be mended.
func TestWhatNobodyCanConnectWith(t *testing.T) {
	ca, other := authority.New(t, "our CA"), authority.New(t, "another CA")
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caFile, otherFile := write("ca.pem", ca.PEM), write("other.pem", other.PEM)
	listener := func(wanted authority.Wanted, clientAuth tls.ClientAuthType) string {
		cert, key := ca.Issue(t, wanted)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: clientAuth}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return strings.Join(c.ListenAddrs(), ",")
	}
	here := []net.IP{net.IPv4(127, 0, 0, 1)}
	guarded := guarded(t)
	refusing := refusing(t)
	secure := func(brokers string, more ...string) []string {
		return append([]string{"CLOSEORDER_KAFKA_BROKERS=" + brokers, "CLOSEORDER_KAFKA_TLS_ENABLED=true"}, more...)
	}
	for _, tt := range []struct {
		sentence string
		env      []string
		want     string
		lasts    bool // so that commands end at once
	}{
		{"a wrong password", refusing,
			"the broker refuses the user or the password; see kafka.sasl.username, kafka.sasl.password", true},
		{"an authority that is not ours", secure(listener(authority.Wanted{IPs: here}, tls.NoClientCert), "CLOSEORDER_KAFKA_TLS_CA_FILE="+otherFile),
			"comes from an authority that is not trusted (CN=our CA); set kafka.tls.ca_file", true},
		{"a certificate of a common name alone", secure(listener(authority.Wanted{CommonName: "127.0.0.1"}, tls.NoClientCert), "CLOSEORDER_KAFKA_TLS_CA_FILE="+caFile),
			"it has no name at all (no subject alternative name); give it a certificate that names the address; or set kafka.tls.server_name to a name that it has, or kafka.tls.verify to chain", true},
		{"a certificate that has run out", secure(listener(authority.Wanted{IPs: here, Life: -time.Minute}, tls.NoClientCert), "CLOSEORDER_KAFKA_TLS_CA_FILE="+caFile),
			"; renew it at the broker", true},
		{"no client certificate", secure(listener(authority.Wanted{IPs: here}, tls.RequireAnyClientCert), "CLOSEORDER_KAFKA_TLS_CA_FILE="+caFile),
			"kafka.tls.cert_file and kafka.tls.key_file", true},
		{"TLS to a listener without", append(slices.Clone(guarded), "CLOSEORDER_KAFKA_TLS_ENABLED=true"), "kafka.tls.enabled", false},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			t.Parallel()
			if tt.lasts {
				for _, args := range []string{"outcomes", "topics create", "request --mch-id 1 --out-trade-no T1"} {
					began := time.Now()
					code, _, stderr := call(t, tt.env, "", strings.Fields(args)...)
					if took := time.Since(began); code != exitBad || took > 10*time.Second || !strings.Contains(stderr, tt.want) {
						t.Errorf("%s: exit code %d after %v, %s", args, code, took, stderr)
					}
				}
			}
			worker := launch(t, append(slices.Clone(tt.env), "CLOSEORDER_LOG_LEVEL=debug", "CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY="+secretKey), "", "run")
			worker.stderr.find(t, regexp.QuoteMeta(tt.want))
			worker.stderr.find(t, triedAgain)
			if n := len(told.FindAllString(worker.stderr.String(), -1)); n != 1 || strings.Contains(worker.stderr.String(), "level=error") != tt.lasts {
				t.Errorf("told %d times:\n%s", n, worker.stderr)
			}
			if code := worker.end(t); code != exitDone {
				t.Errorf("exit code %d", code)
			}
			if strings.Contains(worker.stderr.String(), secretPassword) {
				t.Error("a secret is shown")
			}
		})
	}
	t.Run("a certificate of a common name alone, and its chain is enough", func(t *testing.T) {
		callOK(t, secure(listener(authority.Wanted{CommonName: "x"}, tls.NoClientCert), "CLOSEORDER_KAFKA_TLS_CA_FILE="+caFile, "CLOSEORDER_KAFKA_TLS_VERIFY=chain"), "topics", "create")
	})
}

// refusing is a broker that says, as Apache Kafka does, that it does not take a
// password; the embedded one just hangs up.
func refusing(t *testing.T) (env []string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", secretPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		res.ErrorCode, res.ErrorMessage = kerr.SaslAuthenticationFailed.Code, new("Authentication failed: Invalid username or password")
		return res, nil, true
	})
	return []string{
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(c.ListenAddrs(), ","), "CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN",
		"CLOSEORDER_KAFKA_SASL_USERNAME=worker", "CLOSEORDER_KAFKA_SASL_PASSWORD=" + secretPassword,
	}
}

// TestRunTellsOfSettingsThatLoseRequests and so does topics create.
func TestRunTellsOfSettingsThatLoseRequests(t *testing.T) {
	env := append(guarded(t), "CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY="+secretKey)
	callOK(t, env, "topics", "create", "--partitions", "2")
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimPrefix(env[0], "CLOSEORDER_KAFKA_BROKERS=")), kgo.SASL(scram.Auth{User: "worker", Pass: secretPassword}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	set := func(topic, name, value string) {
		t.Helper()
		done, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: name, Value: &value}}, topic)
		if err != nil || done[0].Err != nil {
			t.Fatal(err, done)
		}
	}
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, "partitions assigned")
	worker.end(t)
	if strings.Contains(worker.stderr.String(), "ALARM") {
		t.Errorf("topics as they should be: %s", worker.stderr)
	}
	set("closeorder.requests", "cleanup.policy", "compact")
	set("closeorder.outcomes", "retention.ms", "5000")
	worker = launch(t, env, "", "run")
	for _, want := range []string{
		`level=error msg="ALARM: the settings of a topic lose what is in it: cleanup\.policy=compact: of several requests .*" topic=closeorder\.requests`,
		`level=error msg="ALARM: the settings of a topic lose what is in it: retention\.ms=5000: outcomes are deleted .*" topic=closeorder\.outcomes`,
		"partitions assigned",
	} {
		worker.stderr.find(t, want)
	}
	code, stdout, stderr := call(t, env, "", "topics", "create")
	if code != exitBad || stderr != "" || !regexp.MustCompile(`closeorder\.requests +wrong +2 +1 +cleanup\.policy=compact: `).MatchString(stdout) || !regexp.MustCompile(`closeorder\.outcomes +wrong .*retention\.ms=5000: `).MatchString(stdout) {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
}
