package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/signing"
)

// Section names the settings that a command may need together.
type Section string

const (
	// Connection: brokers, TLS, SASL.
	Connection Section = "connection"
	// TopicNames: the names of the topics.
	TopicNames Section = "topics"
	// Calls: the gateway and the merchants.
	Calls Section = "calls"
	// Work: what only the worker needs.
	Work Section = "work"
	// Logging: level and format.
	Logging Section = "logging"
)

// Everything is all sections, what the worker needs.
func Everything() []Section {
	return []Section{Connection, TopicNames, Calls, Work, Logging}
}

// Setting is one thing that can be set.
type Setting struct {
	// Name is its path in the YAML file: kafka.tls.ca_file.
	Name    string
	Section Section
	// Default in the spelling that flags and variables take; empty = not set.
	Default string
	// What it is, in one phrase, units and choices included.
	What string
	// Secret settings have no flag: a command line can be read by others.
	Secret bool

	parse func(*Config, string) error
	// list: several values, with commas between them, or a list in YAML.
	list bool
	// id is the rule of a mch_id or an appid, nil for all others.
	id func(string) error
}

const saslPassword = "kafka.sasl.password"

// Env is the environment variable: CLOSEORDER_KAFKA_TLS_CA_FILE.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// Flag is the flag without its dashes, kafka-tls-ca-file; empty for a secret.
func (s Setting) Flag() string {
	if s.Secret {
		return ""
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.Name)
}

// namesFile reports whether the setting is the path of a file.
func (s Setting) namesFile() bool { return strings.HasSuffix(s.Name, "_file") }

// EnvPrefix begins every environment variable of ours.
const EnvPrefix = "CLOSEORDER_"

// EnvFile is the environment variable that names the YAML file, as --config does.
const EnvFile = EnvPrefix + "CONFIG"

// Settings returns the table of all settings of the given sections, of all
// sections when none is given. --help and the README are made from it.
func Settings(sections ...Section) []Setting {
	all := table()
	if len(sections) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(s Setting) bool { return !slices.Contains(sections, s.Section) })
}

func table() []Setting {
	return []Setting{
		{Name: "kafka.brokers", list: true, Section: Connection, Default: "127.0.0.1:9092",
			What:  "bootstrap brokers, host:port, comma-separated",
			parse: addresses(func(c *Config) *[]string { return &c.Kafka.Brokers })},
		{Name: "kafka.client_id", Section: Connection, Default: "closeorder",
			What:  "name of this program in the brokers' logs and quotas",
			parse: text(func(c *Config) *string { return &c.Kafka.ClientID })},
		{Name: "kafka.tls.enabled", Section: Connection, Default: "false",
			What:  "connect to the brokers with TLS (1.2 or later)",
			parse: boolean(func(c *Config) *bool { return &c.Kafka.TLS.Enabled })},
		{Name: "kafka.tls.ca_file", Section: Connection,
			What:  "PEM file of the roots to trust, instead of the system's",
			parse: text(func(c *Config) *string { return &c.Kafka.TLS.CAFile })},
		{Name: "kafka.tls.cert_file", Section: Connection,
			What:  "PEM file of the client certificate, with kafka.tls.key_file",
			parse: text(func(c *Config) *string { return &c.Kafka.TLS.CertFile })},
		{Name: "kafka.tls.key_file", Section: Connection,
			What:  "PEM file of the client key, with kafka.tls.cert_file",
			parse: text(func(c *Config) *string { return &c.Kafka.TLS.KeyFile })},
		{Name: "kafka.tls.server_name", Section: Connection,
			What:  "name to check the brokers' certificates against, instead of the host",
			parse: text(func(c *Config) *string { return &c.Kafka.TLS.ServerName })},
		{Name: "kafka.sasl.mechanism", Section: Connection,
			What:  "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty for none",
			parse: choice(func(c *Config) *string { return &c.Kafka.SASL.Mechanism }, "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")},
		{Name: "kafka.sasl.username", Section: Connection,
			What:  "SASL user",
			parse: text(func(c *Config) *string { return &c.Kafka.SASL.Username })},
		{Name: saslPassword, Section: Connection, Secret: true,
			What:  "SASL password",
			parse: secret(func(c *Config) *Secret { return &c.Kafka.SASL.Password })},
		{Name: "kafka.sasl.password_file", Section: Connection,
			What: "file that holds the SASL password, instead of kafka.sasl.password"},

		{Name: "topics.requests", Section: TopicNames, Default: "closeorder.requests",
			What:  "topic of the close requests",
			parse: topic(func(c *Config) *string { return &c.Topics.Requests })},
		{Name: "topics.outcomes", Section: TopicNames, Default: "closeorder.outcomes",
			What:  "topic of the outcomes",
			parse: topic(func(c *Config) *string { return &c.Topics.Outcomes })},
		{Name: "topics.dead_letters", Section: TopicNames, Default: "closeorder.dead-letters",
			What:  "topic of the dead letters",
			parse: topic(func(c *Config) *string { return &c.Topics.DeadLetters })},
		{Name: "topics.retries_prefix", Section: TopicNames, Default: "closeorder.retries",
			What:  "a retry topic is this, a dot and its delay",
			parse: topicPrefix(func(c *Config) *string { return &c.Topics.RetriesPrefix })},
		{Name: "topics.retry_delays", list: true, Section: TopicNames, Default: "10s,1m,5m,30m,2h",
			What:  "delays of the retry topics, ascending, comma-separated",
			parse: delays(func(c *Config) *[]duration { return &c.Topics.RetryDelays })},

		{Name: "gateway.urls", list: true, Section: Calls, Default: "https://api.mch.weixin.qq.com,https://api2.mch.weixin.qq.com",
			What:  "base URLs of the gateway in order of preference, comma-separated; a path is kept",
			parse: urls(func(c *Config) *[]string { return &c.Gateway.URLs })},
		{Name: "gateway.attempt_timeout", Section: Calls, Default: ShortDuration(closer.DefaultAttemptTimeout),
			What:  "end of one call",
			parse: between(func(c *Config) *duration { return &c.Gateway.AttemptTimeout }, "100ms", "1m")},
		{Name: "gateway.budget", Section: Calls, Default: ShortDuration(closer.DefaultBudget),
			What:  "time for all attempts in place of one request, waits included",
			parse: between(func(c *Config) *duration { return &c.Gateway.Budget }, "100ms", "5m")},
		{Name: "gateway.confirm", Section: Calls, Default: string(closer.DefaultConfirm),
			What:  "ask orderquery after a close: never, doubt (when the reply leaves one) or always",
			parse: confirm(func(c *Config) *string { return &c.Gateway.Confirm })},
		{Name: "gateway.settle_age", Section: Calls, Default: ShortDuration(closer.DefaultSettleAge),
			What:  "an order this old has no create call on its way any more: longer than the time-out of yours, retries included",
			parse: between(func(c *Config) *duration { return &c.Gateway.SettleAge }, "1s", "24h")},
		{Name: "gateway.rate", Section: Calls, Default: strconv.Itoa(closer.DefaultRate),
			What:  "the most calls per second for one merchant, unless the merchants file says otherwise",
			parse: rate(func(c *Config) *float64 { return &c.Gateway.Rate })},
		{Name: "gateway.max_concurrency", Section: Calls, Default: strconv.Itoa(closer.DefaultMaxConcurrency),
			What:  "the most calls at once to one gateway host; below that it adapts by itself",
			parse: number(func(c *Config) *int { return &c.Gateway.MaxConcurrency }, 1, 100_000)},
		{Name: "gateway.ca_file", Section: Calls,
			What:  "PEM file of the roots to trust, instead of the system's",
			parse: text(func(c *Config) *string { return &c.Gateway.CAFile })},
		{Name: "gateway.proxy", Section: Calls,
			What:  "URL of an HTTP proxy, instead of HTTPS_PROXY and HTTP_PROXY",
			parse: proxy(func(c *Config) *Secret { return &c.Gateway.Proxy })},

		{Name: "merchants_file", Section: Calls,
			What:  "YAML file of many merchants, instead of mch_id, appid, api_key and sign_type",
			parse: text(func(c *Config) *string { return &c.MerchantsFile })},
		{Name: "mch_id", Section: Calls, id: merchants.CheckMchID,
			What: "mch_id of a single merchant"},
		{Name: "appid", Section: Calls, id: merchants.CheckAppID,
			What: "appid of the single merchant, for requests that name none"},
		{Name: "api_key", Section: Calls, Secret: true,
			What: "API key (V2) of the single merchant"},
		{Name: "api_key_file", Section: Calls,
			What: "file that holds the API key of the single merchant, instead of api_key"},
		{Name: "sign_type", Section: Calls, Default: string(signing.MD5),
			What: "how the single merchant signs: MD5 or HMAC-SHA256"},

		{Name: "kafka.group", Section: Work, Default: "closeorder",
			What:  "consumer group",
			parse: required(func(c *Config) *string { return &c.Kafka.Group })},
		{Name: "kafka.instance_id", Section: Work,
			What:  "static membership: an id that only this instance has and keeps over restarts",
			parse: text(func(c *Config) *string { return &c.Kafka.InstanceID })},
		{Name: "kafka.session_timeout", Section: Work, Default: "45s",
			What:  "a member that is silent for so long is declared dead",
			parse: between(func(c *Config) *duration { return &c.Kafka.SessionTimeout }, "6s", "30m")},
		{Name: "kafka.rebalance_timeout", Section: Work, Default: "60s",
			What:  "the longest that a rebalance waits for calls in flight",
			parse: between(func(c *Config) *duration { return &c.Kafka.RebalanceTimeout }, "6s", "30m")},
		{Name: "max_in_flight", Section: Work, Default: "256",
			What:  "the most calls at one time, per process",
			parse: number(func(c *Config) *int { return &c.MaxInFlight }, 1, 100_000)},
		{Name: "min_order_age", Section: Work, Default: "5m",
			What:  "an order younger than this waits, when its request says its age; 0 = off",
			parse: between(func(c *Config) *duration { return &c.MinOrderAge }, "0s", "24h")},
		{Name: "shutdown_grace", Section: Work, Default: "25s",
			What:  "calls in flight may go on for so long after SIGTERM; 0s cuts them off at once",
			parse: between(func(c *Config) *duration { return &c.ShutdownGrace }, "0s", "1h")},
		{Name: "admin_addr", Section: Work,
			What:  "host:port of health and metrics; reserved, nothing is served there yet",
			parse: listenAddress(func(c *Config) *string { return &c.AdminAddr })},

		{Name: "log.level", Section: Logging, Default: "info",
			What:  "debug, info, warn or error",
			parse: choice(func(c *Config) *string { return &c.Log.Level }, "debug", "info", "warn", "error")},
		{Name: "log.format", Section: Logging, Default: "text",
			What:  "text or json",
			parse: choice(func(c *Config) *string { return &c.Log.Format }, "text", "json")},
	}
}
