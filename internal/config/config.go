// Package config reads the settings of closeorder: flags over environment
// over one YAML file over defaults. It knows every setting by name, checks
// them all and reports every mistake at once; it opens no connection.
//
//	flags, environment, file --Load--> Config | Mistakes
package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/merchants"
)

// Config is everything that can be set. It is a plain value: what [Load]
// returned or [Default] with changes made in code. Printing it shows no
// secret, whatever the verb.
type Config struct {
	Kafka   Kafka
	Topics  Topics
	Gateway Gateway

	// MerchantsFile is where Merchants were read from; empty for a single
	// merchant that was set directly.
	MerchantsFile string
	// Merchants may be served. Never empty for a command that calls the gateway.
	Merchants []closer.Merchant
	// Followed is the merchants file as it was read, for whoever takes up its
	// changes; nil without one.
	Followed *merchants.File

	// ProcessingGuarantee is AtLeastOnce or ExactlyOnce.
	ProcessingGuarantee string
	// TransactionInterval is how far apart transactions begin under load, with
	// ExactlyOnce.
	TransactionInterval time.Duration
	// MaxInFlight is the most calls at the gateway at one time, per process.
	MaxInFlight int
	// MinOrderAge is the age below which an order is not closed yet; it
	// applies to requests that say when their order was created. 0 = off.
	MinOrderAge time.Duration
	// ShutdownGrace is how long calls in flight may go on after a stop was asked
	// for; 0 cuts them off at once.
	ShutdownGrace time.Duration
	// AdminAddr is host:port of the admin listener; empty = none. Where it is
	// [DefaultAdminAddr] any other port will do as well.
	AdminAddr string
	// MetricsMerchants is of how many merchants metrics have series of their own.
	MetricsMerchants int
	// Console is for `closeorder console` alone; a file may have it all the same.
	Console Console
	Log     Log

	// Warnings are doubts that do not stop the start; log each of them.
	Warnings []string
}

// Kafka is the cluster and our place in it.
type Kafka struct {
	// Brokers are host:port, at least one.
	Brokers []string
	Group   string
	// ClientID names this program in the brokers' logs and quotas.
	ClientID string
	// InstanceID is group.instance.id, for static membership; empty = dynamic.
	InstanceID       string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	// Start says where to begin without a committed offset: earliest, latest,
	// error; see consumer.Start.
	Start string
	// Skip are offsets whose records are given up where they cannot be read.
	Skip []kafka.Span
	// UnpackedBatch is the most bytes that one batch of records may unpack to,
	// UnpackedTotal the most of all that are unpacked at one time.
	UnpackedBatch int64
	UnpackedTotal int64
	// MaxBuffered is the most bytes of records and of requests that are not
	// finished, the setting max_buffered; 0 for commands that do not ask for it.
	MaxBuffered int64
	// Isolation is ReadCommitted or ReadUncommitted.
	Isolation string
	// TransactionTimeout is after how long the brokers abort a transaction that
	// is still open, with ExactlyOnce.
	TransactionTimeout time.Duration
	TLS                TLS
	SASL               SASL
}

// What [Kafka.Isolation] may be: isolation.level of Kafka's own consumers.
const (
	ReadCommitted   = "read_committed"
	ReadUncommitted = "read_uncommitted"
)

// What [Config.ProcessingGuarantee] may be: processing.guarantee of Kafka Streams.
const (
	AtLeastOnce = "at_least_once"
	ExactlyOnce = "exactly_once"
)

// TLS of the connections to the brokers.
type TLS struct {
	Enabled bool
	// CAFile holds the roots to trust in PEM; empty = the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate and key in PEM; both or none.
	CertFile string
	KeyFile  string
	// ServerName overrides the name that the brokers' certificates are checked against.
	ServerName string
	// Verify is what is checked of the brokers' certificates: full (chain and
	// name) or chain, which leaves the name out.
	Verify string

	files *tlsFiles
}

// SASL is how the client proves who it is.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or empty for
	// none.
	Mechanism string
	Username  string
	Password  Secret
	// Token is that of OAUTHBEARER, where it is static.
	Token Secret
	// TokenURL is the token endpoint, if tokens come from one, and ClientID,
	// ClientSecret and Scope are what it is asked with.
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scope        string
	// Extensions go to the brokers beside the token, by their names.
	Extensions map[string]string

	file       *secretFile // where Password comes from, if from a file
	tokenFile  *secretFile // Token
	secretFile *secretFile // ClientSecret
	endpoint   *endpoint   // nil for none
}

// Console is the pages of `closeorder console`, and who may see them.
type Console struct {
	// Addr is host:port to listen on; an empty host is every interface.
	Addr string
	// DataDir is the folder of the database; empty = memory.
	DataDir string
	// Keep is how old what is indexed may be; 0 = as old as the topics hold.
	Keep time.Duration
	// AuthFile is the file of users. At most one of AuthFile and AuthHeader is set.
	AuthFile string
	// AuthHeader is the header in which a proxy says who asks, AuthRoleHeader the
	// one with the role. AuthOperators are the users that are operators where that
	// does not say so.
	AuthHeader, AuthRoleHeader string
	AuthOperators              []string
	// TrustedProxies are the addresses whose headers count: at least one with
	// AuthHeader, and never everybody.
	TrustedProxies []netip.Prefix
	// TLSCertFile and TLSKeyFile are the certificate and its key in PEM; both or none.
	TLSCertFile, TLSKeyFile string
	// Workers are host:port of admin listeners.
	Workers []string

	files *tlsFiles
}

// Topics are the names of the topics.
type Topics struct {
	Requests    string
	Outcomes    string
	DeadLetters string
	// RetriesPrefix and a delay of RetryDelays make a retry topic, see [Topics.Retry].
	RetriesPrefix string
	// RetryDelays are ascending, the shortest first.
	RetryDelays []time.Duration
}

// Retry returns the name of the retry topic of one delay: closeorder.retries.5m.
func (t Topics) Retry(delay time.Duration) string {
	return t.RetriesPrefix + "." + ShortDuration(delay)
}

// Retries returns the names of all retry topics, the shortest delay first.
func (t Topics) Retries() []string {
	names := make([]string, len(t.RetryDelays))
	for i, d := range t.RetryDelays {
		names[i] = t.Retry(d)
	}
	return names
}

// All returns the names of all topics: requests, outcomes, dead letters, retries.
func (t Topics) All() []string {
	return append([]string{t.Requests, t.Outcomes, t.DeadLetters}, t.Retries()...)
}

// Gateway is how WeChat Pay is called.
type Gateway struct {
	// URLs are base URLs in order of preference, as [merchants.ParseHost] returns them.
	URLs []string
	// AttemptTimeout ends one call, Budget all calls of one try at a request.
	AttemptTimeout time.Duration
	Budget         time.Duration
	// Confirm says when orderquery is asked after a close: never, doubt, always.
	Confirm string
	// SettleAge is the age from which on no create call can be on its way.
	SettleAge time.Duration
	// Rate is the most calls per second for a merchant that has none of its own,
	// see [closer.CheckRate].
	Rate float64
	// MaxConcurrency is the most calls at once to one host.
	MaxConcurrency int
	// CAFile holds the roots to trust in PEM; empty = the system's.
	CAFile string
	// CAPEM is what stands in CAFile; [Load] reads it.
	CAPEM []byte
	// Proxy is the URL of an HTTP proxy, which may hold a password; not set =
	// HTTPS_PROXY and friends.
	Proxy Secret
}

// Log is the log's level (debug, info, warn, error) and format (text, json).
type Log struct {
	Level  string
	Format string
}

// ShortDuration writes d without zero units, as retry topics are named: 30m, 2h, 1m30s.
func ShortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
