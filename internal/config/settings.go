package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

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
	// ConsolePages: what only the console needs.
	ConsolePages Section = "console"
)

// Everything is all sections that the worker needs: those of the console are left out.
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

	// parse reads a text into its place in a Config, see into; nil where that
	// takes more than the text.
	parse func(string) error
	// list: several values, with commas between them, or a list in YAML.
	list bool
	// flag is the flag where it is not made of Name.
	flag string
	// id is the rule of a mch_id or an appid, nil for all others.
	id func(string) error
}

const (
	saslMechanism        = "kafka.sasl.mechanism"
	saslUsername         = "kafka.sasl.username"
	saslPassword         = "kafka.sasl.password"
	saslPasswordFile     = "kafka.sasl.password_file"
	saslToken            = "kafka.sasl.token"
	saslTokenFile        = "kafka.sasl.token_file"
	saslTokenURL         = "kafka.sasl.token_url"
	saslTokenCA          = "kafka.sasl.token_ca_file"
	saslClientID         = "kafka.sasl.client_id"
	saslClientSecret     = "kafka.sasl.client_secret"
	saslClientSecretFile = "kafka.sasl.client_secret_file"
	saslScope            = "kafka.sasl.scope"
	saslExtensions       = "kafka.sasl.extensions"
)

// Env is the environment variable: CLOSEORDER_KAFKA_TLS_CA_FILE.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// Flag is the flag without its dashes, kafka-tls-ca-file; empty for a secret. Those
// of the console have no prefix: data-dir is console.data_dir.
func (s Setting) Flag() string {
	switch {
	case s.Secret:
		return ""
	case s.flag != "":
		return s.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.Name)
}

// Renamed reports whether the flag is another one than the name says.
func (s Setting) Renamed() bool { return s.flag != "" }

// EnvPrefix begins every environment variable of ours.
const EnvPrefix = "CLOSEORDER_"

// EnvFile is the environment variable that names the YAML file, as --config does.
const EnvFile = EnvPrefix + "CONFIG"

// Settings returns the table of all settings of the given sections, of all
// sections when none is given. --help and the README are made from it.
func Settings(sections ...Section) []Setting {
	all := table(new(Config))
	if len(sections) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(s Setting) bool { return !slices.Contains(sections, s.Section) })
}

// table makes the settings that are parsed into c.
func table(c *Config) []Setting {
	return []Setting{
		{Name: "kafka.brokers", list: true, Section: Connection, Default: "127.0.0.1:9092", parse: into(&c.Kafka.Brokers, addresses),
			What: "bootstrap brokers, host:port, comma-separated"},
		{Name: "kafka.client_id", Section: Connection, Default: "closeorder", parse: into(&c.Kafka.ClientID, text),
			What: "name of this program in the brokers' logs and quotas"},
		{Name: "kafka.tls.enabled", Section: Connection, Default: "false", parse: into(&c.Kafka.TLS.Enabled, boolean),
			What: "connect to the brokers with TLS (1.2 or later)"},
		{Name: "kafka.tls.ca_file", Section: Connection, parse: into(&c.Kafka.TLS.CAFile, text),
			What: "PEM file of the roots to trust, instead of the system's"},
		{Name: "kafka.tls.cert_file", Section: Connection, parse: into(&c.Kafka.TLS.CertFile, text),
			What: "PEM file of the client certificate, with kafka.tls.key_file"},
		{Name: "kafka.tls.key_file", Section: Connection, parse: into(&c.Kafka.TLS.KeyFile, text),
			What: "PEM file of the client key, with kafka.tls.cert_file"},
		{Name: "kafka.tls.server_name", Section: Connection, parse: into(&c.Kafka.TLS.ServerName, text),
			What: "name to check the brokers' certificates against, instead of the host"},
		{Name: "kafka.tls.verify", Section: Connection, Default: verifyFull, parse: into(&c.Kafka.TLS.Verify, choice(verifyFull, verifyChain)),
			What: "what is checked of the brokers' certificates: full, or chain for those that do not name their host"},
		{Name: "kafka.sasl.mechanism", Section: Connection, parse: into(&c.Kafka.SASL.Mechanism, choice("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", oauthBearer)),
			What: "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty for none"},
		{Name: "kafka.sasl.username", Section: Connection, parse: into(&c.Kafka.SASL.Username, text),
			What: "SASL user"},
		{Name: saslPassword, Section: Connection, Secret: true, parse: into(&c.Kafka.SASL.Password, secret),
			What: "SASL password"},
		{Name: "kafka.sasl.password_file", Section: Connection,
			What: "file that holds the SASL password, instead of kafka.sasl.password"},
		{Name: saslToken, Section: Connection, Secret: true, parse: into(&c.Kafka.SASL.Token, secret),
			What: "with OAUTHBEARER: the token"},
		{Name: saslTokenFile, Section: Connection,
			What: "with OAUTHBEARER: file that holds the token, instead of kafka.sasl.token"},
		{Name: saslTokenURL, Section: Connection, parse: into(&c.Kafka.SASL.TokenURL, tokenURL),
			What: "with OAUTHBEARER: token endpoint that gives tokens for kafka.sasl.client_id (the grant of client credentials), instead of kafka.sasl.token"},
		{Name: saslTokenCA, Section: Connection,
			What: "PEM file of the roots to trust at the token endpoint, instead of the system's"},
		{Name: saslClientID, Section: Connection, parse: into(&c.Kafka.SASL.ClientID, text),
			What: "client id at the token endpoint"},
		{Name: saslClientSecret, Section: Connection, Secret: true, parse: into(&c.Kafka.SASL.ClientSecret, secret),
			What: "client secret at the token endpoint"},
		{Name: saslClientSecretFile, Section: Connection,
			What: "file that holds the client secret, instead of kafka.sasl.client_secret"},
		{Name: saslScope, Section: Connection, parse: into(&c.Kafka.SASL.Scope, text),
			What: "scope to ask for at the token endpoint; several with blanks between them"},
		{Name: saslExtensions, list: true, Section: Connection, parse: into(&c.Kafka.SASL.Extensions, extensions),
			What: "with OAUTHBEARER: what goes to the brokers beside the token, name=value, comma-separated, such as logicalCluster=lkc-1"},
		{Name: "kafka.unpacked_batch", Section: Connection, Default: "64MiB", parse: into(&c.Kafka.UnpackedBatch, size(1<<10, 64<<30)),
			What: "the most bytes that one batch of records may unpack to; a larger one is not read, and its partition stops"},
		{Name: "kafka.unpacked_total", Section: Connection, Default: "256MiB", parse: into(&c.Kafka.UnpackedTotal, size(1<<10, 64<<30)),
			What: "the most bytes of all batches that are unpacked at one time, per process"},
		{Name: "kafka.isolation", Section: Connection, Default: ReadCommitted, parse: into(&c.Kafka.Isolation, choice(ReadCommitted, ReadUncommitted)),
			What: "read_committed, or read_uncommitted: records of transactions that are open or were aborted too"},

		{Name: "topics.requests", Section: TopicNames, Default: "closeorder.requests", parse: into(&c.Topics.Requests, topic),
			What: "topic of the close requests"},
		{Name: "topics.outcomes", Section: TopicNames, Default: "closeorder.outcomes", parse: into(&c.Topics.Outcomes, topic),
			What: "topic of the outcomes"},
		{Name: "topics.dead_letters", Section: TopicNames, Default: "closeorder.dead-letters", parse: into(&c.Topics.DeadLetters, topic),
			What: "topic of the dead letters"},
		{Name: "topics.retries_prefix", Section: TopicNames, Default: "closeorder.retries", parse: into(&c.Topics.RetriesPrefix, topicPrefix),
			What: "a retry topic is this, a dot and its delay"},
		{Name: "topics.retry_delays", list: true, Section: TopicNames, Default: "10s,1m,5m,30m,2h", parse: into(&c.Topics.RetryDelays, delays),
			What: "delays of the retry topics, ascending, comma-separated"},

		{Name: "gateway.urls", list: true, Section: Calls, Default: "https://api.mch.weixin.qq.com,https://api2.mch.weixin.qq.com", parse: into(&c.Gateway.URLs, urls),
			What: "base URLs of the gateway in order of preference, comma-separated; a path is kept"},
		{Name: "gateway.attempt_timeout", Section: Calls, Default: ShortDuration(closer.DefaultAttemptTimeout), parse: into(&c.Gateway.AttemptTimeout, between(100*time.Millisecond, time.Minute)),
			What: "end of one call"},
		{Name: "gateway.budget", Section: Calls, Default: ShortDuration(closer.DefaultBudget), parse: into(&c.Gateway.Budget, between(100*time.Millisecond, 5*time.Minute)),
			What: "time for all attempts in place of one request, waits included"},
		{Name: "gateway.confirm", Section: Calls, Default: string(closer.DefaultConfirm), parse: into(&c.Gateway.Confirm, confirm),
			What: "ask orderquery after a close: never, doubt (when the reply leaves one) or always"},
		{Name: "gateway.settle_age", Section: Calls, Default: ShortDuration(closer.DefaultSettleAge), parse: into(&c.Gateway.SettleAge, between(time.Second, 24*time.Hour)),
			What: "an order this old has no create call on its way any more: longer than the time-out of yours, retries included"},
		{Name: "gateway.rate", Section: Calls, Default: strconv.Itoa(closer.DefaultRate), parse: into(&c.Gateway.Rate, rate),
			What: "the most calls per second for one merchant, unless the merchants file says otherwise"},
		{Name: "gateway.max_concurrency", Section: Calls, Default: strconv.Itoa(closer.DefaultMaxConcurrency), parse: into(&c.Gateway.MaxConcurrency, number(1, 100_000)),
			What: "the most calls at once to one gateway host; below that it adapts by itself"},
		{Name: "gateway.ca_file", Section: Calls, parse: into(&c.Gateway.CAFile, text),
			What: "PEM file of the roots to trust, instead of the system's"},
		{Name: "gateway.proxy", Section: Calls, parse: into(&c.Gateway.Proxy, proxy),
			What: "URL of an HTTP proxy, instead of HTTPS_PROXY and HTTP_PROXY"},

		{Name: "merchants_file", Section: Calls, parse: into(&c.MerchantsFile, text),
			What: "YAML file of many merchants, instead of mch_id, appid, api_key and sign_type"},
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

		{Name: "kafka.group", Section: Work, Default: "closeorder", parse: into(&c.Kafka.Group, required),
			What: "consumer group"},
		{Name: "kafka.instance_id", Section: Work, parse: into(&c.Kafka.InstanceID, text),
			What: "static membership: an id that only this instance has and keeps over restarts"},
		{Name: "kafka.session_timeout", Section: Work, Default: "45s", parse: into(&c.Kafka.SessionTimeout, between(6*time.Second, 30*time.Minute)),
			What: "a member that is silent for so long is declared dead"},
		{Name: "kafka.rebalance_timeout", Section: Work, Default: "60s", parse: into(&c.Kafka.RebalanceTimeout, between(6*time.Second, 30*time.Minute)),
			What: "the longest that a rebalance waits for calls in flight"},
		{Name: "kafka.start", Section: Work, Default: "earliest", parse: into(&c.Kafka.Start, choice("earliest", "latest", "error")),
			What: "where to begin with a topic of which the group has no position: earliest, latest (what is there is never served) or error (end, where there is anything)"},
		{Name: "kafka.skip", list: true, Section: Work, parse: into(&c.Kafka.Skip, spans),
			What: "give up the requests of these offsets where they cannot be read: topic[partition]@first-last, comma-separated"},
		{Name: "processing_guarantee", Section: Work, Default: AtLeastOnce, parse: into(&c.ProcessingGuarantee, choice(AtLeastOnce, ExactlyOnce)),
			What: "at_least_once, or exactly_once: outcomes, dead letters, retry records and offsets in one transaction, for readers with isolation.level=read_committed"},
		{Name: "transaction_interval", Section: Work, Default: "100ms", parse: into(&c.TransactionInterval, between(time.Millisecond, time.Minute)),
			What: "with exactly_once: how far apart transactions begin under load"},
		{Name: "kafka.transaction_timeout", Section: Work, Default: "10s", parse: into(&c.Kafka.TransactionTimeout, between(time.Second, 15*time.Minute)),
			What: "with exactly_once: the brokers abort a transaction that is open for so long, as its worker is dead"},
		{Name: "max_in_flight", Section: Work, Default: "256", parse: into(&c.MaxInFlight, number(1, 100_000)),
			What: "the most calls at one time, per process"},
		{Name: "max_buffered", Section: Work, Default: "4MiB", parse: into(&c.Kafka.MaxBuffered, size(1<<20, 64<<30)),
			What: "the most bytes of records and of requests that are not finished, per process; its memory is about one and a third of that and 50 MiB"},
		{Name: "min_order_age", Section: Work, Default: "5m", parse: into(&c.MinOrderAge, between(0, 24*time.Hour)),
			What: "an order younger than this waits, when its request says its age; 0 = off"},
		{Name: "shutdown_grace", Section: Work, Default: "25s", parse: into(&c.ShutdownGrace, between(0, time.Hour)),
			What: "calls in flight may go on for so long after SIGTERM; 0s cuts them off at once"},
		{Name: "admin_addr", Section: Work, Default: DefaultAdminAddr, parse: into(&c.AdminAddr, adminAddress),
			What: "host:port where health, metrics and the state of the worker are served over HTTP, for whoever can reach it; off serves nothing"},
		{Name: "metrics.merchants", Section: Work, Default: "100", parse: into(&c.MetricsMerchants, number(0, 100_000)),
			What: "of how many merchants metrics have a series of their own; those of all others are counted as mch_id other"},

		{Name: "log.level", Section: Logging, Default: "info", parse: into(&c.Log.Level, choice("debug", "info", "warn", "error")),
			What: "debug, info, warn or error"},
		{Name: "log.format", Section: Logging, Default: "text", parse: into(&c.Log.Format, choice("text", "json")),
			What: "text or json"},

		{Name: "console.addr", flag: "addr", Section: ConsolePages, Default: DefaultConsoleAddr, parse: into(&c.Console.Addr, consoleAddress),
			What: "host:port where the console is served; beyond loopback only with console.auth_file or console.auth_header"},
		{Name: "console.data_dir", flag: "data-dir", Section: ConsolePages, parse: into(&c.Console.DataDir, text),
			What: "folder of the console's database, which no other console uses; empty keeps it in memory"},
		{Name: "console.keep", flag: "keep", Section: ConsolePages, Default: "0s", parse: into(&c.Console.Keep, between(0, 10*365*24*time.Hour)),
			What: "how old what the console indexes may be; 0s = as old as the topics hold"},
		{Name: consoleFile, flag: "auth-file", Section: ConsolePages, parse: into(&c.Console.AuthFile, text),
			What: "file of the users that may log in, one NAME:HASH:ROLE a line, as closeorder console user writes them"},
		{Name: consoleHeader, flag: "auth-header", Section: ConsolePages, parse: into(&c.Console.AuthHeader, headerName),
			What: "header in which a proxy of console.trusted_proxies says who asks, instead of console.auth_file: X-Forwarded-User"},
		{Name: consoleRole, flag: "auth-role-header", Section: ConsolePages, parse: into(&c.Console.AuthRoleHeader, headerName),
			What: "with console.auth_header: header in which the proxy says the role, viewer or operator"},
		{Name: consoleOperators, list: true, flag: "auth-operators", Section: ConsolePages, parse: into(&c.Console.AuthOperators, names),
			What: "with console.auth_header: users that are operators, comma-separated; all others are viewers"},
		{Name: consoleProxies, list: true, flag: "trusted-proxies", Section: ConsolePages, parse: into(&c.Console.TrustedProxies, networks),
			What: "addresses of the proxies whose headers count, as 10.1.2.3 or 10.1.0.0/16, comma-separated"},
		{Name: consoleCert, flag: "tls-cert-file", Section: ConsolePages, parse: into(&c.Console.TLSCertFile, text),
			What: "PEM file of the console's certificate and its chain, with console.tls_key_file; read again when it changes"},
		{Name: consoleKey, flag: "tls-key-file", Section: ConsolePages, parse: into(&c.Console.TLSKeyFile, text),
			What: "PEM file of its key"},
		{Name: "console.workers", list: true, flag: "workers", Section: ConsolePages, parse: into(&c.Console.Workers, adminAddresses),
			What: "admin addresses of workers to show, host:port, comma-separated"},
	}
}
