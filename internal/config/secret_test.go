package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
	"go.yaml.in/yaml/v3"
)

func TestNoWayOfPrintingAConfigShowsASecret(t *testing.T) {
	// Ways to say who one is, each with all the secrets that go with it.
	covered := map[string]bool{}
	for name, settings := range map[string]map[string]string{
		"a password": {"kafka.sasl.mechanism": "SCRAM-SHA-512", "kafka.sasl.username": "u", "kafka.sasl.password": password},
		"a token":    {"kafka.sasl.mechanism": "OAUTHBEARER", "kafka.sasl.token": password},
		"the secret of a client": {
			"kafka.sasl.mechanism": "OAUTHBEARER", "kafka.sasl.token_url": "https://login.example/token",
			"kafka.sasl.client_id": "u", "kafka.sasl.client_secret": password,
		},
	} {
		env := []string{
			"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_API_KEY=" + apiKey, "CLOSEORDER_KAFKA_TLS_ENABLED=true",
			"CLOSEORDER_GATEWAY_PROXY=http://u:" + password + "@proxy:3128",
		}
		covered["api_key"] = true
		for _, s := range config.Settings() {
			if value, ok := settings[s.Name]; ok {
				env = append(env, s.Env()+"="+value)
				covered[s.Name] = true
			}
		}
		t.Run(name, func(t *testing.T) { showsNoSecret(t, env) })
	}
	for _, s := range config.Settings() {
		if s.Secret && !covered[s.Name] {
			t.Errorf("%s is a secret, and is not tried", s.Name)
		}
	}
}

func showsNoSecret(t *testing.T, env []string) {
	c, err := config.Load(config.Source{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	if sasl := c.Kafka.SASL; sasl.Password.Reveal()+sasl.Token.Reveal()+sasl.ClientSecret.Reveal() != password {
		t.Fatal("the secret was not read")
	}
	type wrapped struct {
		inner config.Config // unexported on purpose: fmt does not call the methods of such fields
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Kafka.SASL)
		for _, secret := range []config.Secret{c.Kafka.SASL.Password, c.Kafka.SASL.Token, c.Kafka.SASL.ClientSecret} {
			fmt.Fprintf(&out, verb+"\n", secret)
		}
		fmt.Fprintf(&out, verb+"\n", wrapped{c})
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	y, err := yaml.Marshal(c.Kafka.SASL)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "password", c.Kafka.SASL.Password, "token", c.Kafka.SASL.Token, "secret", c.Kafka.SASL.ClientSecret)
	for _, secret := range []string{password, apiKey, fmt.Sprintf("%x", password), fmt.Sprintf("%x", apiKey)} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("shown: ...%s...", out.String()[max(0, i-80):i+len(secret)])
		}
	}
}
