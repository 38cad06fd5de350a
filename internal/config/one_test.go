package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/signing"
)

func setting(t *testing.T, name string) config.Setting {
	t.Helper()
	for _, s := range config.Settings() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no setting %s", name)
	return config.Setting{}
}

// ways are all the ways that a value of a merchant or of the gateway comes in.
// Each returns what is wrong.
func ways(t *testing.T) (single map[string]func(name, value string) error, merchant func(name, value string) error) {
	load := func(from config.Source) error {
		from.Env = append(from.Env, "CLOSEORDER_API_KEY="+apiKey)
		_, err := config.Load(from, config.Calls)
		return err
	}
	with := func(name string) []string {
		if name == "mch_id" {
			return nil
		}
		return []string{"CLOSEORDER_MCH_ID=1900000109"}
	}
	single = map[string]func(name, value string) error{
		"a variable": func(name, value string) error {
			return load(config.Source{Env: append(with(name), setting(t, name).Env()+"="+value)})
		},
		"a flag": func(name, value string) error {
			return load(config.Source{Env: with(name), Flags: map[string]string{name: value}})
		},
		"the file": func(name, value string) error {
			group, leaf, nested := strings.Cut(name, ".")
			text := fmt.Sprintf("%s: %q\n", group, value)
			if nested {
				text = fmt.Sprintf("%s: {%s: %q}\n", group, leaf, value)
			}
			return load(config.Source{Env: with(name), File: "c.yaml", ReadFile: files(map[string]string{"c.yaml": text})})
		},
	}
	merchant = func(name, value string) error {
		text := fmt.Sprintf("merchants:\n- {key: %s, %s: %s}\n", apiKey, name, value)
		if name != "mch_id" {
			text = strings.Replace(text, "{", "{mch_id: 1, ", 1)
		}
		file := filepath.Join(t.TempDir(), "merchants.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := merchants.Open(file)
		return err
	}
	return single, merchant
}

func TestAnIDIsJudgedByOneRuleWhereverItStands(t *testing.T) {
	single, merchant := ways(t)
	for _, name := range []string{"mch_id", "appid"} {
		for value, right := range map[string]bool{
			"1900000109": true, "0123": true, "shop_a-1": true, strings.Repeat("1", 32): true,
			strings.Repeat("1", 33): false, "1.9e+09": false, "1900000112.0": false, "+1": false, "1,900": false,
			" 1": false, "1 ": false, "1\n": false, "1\r": false, "1 2": false, "商": false, "１": false, `"1"`: false, "'1'": false, "a/b": false,
		} {
			if err := merchant(name, fmt.Sprintf("%q", value)); (err == nil) != right {
				t.Errorf("%s %q in the merchants file: %v", name, value, err)
			}
			for way, load := range single {
				err := load(name, value)
				var ms config.Mistakes
				if (err == nil) != right || err != nil && (!errors.As(err, &ms) || len(ms) != 1 || ms[0].Setting != name || ms[0].Where == "") {
					t.Errorf("%s %q by %s: %v", name, value, way, err)
				}
			}
		}
	}
	for _, value := range []string{"0x71", "0o17", "1e9", "1_900_000_112"} { // an appid could be that
		for way, load := range single {
			if err := load("mch_id", value); err == nil || !strings.Contains(err.Error(), "rewritten") {
				t.Errorf("mch_id %q by %s: %v", value, way, err)
			}
		}
	}
}

func TestABaseURLIsJudgedByOneRuleWhereverItStands(t *testing.T) {
	single, merchant := ways(t)
	for value, right := range map[string]bool{
		"https://a.example": true, "https://a.example/": true, "http://127.0.0.1:1": true, "https://a.example/xdc/apiv2sandbox": true,
		"a.example": false, "ftp://a": false, "https://": false, "https://a?b": false, "https://a#b": false, "https://u:p@a": false,
		"https://a b": false, "https://a/pay/closeorder": false, "https://a/s/pay/orderquery": false, "https：//a": false,
	} {
		if err := merchant("hosts", fmt.Sprintf("[%q]", value)); (err == nil) != right {
			t.Errorf("%q in the merchants file: %v", value, err)
		}
		for way, load := range single {
			if err := load("gateway.urls", value); (err == nil) != right {
				t.Errorf("%q by %s: %v", value, way, err)
			}
		}
	}
}

func TestARateIsJudgedByOneRuleWhereverItStands(t *testing.T) {
	single, merchant := ways(t)
	for value, right := range map[string]bool{
		"1": true, "0.5": true, "0.01": true, "100000": true, "0": false, "-1": false, "0.009": false, "100001": false,
		"NaN": false, "Inf": false, "fast": false, "1/s": false,
	} {
		if err := merchant("rate", value); (err == nil) != right {
			t.Errorf("%q in the merchants file: %v", value, err)
		}
		for way, load := range single {
			if err := load("gateway.rate", value); (err == nil) != right {
				t.Errorf("%q by %s: %v", value, way, err)
			}
		}
	}
}

func TestTheMerchantOfACommandIsJudgedToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, []byte("merchants:\n- {mch_id: 1, key: "+apiKey+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{{"CLOSEORDER_MERCHANTS_FILE=" + file}, {"CLOSEORDER_API_KEY=" + apiKey}} {
		if _, err := config.Load(config.Source{Env: env, Merchant: "1"}, config.Calls); err != nil {
			t.Error(err)
		}
		_, err := config.Load(config.Source{Env: env, Merchant: "1.9e+09"}, config.Calls)
		if err == nil || !strings.Contains(err.Error(), `mch_id (--mch-id): is "1.9e+09"`) {
			t.Errorf("%v: %v", env, err)
		}
	}
}

func TestMergeKeysWorkInTheFile(t *testing.T) {
	c, err := config.Load(config.Source{File: "c.yaml", ReadFile: files(map[string]string{"c.yaml": `
production: &production
  kafka: &kafka
    brokers: [kafka-1:9092, kafka-2:9092]
    tls: {enabled: true}
    client_id: template
  max_in_flight: 7
x-log: &log {level: debug, format: json}
shared:
  timeouts: &timeouts {attempt_timeout: 3s, budget: 9s}
<<: *production
kafka:
  <<: *kafka
  client_id: own
gateway:
  <<: [*timeouts, {budget: 1s, rate: 0.5}]
  urls: [https://api.mch.weixin.qq.com/xdc/apiv2sandbox/]
log:
  <<: *log
  level: warn
mch_id: 1900000109
api_key: ` + apiKey + "\n"})})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"a merged list", strings.Join(c.Kafka.Brokers, " "), "kafka-1:9092 kafka-2:9092"},
		{"a merged mapping", c.Kafka.TLS.Enabled, true},
		{"own wins", c.Kafka.ClientID, "own"},
		{"merged at the top", c.MaxInFlight, 7},
		{"a template below another name", c.Gateway.AttemptTimeout, 3 * time.Second},
		{"earlier wins over later", c.Gateway.Budget, 9 * time.Second},
		{"what only the later has", c.Gateway.Rate, 0.5},
		{"a path of a base URL", c.Gateway.URLs[0], "https://api.mch.weixin.qq.com/xdc/apiv2sandbox"},
		{"own wins in a mapping of its own", c.Log.Level, "warn"},
		{"merged beside it", c.Log.Format, "json"},
		{"no warning", len(c.Warnings), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestWhatIsDoubtfulAboutAPasswordIsWarnedOf(t *testing.T) {
	env := []string{"CLOSEORDER_KAFKA_SASL_MECHANISM=PLAIN", "CLOSEORDER_KAFKA_SASL_USERNAME=u", "CLOSEORDER_KAFKA_TLS_ENABLED=true"}
	for value, want := range map[string]string{
		password: "", `"` + password + `"`: "is in quotes", "'" + password + "'": "is in quotes",
		password + "\n": "ends with a line break", " " + password: "has white space at an end",
	} {
		for way, from := range map[string]config.Source{
			"a variable": {Env: append(env[:3:3], "CLOSEORDER_KAFKA_SASL_PASSWORD="+value)},
			"a file": {Env: append(env[:3:3], "CLOSEORDER_KAFKA_SASL_PASSWORD_FILE=p"),
				ReadFile: files(map[string]string{"p": "\ufeff" + value + "\r\n"})},
		} {
			want, text := want, value
			if way == "a file" && strings.HasSuffix(value, "\n") {
				want, text = "", password // the end of a file is no part of it
			}
			c, err := config.Load(from, config.Connection)
			got := strings.Join(c.Warnings, ", ")
			if err != nil || c.Kafka.SASL.Password.Reveal() != text || (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, password) {
				t.Errorf("%q by %s: warned of with %q, %v", value, way, got, err)
			}
		}
	}
}

func TestADoubtIsToldBesideAMistakeAndIsNone(t *testing.T) {
	from := config.Source{Env: []string{"CLOSEORDER_KAFKA_BROKER=b:1", "closeorder_kafka_group=g", "CLOSEORDER_KAFKA_CLIENT_ID=c"}}
	c, err := config.Load(from, config.Connection)
	if err != nil || len(c.Warnings) != 2 {
		t.Fatalf("%v, %v", c.Warnings, err)
	}
	from.Env = append(from.Env, "CLOSEORDER_KAFKA_BROKERS=nonsense")
	_, err = config.Load(from, config.Connection)
	var ms config.Mistakes
	if !errors.As(err, &ms) || len(ms) != 3 || ms[0].Doubt || !ms[1].Doubt || !ms[2].Doubt {
		t.Fatalf("%v", err)
	}
	for _, want := range append(c.Warnings, "1 mistake in", "CLOSEORDER_KAFKA_BROKERS?", "CLOSEORDER_KAFKA_GROUP?") {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestAVariableThatIsNearlyOursIsWarnedOf(t *testing.T) {
	for variable, want := range map[string]string{
		"closeorder_mch_id": "CLOSEORDER_MCH_ID", "Closeorder_Mch_Id": "CLOSEORDER_MCH_ID", "CLOSEORDER_mch_id": "CLOSEORDER_MCH_ID",
		"closeorder.mch.id": "CLOSEORDER_MCH_ID", "CLOSEORDER-MCH-ID": "CLOSEORDER_MCH_ID",
		"CLOSE_ORDER_MCH_ID": "CLOSEORDER_MCH_ID", "CLOSORDER_MCH_ID": "CLOSEORDER_MCH_ID", "CLOSEODER_API_KEY": "CLOSEORDER_API_KEY",
		"CLOSEORDERAPI_KEY": "CLOSEORDER_API_KEY", "closeorder_config": "CLOSEORDER_CONFIG", "CLOSEORDER_API_KEY ": "CLOSEORDER_API_KEY",
		"MCH_ID": "", "API_KEY": "", "ORDER_SERVICE_URL": "", "closeorder_service_host": "", "CLOSE_DELAY": "", "RECORDER_PORT": "",
	} {
		c, err := config.Load(config.Source{Env: []string{variable + "=x"}}, config.Logging)
		got := strings.Join(c.Warnings, ", ")
		if err != nil || (got == "") != (want == "") || want != "" && !strings.Contains(got, "did you mean "+want+"?") {
			t.Errorf("%s: %q, %v", variable, got, err)
		}
	}
}

func TestAGraceOfZeroMeansZero(t *testing.T) {
	c, err := config.Load(config.Source{Env: []string{
		"CLOSEORDER_MCH_ID=1", "CLOSEORDER_API_KEY=" + apiKey, "CLOSEORDER_SHUTDOWN_GRACE=0s",
	}})
	if err != nil || c.ShutdownGrace != 0 || len(c.Warnings) != 0 {
		t.Errorf("%v, %q, %v", c.ShutdownGrace, c.Warnings, err)
	}
}

func TestAKeyInTheWrongPlaceIsNotShown(t *testing.T) {
	for what, env := range map[string][]string{
		"as its file":              {"CLOSEORDER_MCH_ID=1", "CLOSEORDER_API_KEY_FILE=" + apiKey},
		"as the mch_id":            {"CLOSEORDER_MCH_ID=" + apiKey, "CLOSEORDER_API_KEY=1900000109"},
		"as the mch_id, and wrong": {"CLOSEORDER_MCH_ID=" + apiKey, "CLOSEORDER_API_KEY="},
	} {
		c, err := config.Load(config.Source{Env: env}, config.Calls)
		if text := fmt.Sprint(c.Warnings, err); strings.Contains(text, apiKey) || !strings.Contains(text, "not shown") && !strings.Contains(text, "not set") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// What is odd about a base URL is said wherever one is written.
func TestOddBaseURLsAreDoubted(t *testing.T) {
	for host, want := range map[string]string{
		"https://gw.example/x":             "",
		"https://gw.example/sandbox/pay":   "leave /pay out",
		"https://api.mch.weixin.qq.com/v3": "leave /v3 out",
		"https://gw.example/v3/close":      "leave /v3 out",
	} {
		key, err := signing.NewKey(strings.Repeat("k", 32))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(config.Doubts([]closer.Merchant{{MchID: "1", Keys: []signing.Key{key}, Hosts: []string{host}}}), "; ")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("hosts %s: %q, want %q", host, got, want)
		}
		c, err := config.Load(config.Source{Flags: map[string]string{"gateway.urls": host, "mch_id": "1", "api_key": strings.Repeat("k", 32)}}, config.Calls)
		if got := strings.Join(c.Warnings, "; "); err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("gateway.urls %s: %v, %q, want %q", host, err, got, want)
		}
	}
}
