package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
)

const (
	password = "distinctive-SASL-passw0rd"
	apiKey   = "d1st1nct1veAPIkey000000000000000"
)

// files answers ReadFile from a map.
func files(m map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if text, ok := m[name]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: %w", name, os.ErrNotExist)
	}
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	from := config.Source{
		File: "c.yaml",
		ReadFile: files(map[string]string{"c.yaml": `
kafka:
  brokers: [file-1:9092, file-2:9092]
  group: from-file
  client_id: from-file
max_in_flight: 1
topics:
  retry_delays: [10s, 90s, 2h]
mch_id: 1900000109   # a number in YAML, a text for us
api_key: ` + apiKey + "\n"}),
		Env: []string{
			"CLOSEORDER_KAFKA_GROUP=from-env", "CLOSEORDER_KAFKA_CLIENT_ID=from-env",
			"CLOSEORDER_MAX_IN_FLIGHT=", "HOME=/nowhere",
		},
		Flags: map[string]string{"kafka.client_id": "from-flag"},
	}
	c, err := config.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"the file wins over the default", strings.Join(c.Kafka.Brokers, " "), "file-1:9092 file-2:9092"},
		{"the environment wins over the file", c.Kafka.Group, "from-env"},
		{"a flag wins over the environment", c.Kafka.ClientID, "from-flag"},
		{"a variable that is set to nothing is not set", fmt.Sprint(c.MaxInFlight), "1"},
		{"what nobody sets is the default", c.Topics.Requests, "closeorder.requests"},
		{"retry topics are named by their short delay", strings.Join(c.Topics.Retries(), " "),
			"closeorder.retries.10s closeorder.retries.1m30s closeorder.retries.2h"},
		{"the single merchant is read", c.Merchants[0].MchID, "1900000109"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.what, tt.got, tt.want)
		}
	}
}

// TestMistakes runs every file of testdata/config/mistakes: NAME.yaml is the
// file, its first lines of "# env NAME=VALUE" and "# flag name=value" the
// rest; NAME.txt is the message expected.
func TestMistakes(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "config", "mistakes")
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no case in %s: %v", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			from := config.Source{File: "closeorder.yaml", Flags: map[string]string{}, ReadFile: files(map[string]string{
				"closeorder.yaml": string(text), "empty": "", "password": password + "\n", "key": apiKey + "\r\n", "not-pem": "hello",
			})}
			for line := range strings.Lines(string(text)) {
				if env, ok := strings.CutPrefix(line, "# env "); ok {
					from.Env = append(from.Env, strings.TrimSuffix(env, "\n"))
				}
				if given, ok := strings.CutPrefix(line, "# flag "); ok {
					name, value, _ := strings.Cut(strings.TrimSuffix(given, "\n"), "=")
					from.Flags[name] = value
				}
			}
			got := "no mistake\n"
			if _, err := config.Load(from); err != nil {
				if _, ok := errors.AsType[config.Mistakes](err); !ok {
					t.Fatalf("error is %T, not Mistakes", err)
				}
				got = err.Error() + "\n"
			}
			golden.Check(t, strings.TrimSuffix(name, ".yaml")+".txt", got)
			for _, secret := range []string{password, apiKey} {
				if strings.Contains(got, secret) {
					t.Errorf("the message shows a secret:\n%s", got)
				}
			}
		})
	}
}

// TestAMistakeShowsNoPassword writes addresses with a password in them, as
// one does where a URL is expected, in all the ways that go wrong.
func TestAMistakeShowsNoPassword(t *testing.T) {
	for _, pass := range []string{password, "distinctive,SASL-passw0rd", "distinctive@SASL,passw0rd", "distinctive/SASL?passw0rd,#", "distinctive://SASL,passw0rd"} {
		for name, settings := range map[string][]string{
			"kafka.brokers": {"user:%s@kafka-1:9092", "sasl://user:%s@kafka-1:9092", "kafka-1:9092,user:%s@kafka-2:9092,kafka-3:9092", "user:%s@kafka-1", "%s@:1", "SASL_SSL://user:%s@kafka-1:9092"},
			"gateway.urls":  {"https://user:%s@api.example", "https://a.example,https://user:%s@b.example/x", "user:%s@api.example", "ftp://user:%s@api.example", "https://user:%s@ bad host"},
			"gateway.proxy": {"ftp://user:%s@proxy:3128", "user:%s@proxy:3128", "http://user:%s@"},
		} {
			for _, format := range settings {
				text := fmt.Sprintf(format, pass)
				_, err := config.Load(config.Source{Flags: map[string]string{name: text}}, config.Connection, config.Calls)
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s = %s is no mistake: %v", name, text, err)
					continue
				}
				for _, part := range []string{"distinctive", "passw0rd", "SASL-", "SASL,"} {
					if strings.Contains(err.Error(), part) {
						t.Errorf("%s = %s: the message shows %q:\n%v", name, text, part, err)
					}
				}
			}
		}
	}
}

func TestEachMistakeOfAListIsNamed(t *testing.T) {
	_, err := config.Load(config.Source{Flags: map[string]string{
		"gateway.urls": "ftp://a,https://b.example,c,https://d.example/x?y", "kafka.brokers": "a,b:1,c:x",
	}}, config.Connection, config.Calls)
	for _, want := range []string{`"ftp://a" must begin with https://`, `"c" must begin with https://`, `"https://d.example/x?y" must be a plain base URL`, `"a" is not host:port`, `"c:x" is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "b.example") {
		t.Errorf("what is right is named: %v", err)
	}
}

func TestTheSectionsThatNobodyAskedForMayBeWrong(t *testing.T) {
	from := config.Source{
		Env:   []string{"CLOSEORDER_GATEWAY_URLS=nonsense", "CLOSEORDER_KAFKA_BROKERS=b:1", "CLOSEORDER_API_KEY_FILE=missing"},
		Flags: map[string]string{"max_in_flight": "none"},
	}
	c, err := config.Load(from, config.Connection, config.TopicNames)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Kafka.Brokers) != 1 || c.Kafka.Brokers[0] != "b:1" {
		t.Errorf("brokers are %v", c.Kafka.Brokers)
	}
	if _, err := config.Load(from); err == nil {
		t.Error("all sections asked for, and no mistake found")
	}
}

func TestAVariableThatSetsNothingIsWarnedOf(t *testing.T) {
	for _, tt := range []struct{ what, variable, want string }{
		{"nearly a setting", "CLOSEORDER_KAFKA_BROKER", "did you mean CLOSEORDER_KAFKA_BROKERS?"},
		{"nearly the file", "CLOSEORDER_CONFG", "did you mean CLOSEORDER_CONFIG?"},
		{"a flag's name in capitals", "CLOSEORDER_KAFKA_TLS", "is not known"},
		{"a line of a shell's file", "export CLOSEORDER_MCH_ID", "did you mean CLOSEORDER_MCH_ID?"},
		{"nothing of ours", "CLOSEORDER_COLOUR", "is not known"},
		{"of a Kubernetes service of our name", "CLOSEORDER_SERVICE_HOST", ""},
		{"of one of its ports", "CLOSEORDER_SERVICE_PORT_HTTP", ""},
		{"of a link to it", "CLOSEORDER_PORT_8080_TCP_ADDR", ""},
		{"of a service whose name begins with ours", "CLOSEORDER_KAFKA_PORT_9092_TCP", ""},
		{"of the tests", "CLOSEORDER_SIM_SEEDS", ""},
		{"of the tests that need Kafka", "CLOSEORDER_REQUIRE_APACHE_KAFKA", ""},
		{"the file", "CLOSEORDER_CONFIG", ""},
		{"of somebody else", "OTHER_KAFKA_BROKER", ""},
	} {
		c, err := config.Load(config.Source{
			Env: []string{tt.variable + "=b:1"}, ReadFile: func(string) ([]byte, error) { return nil, nil },
		}, config.Connection)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(c.Warnings, ", ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || got != "" && !strings.HasPrefix(got, "environment variable "+tt.variable+" is not known") {
			t.Errorf("%s: %s is warned of with %q", tt.what, tt.variable, got)
		}
	}
}

func TestEveryDefaultIsReadable(t *testing.T) {
	c := config.Default()
	if c.MaxInFlight != 256 || c.Kafka.SessionTimeout != 45*time.Second || c.Topics.RetryDelays[4] != 2*time.Hour {
		t.Errorf("defaults are %+v", c)
	}
	for _, s := range config.Settings() {
		if s.What == "" {
			t.Errorf("%s does not say what it is", s.Name)
		}
		if s.Secret && s.Flag() != "" {
			t.Errorf("%s is a secret and has a flag", s.Name)
		}
	}
}

func TestTheEnvironmentNamesThatScriptsRelyOn(t *testing.T) {
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Env()] = true
	}
	for name := range strings.FieldsSeq(`
		CLOSEORDER_KAFKA_BROKERS CLOSEORDER_KAFKA_GROUP CLOSEORDER_TOPICS_REQUESTS CLOSEORDER_TOPICS_OUTCOMES
		CLOSEORDER_TOPICS_DEAD_LETTERS CLOSEORDER_TOPICS_RETRIES_PREFIX CLOSEORDER_GATEWAY_URLS
		CLOSEORDER_MERCHANTS_FILE CLOSEORDER_MCH_ID CLOSEORDER_APPID CLOSEORDER_API_KEY CLOSEORDER_SIGN_TYPE
		CLOSEORDER_MAX_IN_FLIGHT CLOSEORDER_MIN_ORDER_AGE CLOSEORDER_ADMIN_ADDR CLOSEORDER_LOG_LEVEL CLOSEORDER_LOG_FORMAT`) {
		if !known[name] {
			t.Errorf("%s is not a setting any more", name)
		}
	}
}

func TestAMerchantsFileIsReadAndItsMistakesAreNamedOneByOne(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("key", apiKey+"\n")
	good := write("good.yaml", `
merchants:
  - {mch_id: "1900000109", key_file: key}
  - {mch_id: "1900000110", key_file: key, sign_type: HMAC-SHA256}
`)
	bad := write("bad.yaml", `
merchants:
  - {mch_id: "1900000109"}
  - {mch_id: "1900000110", key: `+apiKey+`, sign_type: SHA1}
`)
	c, err := config.Load(config.Source{Flags: map[string]string{"merchants_file": good}}, config.Calls)
	if err != nil || len(c.Merchants) != 2 || c.MerchantsFile != good {
		t.Errorf("read %+v, %v", c.Merchants, err)
	}
	c, err = config.Load(config.Source{Flags: map[string]string{"merchants_file": good}, Merchant: "1900000110"}, config.Calls)
	if err != nil || len(c.Merchants) != 1 || c.Merchants[0].MchID != "1900000110" {
		t.Errorf("of one merchant, read %+v, %v", c.Merchants, err)
	}
	if _, err = config.Load(config.Source{Flags: map[string]string{"merchants_file": good}, Merchant: "7"}, config.Calls); err == nil {
		t.Error("a merchant that is not in the file was found")
	}
	_, err = config.Load(config.Source{Flags: map[string]string{"merchants_file": bad}}, config.Calls)
	var ms config.Mistakes
	if !errors.As(err, &ms) || len(ms) != 2 || strings.Contains(err.Error(), apiKey) {
		t.Errorf("of the bad file: %v", err)
	}
}

func TestMerchantsThatWeChatPayDoesNotKnowAreWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "merchants.yaml")
	text := "merchants:\n  - {mch_id: \"1900000109\", key: " + apiKey + ", next_key: short}\n  - {mch_id: wx8888888888888888, key: " + apiKey + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		key = "an API key of merchant 1900000109 is not 32 bytes long, as those (V2) of WeChat Pay are; look whether it is whole, and the V2 key"
		id  = `mch_id "wx8888888888888888" is not digits alone, as those of WeChat Pay are; look for an appid in its place`
	)
	for what, tt := range map[string]struct {
		from config.Source
		want []string
	}{
		"in a file of merchants":  {config.Source{Env: []string{"CLOSEORDER_MERCHANTS_FILE=" + file}}, []string{key, id}},
		"a single one by its key": {config.Source{Env: []string{"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_API_KEY=" + apiKey[1:]}}, []string{key}},
		"a single one by its id":  {config.Source{Env: []string{"CLOSEORDER_MCH_ID=wx8888888888888888", "CLOSEORDER_API_KEY=" + apiKey}}, []string{id}},
		"one as it should be":     {config.Source{Env: []string{"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_API_KEY=" + apiKey}}, nil},
	} {
		c, err := config.Load(tt.from, config.Calls)
		if err != nil || !slices.Equal(c.Warnings, tt.want) {
			t.Errorf("%s: %q, %v", what, c.Warnings, err)
		}
	}
}
