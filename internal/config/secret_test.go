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
	c, err := config.Load(config.Source{Env: []string{
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_API_KEY=" + apiKey,
		"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
		"CLOSEORDER_KAFKA_SASL_USERNAME=u", "CLOSEORDER_KAFKA_SASL_PASSWORD=" + password,
		"CLOSEORDER_GATEWAY_PROXY=http://u:" + password + "@proxy:3128",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Kafka.SASL.Password.Reveal() != password {
		t.Fatal("the password was not read")
	}
	type wrapped struct {
		inner config.Config // unexported on purpose: fmt does not call the methods of such fields
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Kafka.SASL.Password)
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
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "password", c.Kafka.SASL.Password)
	for _, secret := range []string{password, apiKey, fmt.Sprintf("%x", password), fmt.Sprintf("%x", apiKey)} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("shown: ...%s...", out.String()[max(0, i-80):i+len(secret)])
		}
	}
}
