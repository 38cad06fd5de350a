package config_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/config"
)

// connecting loads the settings and returns what a new connection is made with,
// and what was told of stale files.
func connecting(t *testing.T, files map[string]string, env ...string) (tlsConfig func() *tls.Config, password func() string, told *[]string) {
	t.Helper()
	c, err := config.Load(config.Source{Env: append(env, "CLOSEORDER_KAFKA_TLS_ENABLED=true"), ReadFile: func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: no such file", name)
	}}, config.Connection)
	if err != nil {
		t.Fatal(err)
	}
	told = new([]string)
	client, err := c.Kafka.Client(func(err error) { *told = append(*told, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	return func() *tls.Config {
			cfg, err := client.TLS()
			if err != nil {
				t.Fatal(err)
			}
			return cfg
		}, func() string {
			m, err := client.SASL()
			if err != nil {
				t.Fatal(err)
			}
			_, first, err := m.Start(t.Context()) // of PLAIN (RFC 4616): NUL, name, NUL, password
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimPrefix(string(first), "\x00u\x00")
		}, told
}

func TestEachConnectionIsMadeWithTheFilesAsTheyAre(t *testing.T) {
	ca, other := authority.New(t, "ca"), authority.New(t, "other")
	cert, key := ca.Issue(t, authority.Wanted{CommonName: "first"})
	renewed, renewedKey := ca.Issue(t, authority.Wanted{CommonName: "second"})
	files := map[string]string{"ca": string(ca.PEM), "cert": string(cert), "key": string(key)}
	cfg, _, told := connecting(t, files, "CLOSEORDER_KAFKA_TLS_CA_FILE=ca", "CLOSEORDER_KAFKA_TLS_CERT_FILE=cert", "CLOSEORDER_KAFKA_TLS_KEY_FILE=key")
	now := func() string {
		c := cfg()
		leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, a := range map[string]*authority.Authority{"ca": ca, "other": other} {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(a.PEM)
			if c.RootCAs.Equal(pool) {
				return leaf.Subject.CommonName + " under " + name
			}
		}
		return leaf.Subject.CommonName
	}
	for _, step := range []struct {
		sentence string
		write    map[string]string
		want     string
		told     string // what is told of it, "" for nothing
	}{
		{"as they were at the start", nil, "first under ca", ""},
		{"renewed", map[string]string{"cert": string(renewed), "key": string(renewedKey)}, "second under ca", ""},
		{"half of it replaced: the pair that fits goes on", map[string]string{"cert": string(cert)}, "second under ca", "kafka.tls.cert_file: cert and key are no certificate and its key in PEM"},
		{"still: nothing is told twice", nil, "second under ca", ""},
		{"the other half follows", map[string]string{"key": string(key)}, "first under ca", ""},
		{"another authority", map[string]string{"ca": string(other.PEM)}, "first under other", ""},
		{"a file that is cut off", map[string]string{"ca": "-----BEGIN"}, "first under other", "kafka.tls.ca_file: ca holds no certificate in PEM; what was read before goes on until this is mended"},
		{"a file that is gone", map[string]string{"ca": string(ca.PEM), "key": ""}, "first under other", "kafka.tls.cert_file: "},
	} {
		maps.Copy(files, step.write)
		*told = nil
		if got := now(); got != step.want || (len(*told) > 0) != (step.told != "") || len(*told) > 1 || !strings.Contains(strings.Join(*told, ""), step.told) {
			t.Errorf("%s: %s, told %q; want %s, told %q", step.sentence, got, *told, step.want, step.told)
		}
	}
}

func TestTheFilesOfConnectionsAreCheckedOnDemand(t *testing.T) {
	ca := authority.New(t, "ca")
	files := files(map[string]string{"ca": string(ca.PEM), "p": "one"})
	good := true
	c, err := config.Load(config.Source{
		Env: []string{"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_CA_FILE=ca", "CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=u", "CLOSEORDER_KAFKA_SASL_PASSWORD_FILE=p"},
		ReadFile: func(name string) ([]byte, error) {
			if good {
				return files(name)
			}
			return nil, nil
		},
	}, config.Connection)
	if err != nil || !c.Kafka.HasFiles() {
		t.Fatalf("%v, files: %v", err, c.Kafka.HasFiles())
	}
	if err := c.Kafka.CheckFiles(); err != nil {
		t.Errorf("good files: %v", err)
	}
	good = false
	for _, want := range []string{"kafka.tls.ca_file: ca holds no certificate in PEM", "kafka.sasl.password_file: p is empty"} {
		if err := c.Kafka.CheckFiles(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
	if config.Default().Kafka.HasFiles() || config.Default().Kafka.CheckFiles() != nil {
		t.Error("there are files by default")
	}
}

func TestEachConnectionHasThePasswordAsItIs(t *testing.T) {
	files := map[string]string{"p": "one\n"}
	_, password, told := connecting(t, files, "CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=u", "CLOSEORDER_KAFKA_SASL_PASSWORD_FILE=p")
	for _, step := range []struct{ sentence, write, want, told string }{
		{"as it was at the start", "one\n", "one", ""},
		{"changed", "\ufefftwo\r\n", "two", ""},
		{"emptied, as a write begins", "", "two", "kafka.sasl.password_file: p is empty; what was read before goes on"},
		{"written", "three", "three", ""},
	} {
		files["p"], *told = step.write, nil
		if got := password(); got != step.want || !strings.Contains(strings.Join(*told, ""), step.told) || (step.told == "") != (len(*told) == 0) {
			t.Errorf("%s: %s, told %q", step.sentence, got, *told)
		}
	}
	delete(files, "p")
	if got := password(); got != "three" || !strings.Contains(strings.Join(*told, ""), "open p: no such file") {
		t.Errorf("gone: %s, told %q", got, *told)
	}
}

func TestWhatIsCheckedOfABrokersCertificate(t *testing.T) {
	ca, other := authority.New(t, "ca"), authority.New(t, "other")
	for _, c := range []struct {
		sentence    string
		issuer      *authority.Authority
		wanted      authority.Wanted
		full, chain bool // whether it is taken
	}{
		{"of our authority, for this host", ca, authority.Wanted{Hosts: []string{"kafka-1"}}, true, true},
		{"for another host", ca, authority.Wanted{Hosts: []string{"kafka-2"}}, false, true},
		{"for nobody, but for its common name", ca, authority.Wanted{CommonName: "kafka-1"}, false, true},
		{"run out", ca, authority.Wanted{Hosts: []string{"kafka-1"}, Life: -time.Hour}, false, false},
		{"of another authority, for this host", other, authority.Wanted{Hosts: []string{"kafka-1"}}, false, false},
		{"of an authority under ours, which comes with it", ca.Under(t, "between"), authority.Wanted{Hosts: []string{"kafka-1"}}, true, true},
		{"of an authority under another one", other.Under(t, "between"), authority.Wanted{Hosts: []string{"kafka-1"}}, false, false},
		{"of our authority, for clients alone", ca, authority.Wanted{Hosts: []string{"kafka-1"}, ForClients: true}, false, false},
	} {
		cert, key := c.issuer.Issue(t, c.wanted)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		for verify, want := range map[string]bool{"full": c.full, "chain": c.chain} {
			cfg, _, _ := connecting(t, map[string]string{"ca": string(ca.PEM)}, "CLOSEORDER_KAFKA_TLS_CA_FILE=ca", "CLOSEORDER_KAFKA_TLS_VERIFY="+verify)
			client, server := net.Pipe()
			go func() {
				_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}}).HandshakeContext(context.Background())
				server.Close()
			}()
			one := cfg()
			one.ServerName = "kafka-1"
			if err := tls.Client(client, one).HandshakeContext(t.Context()); (err == nil) != want {
				t.Errorf("%s, verify %s: %v", c.sentence, verify, err)
			}
			client.Close()
		}
	}
}

func TestChainNeedsAnAuthorityOfItsOwn(t *testing.T) {
	_, err := config.Load(config.Source{Env: []string{"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_VERIFY=chain"}}, config.Connection)
	if err == nil || !strings.Contains(err.Error(), "kafka.tls.verify (CLOSEORDER_KAFKA_TLS_VERIFY): is chain, and kafka.tls.ca_file is not set") {
		t.Errorf("%v", err)
	}
	_, err = config.Load(config.Source{Env: []string{"CLOSEORDER_KAFKA_TLS_VERIFY=none"}}, config.Connection)
	if err == nil || !strings.Contains(err.Error(), `"none" is not one of full, chain`) {
		t.Errorf("%v", err)
	}
}

func TestATokenFileIsReadForEachConnection(t *testing.T) {
	files := map[string]string{"t": "one\n"}
	c, err := config.Load(config.Source{Env: []string{"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_SASL_MECHANISM=OAUTHBEARER", "CLOSEORDER_KAFKA_SASL_TOKEN_FILE=t"}, ReadFile: func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: no such file", name)
	}}, config.Connection)
	if err != nil || !c.Kafka.HasFiles() {
		t.Fatal(err)
	}
	var told []string
	client, err := c.Kafka.Client(func(err error) { told = append(told, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ sentence, write, want, told string }{
		{"as it was at the start", "one\n", "one", ""},
		{"renewed", "two", "two", ""},
		{"emptied, as a write begins", "", "two", "kafka.sasl.token_file: t is empty; what was read before goes on"},
		{"a page instead", "<html>", "two", "kafka.sasl.token_file: t holds characters that no bearer token has"},
		{"written", "three\r\n", "three", ""},
	} {
		files["t"], told = step.write, nil
		m, err := client.SASL()
		if err != nil {
			t.Fatal(err)
		}
		_, first, err := m.Start(t.Context())
		if got := strings.TrimSuffix(strings.TrimPrefix(string(first), "n,,\x01auth=Bearer "), "\x01\x01"); got != step.want || err != nil || !strings.Contains(strings.Join(told, ""), step.told) || (step.told == "") != (len(told) == 0) {
			t.Errorf("%s: %s, told %q, %v", step.sentence, got, told, err)
		}
	}
}

func TestWhatOAuthBearerNeeds(t *testing.T) {
	const on = "CLOSEORDER_KAFKA_SASL_MECHANISM=OAUTHBEARER"
	endpoint := []string{on, "CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_SASL_TOKEN_URL=https://login/token", "CLOSEORDER_KAFKA_SASL_CLIENT_ID=c", "CLOSEORDER_KAFKA_SASL_CLIENT_SECRET=\"distinctive\""}
	with := func(more ...string) []string {
		env := append([]string(nil), endpoint...)
		for _, one := range more {
			env = append(env, "CLOSEORDER_KAFKA_SASL_"+one)
		}
		return env
	}
	ended := "h.eyJleHAiOjF9.s" // exp: 1
	for _, c := range []struct {
		sentence string
		env      []string
		want     string // of the error, "" for none
		warned   string
	}{
		{"a token endpoint", endpoint, "", ""},
		{"with all that there is", with("SCOPE=kafka openid", "EXTENSIONS=logicalCluster=lkc-1, identityPoolId=pool-1"), "", ""},
		{"a token", []string{on, "CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_SASL_TOKEN=abc.d-e_f~=="}, "", ""},
		{"a token in the clear", []string{on, "CLOSEORDER_KAFKA_SASL_TOKEN=abc"}, "", "OAUTHBEARER without kafka.tls.enabled sends the token in the clear"},
		{"a token that has run out", []string{on, "CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_SASL_TOKEN=" + ended}, "", "kafka.sasl.token: the token has run out at 1970-01-01T00:00:01Z"},
		{"a secret in the clear", append(with(), "CLOSEORDER_KAFKA_SASL_TOKEN_URL=http://login/token"), "", "kafka.sasl.token_url without TLS sends the client secret in the clear"},
		{"to oneself", append(with(), "CLOSEORDER_KAFKA_SASL_TOKEN_URL=http://127.0.0.1:1/token"), "", ""},
		{"nothing", []string{on}, "kafka.sasl.token: not set, but kafka.sasl.mechanism is OAUTHBEARER; set it with CLOSEORDER_KAFKA_SASL_TOKEN or kafka.sasl.token in the file, or name a file with", ""},
		{"two ways", with("TOKEN=abc"), "kafka.sasl.token_url (CLOSEORDER_KAFKA_SASL_TOKEN_URL): kafka.sasl.token is set as well (CLOSEORDER_KAFKA_SASL_TOKEN); leave one of them out", ""},
		{"a token with its scheme", []string{on, "CLOSEORDER_KAFKA_SASL_TOKEN=Bearer distinctive"}, "kafka.sasl.token (CLOSEORDER_KAFKA_SASL_TOKEN): holds characters that no bearer token has", ""},
		{"a token with a scope", []string{on, "CLOSEORDER_KAFKA_SASL_TOKEN=abc", "CLOSEORDER_KAFKA_SASL_SCOPE=kafka"}, "kafka.sasl.scope (CLOSEORDER_KAFKA_SASL_SCOPE): is set, but kafka.sasl.token_url is not", ""},
		{"a user", with("USERNAME=u"), "kafka.sasl.username (CLOSEORDER_KAFKA_SASL_USERNAME): is set, and OAUTHBEARER has none", ""},
		{"no client id", append(endpoint[:3:3], endpoint[4]), "kafka.sasl.client_id: not set, but kafka.sasl.token_url is; set it with", ""},
		{"no secret", endpoint[:4:4], "kafka.sasl.client_secret: not set, but kafka.sasl.token_url is", ""},
		{"no mechanism", []string{"CLOSEORDER_KAFKA_SASL_TOKEN=abc"}, "kafka.sasl.mechanism: not set, but kafka.sasl.token is; set it with --kafka-sasl-mechanism, CLOSEORDER_KAFKA_SASL_MECHANISM or kafka.sasl.mechanism in the file to OAUTHBEARER", ""},
		{"another mechanism", []string{"CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=u", "CLOSEORDER_KAFKA_SASL_PASSWORD=p", "CLOSEORDER_KAFKA_SASL_TOKEN=abc"}, "kafka.sasl.token (CLOSEORDER_KAFKA_SASL_TOKEN): is set, but kafka.sasl.mechanism is not OAUTHBEARER", ""},
		{"a URL with a password", with("TOKEN_URL=https://u:distinctive@login/token"), "kafka.sasl.token_url (CLOSEORDER_KAFKA_SASL_TOKEN_URL): ", ""},
		{"an extension without a value", with("EXTENSIONS=logicalCluster"), `kafka.sasl.extensions (CLOSEORDER_KAFKA_SASL_EXTENSIONS): "logicalCluster" is not name=value`, ""},
		{"an extension with a number in its name", with("EXTENSIONS=a1=b"), `"a1=b" is not name=value`, ""},
		{"the token as an extension", with("EXTENSIONS=auth=b"), "auth is the token itself", ""},
		{"a root that there is not", with("TOKEN_CA_FILE=nowhere"), "kafka.sasl.token_ca_file (CLOSEORDER_KAFKA_SASL_TOKEN_CA_FILE): ", ""},
		{"a secret file beside the secret", with("CLIENT_SECRET_FILE=s"), "kafka.sasl.client_secret_file (CLOSEORDER_KAFKA_SASL_CLIENT_SECRET_FILE): kafka.sasl.client_secret is set as well", ""},
	} {
		loaded, err := config.Load(config.Source{Env: c.env, ReadFile: files(map[string]string{"s": "x"})}, config.Connection)
		got, warned := "", strings.Join(loaded.Warnings, "; ")
		if err != nil {
			got = err.Error()
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || (warned == "") != (c.warned == "") || !strings.Contains(warned, c.warned) || strings.Contains(got, "distinctive") {
			t.Errorf("%s:\ngot  %s\nwarned of %q\nwant %s\nwarned of %q", c.sentence, got, warned, c.want, c.warned)
		}
		if c.sentence == "a token endpoint" && loaded.Kafka.SASL.ClientSecret.Reveal() != `"distinctive"` {
			t.Error("quotes may be part of a secret")
		}
	}
}
