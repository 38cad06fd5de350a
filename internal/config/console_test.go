package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
)

func TestTheFlagsOfTheConsoleHaveNoPrefix(t *testing.T) {
	want := map[string]string{
		"console.addr": "addr", "console.data_dir": "data-dir", "console.keep": "keep",
		"console.auth_file": "auth-file", "console.auth_header": "auth-header", "console.auth_role_header": "auth-role-header",
		"console.auth_operators": "auth-operators", "console.trusted_proxies": "trusted-proxies",
		"console.tls_cert_file": "tls-cert-file", "console.tls_key_file": "tls-key-file", "console.workers": "workers",
	}
	flags := map[string]string{}
	for _, s := range config.Settings() {
		if other, twice := flags[s.Flag()]; twice && s.Flag() != "" {
			t.Errorf("--%s is of %s and of %s", s.Flag(), other, s.Name)
		}
		flags[s.Flag()] = s.Name
		if flag, ok := want[s.Name]; ok && s.Flag() != flag {
			t.Errorf("%s has the flag --%s, want --%s", s.Name, s.Flag(), flag)
		}
		if s.Renamed() != (want[s.Name] != "") {
			t.Errorf("%s is renamed: %v", s.Name, s.Renamed())
		}
	}
	for _, s := range config.Settings(config.ConsolePages) {
		if want[s.Name] == "" {
			t.Errorf("%s is of the console, and not in this test", s.Name)
		}
		if s.Env() != "CLOSEORDER_"+strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_")) {
			t.Errorf("%s has the variable %s", s.Name, s.Env())
		}
	}
}

func TestWhatIsWrongWithTheSettingsOfTheConsole(t *testing.T) {
	with := func(more ...string) map[string]string {
		all := map[string]string{"console.auth_header": "X-Forwarded-User", "console.trusted_proxies": "10.0.0.1"}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	for _, tt := range []struct {
		what  string
		flags map[string]string
		want  []string // none: nothing is wrong
	}{
		{"nothing set", nil, nil},
		{"a proxy", with(), nil},
		{"a proxy that says roles", with("console.auth_role_header", "X-Role"), nil},
		{"a proxy that says no roles", with("console.auth_operators", "a@example.com,b"), nil},
		{"a proxy without header, for addresses alone", map[string]string{"console.trusted_proxies": "::1,10.0.0.0/8", "console.auth_file": "users"}, nil},
		{"a proxy, and nobody who says who they are", map[string]string{"console.trusted_proxies": "10.0.0.1"},
			[]string{`console.trusted_proxies (--trusted-proxies): is set, but neither console.auth_file nor console.auth_header is: a proxy is refused where nobody says who they are; set one of them with --auth-file, `}},
		{"no port", map[string]string{"console.addr": "127.0.0.1"}, []string{`console.addr (--addr): "127.0.0.1" is not host:port`}},
		{"no address", map[string]string{"console.addr": " "}, []string{`console.addr (--addr): must not be empty`}},
		{"days", map[string]string{"console.keep": "7d"}, []string{`console.keep (--keep): "7d" is not a duration: there is no unit of days; write 168h`}},
		{"two ways in", with("console.auth_file", "users"), []string{`console.auth_header (--auth-header): console.auth_file is set as well (--auth-file): there is one way in`}},
		{"nobody is trusted", map[string]string{"console.auth_header": "X-Forwarded-User"}, []string{`console.trusted_proxies: not set, but console.auth_header is`, `set the addresses of the proxy with --trusted-proxies, CLOSEORDER_CONSOLE_TRUSTED_PROXIES`}},
		{"everybody is trusted", with("console.trusted_proxies", "0.0.0.0/0,::/0"), []string{`0.0.0.0/0 is everybody`, `::/0 is everybody`}},
		{"networks that are none", with("console.trusted_proxies", "proxy,10.1.2.3/8,10.0.0.0/33,::ffff:10.0.0.0/104,fe80::1%eth0"),
			[]string{`"proxy" is not an address`, `10.1.2.3/8 has more in it than its first 8 bits; write 10.0.0.0/8, or 10.1.2.3`, `"10.0.0.0/33" is not`, `"::ffff:10.0.0.0/104" is an IPv4 network`, `"fe80::1%eth0" is not`}},
		{"a header with blanks", with("console.auth_header", "X User"), []string{`console.auth_header (--auth-header): "X User" is not the name of a header`}},
		{"a header with a password", with("console.auth_header", "authorization"), []string{`authorization holds what must stay secret`}},
		{"one header for both", with("console.auth_role_header", "x-forwarded-user"), []string{`console.auth_role_header (--auth-role-header): is x-forwarded-user, and so is console.auth_header`}},
		{"roles from two places", with("console.auth_role_header", "X-Role", "console.auth_operators", "a"), []string{`console.auth_operators (--auth-operators): console.auth_role_header is set as well`}},
		{"roles of nobody", map[string]string{"console.auth_role_header": "X-Role", "console.auth_operators": "a"}, []string{`console.auth_role_header (--auth-role-header): is set, but console.auth_header is not`, `console.auth_operators (--auth-operators): is set, but`}},
		{"a certificate without key", map[string]string{"console.tls_cert_file": "not-pem"}, []string{`console.tls_key_file: not set, but console.tls_cert_file is`}},
		{"a certificate that is none", map[string]string{"console.tls_cert_file": "not-pem", "console.tls_key_file": "missing"}, []string{`console.tls_key_file (--tls-key-file): open `}},
		{"neither is one", map[string]string{"console.tls_cert_file": "not-pem", "console.tls_key_file": "not-pem"}, []string{`console.tls_cert_file (--tls-cert-file): not-pem and not-pem are no certificate and its key`}},
		{"workers by their URLs", map[string]string{"console.workers": "http://w1:9290/,w2,u:distinctive@w3:1"}, []string{`"http://w1:9290/" is not host:port; write w1:9290`, `"w2" is not host:port`, `one of them holds more than host:port`}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := config.Load(config.Source{Flags: tt.flags, ReadFile: files(map[string]string{"not-pem": "hello"})}, config.ConsolePages)
			if len(tt.want) == 0 && err != nil || len(tt.want) > 0 && err == nil {
				t.Fatalf("%v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("%q is not in\n%v", want, err)
				}
			}
			if strings.Contains(fmt.Sprint(err), "distinctive") {
				t.Errorf("a password is shown: %v", err)
			}
		})
	}
}

func TestAFileThatAConsoleAndAWorkerShareIsReadByBoth(t *testing.T) {
	from := config.Source{File: filepath.Join("conf", "closeorder.yaml"), ReadFile: files(map[string]string{filepath.Join("conf", "closeorder.yaml"): `
mch_id: "1900000109"
api_key: ` + apiKey + `
console:
  addr: :8443
  data_dir: data
  auth_header: X-Forwarded-User
  auth_operators: [a, b]
  trusted_proxies: [10.0.0.0/8, 127.0.0.1]
  workers: [w1:9290, w2:9290]
  keep: 720h
`})}
	if _, err := config.Load(from); err != nil {
		t.Errorf("a worker: %v", err)
	}
	c, err := config.Load(from, config.Connection, config.ConsolePages)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Console
	if got.Addr != ":8443" || got.DataDir != filepath.Join("conf", "data") || got.Keep != 720*time.Hour || !slices.Equal(got.AuthOperators, []string{"a", "b"}) ||
		!slices.Equal(got.Workers, []string{"w1:9290", "w2:9290"}) ||
		!slices.Equal(got.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}) {
		t.Errorf("read %+v", got)
	}
	// What is wrong with the console is nothing to a worker.
	from.Env = []string{"CLOSEORDER_CONSOLE_KEEP=nonsense"}
	if _, err := config.Load(from); err != nil {
		t.Errorf("a worker: %v", err)
	}
	if _, err := config.Load(from, config.ConsolePages); err == nil {
		t.Error("the console has not seen it")
	}
}

func TestTheCertificateOfTheConsoleIsReadAgain(t *testing.T) {
	all := map[string]string{}
	write := func(name string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
		cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		all["cert"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
		all["key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
	}
	write("first")
	c, err := config.Load(config.Source{
		Flags:    map[string]string{"console.tls_cert_file": "cert", "console.tls_key_file": "key"},
		ReadFile: func(name string) ([]byte, error) { return files(all)(name) },
	}, config.ConsolePages)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	server := c.Console.ServerTLS(func(err error) { told = append(told, err.Error()) })
	now := func() string {
		cert, err := server.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.Subject.CommonName
	}
	got := []string{now()}
	write("second")
	got = append(got, now())
	all["cert"] = "broken"
	got = append(got, now(), now())
	if !slices.Equal(got, []string{"first", "second", "second", "second"}) {
		t.Errorf("served %v", got)
	}
	if len(told) != 1 || !strings.Contains(told[0], "console.tls_cert_file") {
		t.Errorf("told %q", told)
	}
	if config.Default().Console.ServerTLS(nil) != nil {
		t.Error("TLS without a certificate")
	}
}
