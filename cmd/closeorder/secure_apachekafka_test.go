//go:build apachekafka

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// secured is an Apache Kafka with ACLs whose second listener wants SCRAM over
// TLS and a client certificate, and an administrator of its first.
func secured(t *testing.T, ca *authority.Authority) (*apachekafka.Cluster, *kgo.Client) {
	t.Helper()
	dir := t.TempDir()
	cert, key := ca.Issue(t, authority.Wanted{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	keystore, truststore := filepath.Join(dir, "keystore.pem"), filepath.Join(dir, "truststore.pem")
	for path, text := range map[string][]byte{keystore: append(key, cert...), truststore: ca.PEM} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const listener = "listener.name.secure."
	cluster := apachekafka.ForTest(t, apachekafka.Config{Secure: "SASL_SSL", Properties: map[string]string{
		"authorizer.class.name":                     "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                               "User:ANONYMOUS",
		listener + "sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		listener + "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		listener + "ssl.keystore.type":              "PEM",
		listener + "ssl.keystore.location":          keystore,
		listener + "ssl.truststore.type":            "PEM",
		listener + "ssl.truststore.location":        truststore,
		listener + "ssl.client.auth":                "required",
	}})
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return cluster, client
}

// setPassword gives the user worker a password.
func setPassword(t *testing.T, client *kgo.Client, password string) {
	t.Helper()
	done, err := kadm.NewClient(client).AlterUserSCRAMs(t.Context(), nil,
		[]kadm.UpsertSCRAM{{User: "worker", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err != nil || done.Error() != nil {
		t.Fatalf("%v, %v", err, done)
	}
}

// mounted is a folder of files as Kubernetes mounts a Secret: a link to a folder
// that is swapped as a whole.
type mounted struct {
	dir string
	n   int
}

func (m *mounted) write(t *testing.T, files map[string][]byte) {
	t.Helper()
	m.n++
	now := fmt.Sprintf("..%d", m.n)
	if err := os.Mkdir(filepath.Join(m.dir, now), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(m.dir, now, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)) // once
	}
	link := filepath.Join(m.dir, "..new")
	if err := os.Symlink(now, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(m.dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func (m *mounted) env() []string {
	return []string{
		"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_CA_FILE=" + filepath.Join(m.dir, "ca.pem"),
		"CLOSEORDER_KAFKA_TLS_CERT_FILE=" + filepath.Join(m.dir, "cert.pem"), "CLOSEORDER_KAFKA_TLS_KEY_FILE=" + filepath.Join(m.dir, "key.pem"),
		"CLOSEORDER_KAFKA_SASL_PASSWORD_FILE=" + filepath.Join(m.dir, "password"),
	}
}

// TestARenewedCertificateAndAChangedPasswordOnApacheKafka: a worker whose client
// certificate lives for seconds, and whose password is changed, goes on through
// a bounce of the broker with the new ones, read from where they were swapped in.
func TestARenewedCertificateAndAChangedPasswordOnApacheKafka(t *testing.T) {
	const life = 25 * time.Second
	ca := authority.New(t, "our CA")
	cluster, client := secured(t, ca)
	plain := []string{"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap()}
	callOK(t, plain, "topics", "create", "--partitions", "2")
	for _, r := range rulesOfAWorker() {
		if _, err := kadm.NewClient(client).CreateACLs(t.Context(), r.builder()); err != nil {
			t.Fatal(err)
		}
	}
	secrets := &mounted{dir: t.TempDir()}
	write := func(password string, life time.Duration) {
		cert, key := ca.Issue(t, authority.Wanted{CommonName: "worker", Life: life})
		secrets.write(t, map[string][]byte{"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key, "password": []byte(password + "\n")})
	}
	setPassword(t, client, secretPassword)
	write(secretPassword, life)
	runsOut := time.Now().Add(life)

	env := slices.Concat(asWorker(cluster.SecureBootstrap()), secrets.env(), []string{"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{})})
	worker := launch(t, env, "", "run")
	ask := func(no string) {
		t.Helper()
		code, stdout, stderr := call(t, plain, "", "request", "--mch-id", "1900000109", "--out-trade-no", no, "--wait")
		if code != exitDone || !strings.Contains(stdout, "closed") {
			t.Fatalf("%s: exit code %d, %s\n%s\n%s", no, code, stdout, stderr, worker.stderr)
		}
	}
	ask("BEFORE")

	setPassword(t, client, secretPassword+"-2")
	write(secretPassword+"-2", time.Hour)
	if err := cluster.StopBroker(0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(runsOut) + time.Second) // nothing else makes a certificate run out
	if err := cluster.RestartBroker(0); err != nil {
		t.Fatal(err)
	}
	if err := cluster.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("AFTER")
	if code := worker.end(t); code != exitDone {
		t.Errorf("run: exit code %d", code)
	}
	if text := worker.stderr.String(); strings.Contains(text, secretPassword) {
		t.Error("the password is shown")
	}
}

// TestWhatSecuresAListenerOnApacheKafka: each ACL in turn, and each mistake of
// TLS and SASL, as a real broker answers them.
func TestWhatSecuresAListenerOnApacheKafka(t *testing.T) {
	ca := authority.New(t, "our CA")
	cluster, client := secured(t, ca)
	callOK(t, []string{"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap()}, "topics", "create", "--partitions", "2")
	setPassword(t, client, secretPassword)
	secrets := &mounted{dir: t.TempDir()}
	cert, key := ca.Issue(t, authority.Wanted{CommonName: "worker"})
	files := map[string][]byte{"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key, "password": []byte(secretPassword)}
	secrets.write(t, files)
	env := slices.Concat(asWorker(cluster.SecureBootstrap()), secrets.env(), []string{"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{})})
	testMissingACLs(t, client, env)

	lacking := func(names ...string) (without []string) {
		return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
			name, _, _ := strings.Cut(entry, "=")
			return slices.Contains(names, strings.TrimPrefix(name, "CLOSEORDER_KAFKA_"))
		})
	}
	expired, expiredKey := ca.Issue(t, authority.Wanted{CommonName: "worker", Life: -time.Minute})
	gone := &mounted{dir: t.TempDir()}
	gone.write(t, map[string][]byte{"ca.pem": ca.PEM, "cert.pem": expired, "key.pem": expiredKey, "password": []byte(secretPassword)})
	for _, tt := range []struct {
		sentence string
		env      []string
		want     string
		lasts    bool
	}{
		{"a wrong password", append(lacking("SASL_PASSWORD_FILE"), "CLOSEORDER_KAFKA_SASL_PASSWORD=wrong"), `the broker refuses the user or the password; see kafka\.sasl\.username`, true},
		{"another mechanism", append(slices.Clone(env), "CLOSEORDER_KAFKA_SASL_MECHANISM=SCRAM-SHA-256"), `the listener does not take the mechanism of kafka\.sasl\.mechanism`, true},
		{"the system's authorities", lacking("TLS_CA_FILE"), `not trusted \(CN=our CA\); set kafka\.tls\.ca_file`, true},
		{"no client certificate", lacking("TLS_CERT_FILE", "TLS_KEY_FILE"), `kafka\.tls\.cert_file and kafka\.tls\.key_file`, true},
		{"a client certificate that has run out", slices.Concat(env, gone.env()), `kafka\.tls\.cert_file and kafka\.tls\.key_file`, true},
		{"in plain", lacking("TLS_ENABLED", "TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"), `kafka\.tls\.enabled|expecting TLS`, false},
		{"TLS to the plain listener", append(slices.Clone(env), "CLOSEORDER_KAFKA_BROKERS="+cluster.Bootstrap()), `kafka\.tls\.enabled`, false},
		{"SASL to the listener without", append(lacking("TLS_ENABLED", "TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"), "CLOSEORDER_KAFKA_BROKERS="+cluster.Bootstrap()), `the listener expects no SASL; leave kafka\.sasl\.mechanism out`, true},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			if tt.lasts {
				began := time.Now()
				if code, _, stderr := call(t, tt.env, "", "outcomes"); code != exitBad || time.Since(began) > 10*time.Second {
					t.Errorf("outcomes: exit code %d after %v, %s", code, time.Since(began), stderr)
				}
			}
			worker := launch(t, tt.env, "", "run")
			worker.stderr.find(t, tt.want)
			worker.stderr.find(t, triedAgain)
			if n := len(told.FindAllString(worker.stderr.String(), -1)); n != 1 {
				t.Errorf("told %d times:\n%s", n, worker.stderr)
			}
		})
	}
}
