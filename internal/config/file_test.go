package config_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
)

func TestBrokenYAMLIsFoundInItsLines(t *testing.T) {
	for _, tt := range []struct{ what, yaml, want string }{
		{"a colon is missing", "kafka:\n  group: g\n  client_id x\n  brokers: [a:1]\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a line that is indented by a tab", "kafka:\n  group: g\n\tclient_id: x\nmax_in_flight: 3\n", "look at lines 2 to 3: line 3 begins with a tab, indent it with blanks"},
		{"a line that is indented too little", "kafka:\n    group: g\n  client_id: x\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a quote that is not closed", "kafka:\n  group: g\n  client_id: \"x\n  brokers: [a:1]\nmax_in_flight: 3\n", "look at lines 2 to 3"},
		{"a bracket that is not closed", "kafka:\n  group: g\n  brokers: [a:1\nmax_in_flight: 3\nlog: {level: info}\n", "look at lines 2 to 3"},
		{"a list over several lines with a mistake in the third of them", "kafka:\n  group: g\n  brokers: [a:1,\n    b:2,\n    }]\nmax_in_flight: 3\n", "look at lines 2 to 5"},
		{"the first line", "}\nkafka:\n  group: g\n", "look at line 1"},
	} {
		_, err := config.Load(config.Source{File: "c.yaml", ReadFile: files(map[string]string{"c.yaml": tt.yaml})})
		want := "1 mistake in the configuration:\n  config (c.yaml): not readable as YAML: " + tt.want
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", tt.what, err, want)
		}
	}
}

func TestAFileThatIsNotThereHidesNoMistakeElsewhereAndMakesNone(t *testing.T) {
	_, err := config.Load(config.Source{File: "missing.yaml", ReadFile: files(nil), Flags: map[string]string{"max_in_flight": "none"}})
	if err == nil || !strings.HasPrefix(err.Error(), "2 mistakes") || !strings.Contains(err.Error(), "max_in_flight") || strings.Contains(err.Error(), "no merchant") {
		t.Errorf("%v", err)
	}
}

// A service manager starts the worker in whatever folder it likes.
func TestAFileNamesFilesFromItsOwnFolderAndOthersFromTheWorkingFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"closeorder.yaml":  "merchants_file: m/merchants.yaml\nkafka: {sasl: {mechanism: PLAIN, username: u, password_file: password}}\n",
		"m/merchants.yaml": "merchants:\n  - {mch_id: \"1900000109\", key_file: ../key}\n",
		"key":              apiKey, "password": password,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(config.Source{File: filepath.Join(dir, "closeorder.yaml")})
	if err != nil || len(c.Merchants) != 1 || c.MerchantsFile != filepath.Join(dir, "m", "merchants.yaml") || c.Kafka.SASL.Password.Reveal() != password {
		t.Errorf("%+v, %v", c, err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(config.Source{File: filepath.Join(dir, "closeorder.yaml"), Flags: map[string]string{"merchants_file": "m/merchants.yaml"}})
	want := "merchants_file (--merchants-file): open " + filepath.Join(here, "m", "merchants.yaml") + ": no such file or directory"
	if err == nil || !strings.HasSuffix(err.Error(), "\n  "+want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestTheRootsOfTheGatewayAndOfTheBrokersAreRead(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c, err := config.Load(config.Source{
		Env:      []string{"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_API_KEY=" + apiKey, "CLOSEORDER_KAFKA_TLS_ENABLED=true"},
		Flags:    map[string]string{"gateway.ca_file": "gateway.pem", "kafka.tls.ca_file": "kafka.pem"},
		ReadFile: files(map[string]string{"gateway.pem": roots, "kafka.pem": roots}),
	})
	if err != nil || string(c.Gateway.CAPEM) != roots {
		t.Errorf("gateway: %q, %v", c.Gateway.CAPEM, err)
	}
	want := x509.NewCertPool()
	want.AddCert(server.Certificate())
	client, err := c.Kafka.Client(nil)
	if err != nil || client.TLS == nil {
		t.Fatalf("brokers: no TLS, %v", err)
	}
	if got, err := client.TLS(); err != nil || !got.RootCAs.Equal(want) {
		t.Errorf("brokers: %+v, %v", got, err)
	}
}
