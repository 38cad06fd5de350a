//go:build apachekafka

package main

import (
	"crypto/tls"
	"crypto/x509"
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
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"
)

// secured is an Apache Kafka with ACLs and every kind of secure listener, and an
// administrator of its first one. SECURE wants SCRAM over TLS and a client
// certificate; LOGIN takes each mechanism of SASL over TLS, and tokens that nobody
// has signed; SIGNED takes tokens of an authorization server over TLS, whose keys
// it fetches; MTLS wants a client certificate alone.
type secured struct {
	*apachekafka.Cluster
	client *kgo.Client
	login  *login
	// keystore and truststore are the brokers' files.
	keystore, truststore string
}

func newSecured(t *testing.T, ca *authority.Authority) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{login: newLogin(t), keystore: filepath.Join(dir, "keystore.pem"), truststore: filepath.Join(dir, "truststore.pem")}
	s.certify(t, ca)
	p := map[string]string{
		"authorizer.class.name":              "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                        "User:ANONYMOUS",
		"sasl.oauthbearer.jwks.endpoint.url": s.login.jwks,
		"sasl.oauthbearer.expected.audience": loginAudience,
		"sasl.oauthbearer.expected.issuer":   loginIssuer,
	}
	const modules = "org.apache.kafka.common.security."
	for listener, mechanisms := range map[string]string{"secure": "SCRAM-SHA-512", "login": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER", "signed": "OAUTHBEARER", "mtls": ""} {
		of := "listener.name." + listener + "."
		for name, value := range map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": s.keystore, "ssl.truststore.type": "PEM", "ssl.truststore.location": s.truststore,
		} {
			p[of+name] = value
		}
		if mechanisms == "" || listener == "secure" {
			p[of+"ssl.client.auth"] = "required"
		}
		if mechanisms == "" {
			continue
		}
		p[of+"sasl.enabled.mechanisms"] = mechanisms
		for mechanism := range strings.SplitSeq(strings.ToLower(mechanisms), ",") {
			module := modules + "scram.ScramLoginModule required;"
			switch mechanism {
			case "plain":
				module = modules + "plain.PlainLoginModule required"
				for _, user := range []string{"worker", "worker-2", "audit-2", "replay", "topics-2", "console"} {
					module += fmt.Sprintf(" user_%s=%q", user, secretPassword)
				}
				module += ";"
			case "oauthbearer":
				module = modules + "oauthbearer.OAuthBearerLoginModule required;"
			}
			p[of+mechanism+".sasl.jaas.config"] = module
		}
	}
	p["listener.name.signed.oauthbearer.sasl.server.callback.handler.class"] = modules + "oauthbearer.OAuthBearerValidatorCallbackHandler"
	s.Cluster = apachekafka.ForTest(t, apachekafka.Config{Secure: "SASL_SSL", Properties: p,
		Also: map[string]string{"LOGIN": "SASL_SSL", "SIGNED": "SASL_SSL", "MTLS": "SSL"},
		JVM:  []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + s.login.jwks}})
	var err error
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// certify gives the brokers a certificate of an authority, which they trust; they
// read it when they start.
func (s *secured) certify(t *testing.T, ca *authority.Authority) {
	t.Helper()
	cert, key := ca.Issue(t, authority.Wanted{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	for path, text := range map[string][]byte{s.keystore: append(key, cert...), s.truststore: ca.PEM} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// asUser is how a client of others logs in at LOGIN.
func (s *secured) asUser(t *testing.T, user string) []kgo.Opt {
	t.Helper()
	pem, err := os.ReadFile(s.truststore)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return []kgo.Opt{kgo.SeedBrokers(s.ListenerBootstrap("LOGIN")), kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}),
		kgo.SASL(saslplain.Auth{User: user, Pass: secretPassword}.AsMechanism())}
}

// setPassword gives the user worker a password.
func setPassword(t *testing.T, client *kgo.Client, password string) {
	t.Helper()
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // a request takes a user once
		done, err := kadm.NewClient(client).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "worker", Mechanism: mechanism, Iterations: 4096, Password: password}})
		if err != nil || done.Error() != nil {
			t.Fatalf("%v, %v", err, done)
		}
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
// certificate lives for seconds, whose password is changed and whose brokers get
// certificates of another authority goes on through a bounce of the broker with the
// new ones, read from where they were swapped in.
func TestARenewedCertificateAndAChangedPasswordOnApacheKafka(t *testing.T) {
	const life = 25 * time.Second
	ca, next := authority.New(t, "our CA"), authority.New(t, "our next CA")
	cluster := newSecured(t, ca)
	client := cluster.client
	plain := []string{"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap()}
	callOK(t, plain, "topics", "create", "--partitions", "2")
	for _, r := range rulesOfAWorker() {
		if _, err := kadm.NewClient(client).CreateACLs(t.Context(), r.builder()); err != nil {
			t.Fatal(err)
		}
	}
	secrets := &mounted{dir: t.TempDir()}
	write := func(ca *authority.Authority, password string, life time.Duration, trusts ...[]byte) {
		cert, key := ca.Issue(t, authority.Wanted{CommonName: "worker", Life: life})
		secrets.write(t, map[string][]byte{"ca.pem": slices.Concat(trusts...), "cert.pem": cert, "key.pem": key, "password": []byte(password + "\n")})
	}
	setPassword(t, client, secretPassword)
	write(ca, secretPassword, life, ca.PEM)
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
	write(next, secretPassword+"-2", time.Hour, ca.PEM, next.PEM) // both, until the brokers have changed
	cluster.certify(t, next)
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
	cluster := newSecured(t, ca)
	client := cluster.client
	callOK(t, []string{"CLOSEORDER_KAFKA_BROKERS=" + cluster.Bootstrap()}, "topics", "create", "--partitions", "2")
	setPassword(t, client, secretPassword)
	secrets := &mounted{dir: t.TempDir()}
	cert, key := ca.Issue(t, authority.Wanted{CommonName: "worker"})
	files := map[string][]byte{"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key, "password": []byte(secretPassword)}
	secrets.write(t, files)
	env := slices.Concat(asWorker(cluster.SecureBootstrap()), secrets.env(), []string{"CLOSEORDER_GATEWAY_URLS=" + gateway(t, gatewaysim.Config{})})
	testMissingACLs(t, client, env)
	base := append(asWorker(""), "CLOSEORDER_GATEWAY_URLS="+gateway(t, gatewaysim.Config{}),
		"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_CA_FILE="+filepath.Join(secrets.dir, "ca.pem"))
	base = slices.DeleteFunc(base, func(entry string) bool { return strings.HasPrefix(entry, "CLOSEORDER_KAFKA_SASL_") })
	testMechanisms(t, cluster, base, secrets)
	testRoles(t, cluster, base)

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

// testMechanisms has a worker serve a request by each way to authenticate, and
// takes what each one needs from it.
func testMechanisms(t *testing.T, s *secured, base []string, secrets *mounted) {
	admin := kadm.NewClient(s.client)
	for _, r := range rulesOfAWorker() {
		for _, user := range []string{"User:worker", "User:CN=worker"} {
			if _, err := admin.CreateACLs(t.Context(), r.builder().Allow(user)); err != nil {
				t.Fatal(err)
			}
		}
	}
	way := func(listener string, more ...string) []string {
		env := append(slices.Clone(base), "CLOSEORDER_KAFKA_BROKERS="+s.ListenerBootstrap(listener))
		for _, setting := range more {
			env = append(env, "CLOSEORDER_KAFKA_"+setting)
		}
		return env
	}
	word := "SASL_PASSWORD_FILE=" + filepath.Join(secrets.dir, "password")
	endpoint := []string{"SASL_MECHANISM=OAUTHBEARER", "SASL_TOKEN_URL=" + s.login.url, "SASL_TOKEN_CA_FILE=" + s.login.ca, "SASL_CLIENT_ID=worker", "SASL_CLIENT_SECRET=" + loginSecret, "SASL_SCOPE=kafka"}
	with := func(more ...string) []string { return append(slices.Clone(endpoint), more...) }
	n := 0
	request := func(t *testing.T) {
		t.Helper()
		n++
		no := fmt.Sprintf("WAY%d", n)
		code, stdout, stderr := call(t, []string{"CLOSEORDER_KAFKA_BROKERS=" + s.Bootstrap()}, "", "request", "--mch-id", "1900000109", "--out-trade-no", no, "--wait", "--timeout", "30s")
		if code != exitDone || !strings.Contains(stdout, "closed") {
			t.Fatalf("%s: exit code %d, %s\n%s", no, code, stdout, stderr)
		}
	}
	for _, tt := range []struct {
		sentence string
		env      []string
	}{
		{"PLAIN", way("LOGIN", "SASL_MECHANISM=PLAIN", "SASL_USERNAME=worker", word)},
		{"SCRAM-SHA-256", way("LOGIN", "SASL_MECHANISM=SCRAM-SHA-256", "SASL_USERNAME=worker", word)},
		{"SCRAM-SHA-512", way("LOGIN", "SASL_MECHANISM=SCRAM-SHA-512", "SASL_USERNAME=worker", word)},
		{"a client certificate alone", way("MTLS", "TLS_CERT_FILE="+filepath.Join(secrets.dir, "cert.pem"), "TLS_KEY_FILE="+filepath.Join(secrets.dir, "key.pem"))},
		{"a token that nobody has signed", way("LOGIN", "SASL_MECHANISM=OAUTHBEARER", "SASL_TOKEN="+unsigned("worker", time.Hour), "SASL_EXTENSIONS=logicalCluster=lkc-1,identityPoolId=pool-1")},
		{"a token of an authorization server", way("SIGNED", endpoint...)},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			worker := launch(t, tt.env, "", "run")
			worker.stderr.find(t, "partitions assigned")
			request(t)
			if code := worker.end(t); code != exitDone || strings.Contains(worker.stderr.String(), "level=error") {
				t.Errorf("exit code %d\n%s", code, worker.stderr)
			}
		})
	}

	t.Run("tokens of some seconds", func(t *testing.T) {
		s.login.set(func() { s.login.life = 3 * time.Second })
		defer s.login.set(func() { s.login.life = time.Hour })
		before := s.login.given()
		worker := launch(t, way("SIGNED", with("SESSION_TIMEOUT=30s")...), "", "run")
		for s.login.given() < before+2 { // each one four fifths of its life after the one before
			request(t)
			time.Sleep(200 * time.Millisecond) // the brokers' clock cannot be moved
		}
		// The last one is renewed two seconds before its end, as a machine that is full
		// takes its time.
		s.login.set(func() { s.login.life = 20 * time.Second })
		for have := s.login.given(); s.login.given() == have; time.Sleep(200 * time.Millisecond) {
			request(t)
		}
		s.login.set(func() { s.login.refuse = "temporarily_unavailable" })
		worker.stderr.find(t, `level=error msg="no new token to authenticate with: the one from before goes on until it ends" error="kafka\.sasl\.token_url: no new token: .*temporarily_unavailable`)
		s.login.set(func() { s.login.refuse = "" })
		request(t)
		if code := worker.end(t); code != exitDone {
			t.Errorf("exit code %d", code)
		}
		text := worker.stderr.String()
		if strings.Count(text, "partitions assigned") != 1 || strings.Count(text, "level=error") != 1 || strings.Contains(text, loginSecret) || strings.Contains(text, "eyJ") {
			t.Errorf("%s", text)
		}
		if n := s.login.given() - before; n > 12 {
			t.Errorf("%d tokens were asked for", n)
		}
	})

	t.Run("a token file that is renewed", func(t *testing.T) {
		token := &mounted{dir: t.TempDir()}
		const life = 10 * time.Second
		ends := time.Now().Add(life)
		token.write(t, map[string][]byte{"token": []byte(unsigned("worker", life) + "\n")})
		worker := launch(t, way("LOGIN", "SASL_MECHANISM=OAUTHBEARER", "SASL_TOKEN_FILE="+filepath.Join(token.dir, "token")), "", "run")
		request(t)
		token.write(t, map[string][]byte{"token": []byte(unsigned("worker", time.Hour) + "\n")})
		time.Sleep(time.Until(ends.Add(time.Second))) // the first one has run out, and the broker has ended what it began
		request(t)
		if code := worker.end(t); code != exitDone || strings.Count(worker.stderr.String(), "partitions assigned") != 1 {
			t.Errorf("exit code %d\n%s", code, worker.stderr)
		}
	})

	gone := nobodyListens(t)
	for _, tt := range []struct {
		sentence string
		env      []string
		want     string
		lasts    bool
		claims   map[string]any
	}{
		{"a token that has run out", way("LOGIN", "SASL_MECHANISM=OAUTHBEARER", "SASL_TOKEN="+unsigned("worker", -time.Hour)),
			`the broker refuses the token \(invalid_token\); see kafka\.sasl\.token: whether it has run out`, true, nil},
		{"a token without a signature", way("SIGNED", "SASL_MECHANISM=OAUTHBEARER", "SASL_TOKEN="+unsigned("worker", time.Hour)),
			`the broker refuses the token \(invalid_token\); see kafka\.sasl\.token`, true, nil},
		{"a token for others", way("SIGNED", endpoint...),
			`the broker refuses the token \(invalid_token\); see whether the brokers know the issuer, the keys and the audience of kafka\.sasl\.token_url`, true, map[string]any{"aud": "another"}},
		{"a client secret that is wrong", way("SIGNED", with("SASL_CLIENT_SECRET=wrong")...),
			`answers 401 invalid_client \(in its own words: .*refused: \*{6}.*\); see kafka\.sasl\.client_id, kafka\.sasl\.client_secret`, true, nil},
		{"an endpoint that nobody trusts", way("SIGNED", slices.Delete(with(), 2, 3)...),
			`the certificate of https://\S+/token does not hold: .*; set kafka\.sasl\.token_ca_file`, true, nil},
		{"an endpoint that is away", way("SIGNED", with("SASL_TOKEN_URL="+gone)...),
			`no token comes from kafka\.sasl\.token_url: ` + gone + ` cannot be asked: .*connection refused; see whether it can be reached from here`, false, nil},
		{"a wrong password of PLAIN", way("LOGIN", "SASL_MECHANISM=PLAIN", "SASL_USERNAME=worker", "SASL_PASSWORD=wrong"), `the broker refuses the user or the password`, true, nil},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			s.login.set(func() { s.login.more = tt.claims })
			defer s.login.set(func() { s.login.more = nil })
			if tt.lasts {
				began := time.Now()
				if code, _, stderr := call(t, tt.env, "", "outcomes"); code != exitBad || time.Since(began) > 10*time.Second {
					t.Errorf("outcomes: exit code %d after %v, %s", code, time.Since(began), stderr)
				}
			}
			diagnosed(t, tt.env, [3]string{"danger", "broker-reachable", ""})
			worker := launch(t, tt.env, "", "run")
			worker.stderr.find(t, tt.want)
			worker.stderr.find(t, triedAgain)
			if n := len(told.FindAllString(worker.stderr.String(), -1)); n != 1 {
				t.Errorf("told %d times:\n%s", n, worker.stderr)
			}
			if text := worker.stderr.String(); strings.Contains(text, loginSecret) || strings.Contains(text, "eyJ") {
				t.Errorf("a secret is shown:\n%s", text)
			}
		})
	}
}
