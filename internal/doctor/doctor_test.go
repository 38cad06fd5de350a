package doctor

import (
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// scene is what a doctor meets: a cluster, a gateway and settings that are well,
// and what a test changes of them.
type scene struct {
	topics  map[string]map[string]string // settings of topics
	without string                       // a topic that is not there
	retries int                          // partitions of retry topics, 0 for those of requests
	broker  func(t *testing.T, cfg *broker.Config)
	fill    func(t *testing.T, client *kgo.Client)
	gateway func(t *testing.T, sim *gatewaysim.Simulator) (url string)
	env     []string
	away    bool // one of kafka.brokers is
	moved   bool // the broker says that it is elsewhere
	probe   bool
	now     time.Duration // how far this machine's clock is ahead
}

const wrongKey = "another-key-of-thirty-two-letter"

// examine returns the report, and what the settings were.
func (s scene) examine(t *testing.T) *Report {
	t.Helper()
	cfg := broker.Config{}
	for _, topic := range broker.DefaultTopics() {
		if topic.Name == s.without {
			continue
		}
		topic.Configs = map[string]string{"retention.ms": "1209600000", "max.message.bytes": "1048588"}
		if strings.Contains(topic.Name, "dead") || strings.Contains(topic.Name, "retries") {
			topic.Configs["max.message.bytes"] = "2097152"
		}
		maps.Copy(topic.Configs, s.topics[topic.Name])
		if s.retries > 0 && strings.Contains(topic.Name, "retries") {
			topic.Partitions = s.retries
		}
		cfg.Topics = append(cfg.Topics, topic)
	}
	if s.broker != nil {
		s.broker(t, &cfg)
	}
	var bootstrap string
	if s.moved {
		cfg.ListenFn = elsewhere(t, &bootstrap)
	}
	b, err := broker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if s.fill != nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		s.fill(t, client)
	}
	sim, err := gatewaysim.New(gatewaysim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s.gateway == nil {
		s.gateway = func(t *testing.T, sim *gatewaysim.Simulator) string { return serve(t, sim) }
	}
	url := s.gateway(t, sim)
	brokers := b.Addrs()
	if s.moved {
		brokers = []string{bootstrap}
	}
	if s.away {
		brokers = append(brokers, "127.0.0.1:1")
	}
	env := []string{
		"CLOSEORDER_KAFKA_BROKERS=" + strings.Join(brokers, ","), "CLOSEORDER_GATEWAY_URLS=" + url,
		"CLOSEORDER_MCH_ID=1900000109", "CLOSEORDER_APPID=wx8888888888888888", "CLOSEORDER_API_KEY=" + gatewaysim.DirectKey,
	}
	for _, entry := range s.env { // an empty one would not take the first one's place
		name, value, _ := strings.Cut(entry, "=")
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if value != "" {
			env = append(env, entry)
		}
	}
	d := New(func(sections ...config.Section) (config.Config, error) {
		return config.Load(config.Source{Env: env}, sections...)
	})
	d.Probe = s.probe
	if s.moved {
		d.Timeout = 2 * time.Second // nobody answers most of them
	}
	steps := make(chan struct{}, 1000)
	d.OnStep = func() { steps <- struct{}{} }
	if s.now != 0 {
		d.Now = func() time.Time { return time.Now().Add(s.now) }
	}
	r := d.Examine(t.Context())
	if len(steps) != d.Steps() {
		t.Errorf("%d steps of %d", len(steps), d.Steps())
	}
	for _, f := range r.Findings {
		if all := fmt.Sprint(f); strings.Contains(all, gatewaysim.DirectKey) || strings.Contains(all, wrongKey) || strings.Contains(all, "hunter2") {
			t.Errorf("a secret: %s", all)
		}
		if f.Severity >= Warning && f.Remedy == "" {
			t.Errorf("no remedy: %+v", f)
		}
		if order(f.Check) < 0 {
			t.Errorf("a check that is not listed: %+v", f)
		}
	}
	return r
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// secure makes a broker that speaks TLS, with a certificate of such a life.
func secure(ca *authority.Authority, life time.Duration) func(t *testing.T, cfg *broker.Config) {
	return func(t *testing.T, cfg *broker.Config) {
		cert, key := ca.Issue(t, authority.Wanted{CommonName: "broker", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: life})
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.ListenFn = func(network, address string) (net.Listener, error) {
			return tls.Listen(network, address, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
	}
}

// secureGateway serves over TLS with a certificate of such a life.
func secureGateway(ca *authority.Authority, life time.Duration) func(t *testing.T, sim *gatewaysim.Simulator) string {
	return func(t *testing.T, sim *gatewaysim.Simulator) string {
		cert, key := ca.Issue(t, authority.Wanted{CommonName: "gateway", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: life})
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(sim)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
}

// produce puts one request of each key where a partitioner puts it.
func produce(t *testing.T, client *kgo.Client, n int, place func(key string) int32) {
	t.Helper()
	var all []*kgo.Record
	for i := range n {
		key := fmt.Sprintf("1900000109:T%d", i)
		all = append(all, &kgo.Record{Topic: "closeorder.requests", Partition: place(key), Key: []byte(key), Value: []byte("{}")})
	}
	if err := client.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// commit commits an offset of partition 0 of the requests, and nothing of others.
func commit(t *testing.T, client *kgo.Client, offset int64) {
	t.Helper()
	at := make(kadm.Offsets)
	at.AddOffset("closeorder.requests", 0, offset, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "closeorder", at); err != nil {
		t.Fatal(err)
	}
}

func onOne(string) int32 { return 0 }

func file(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestADoctorFindsWhatIsWrong(t *testing.T) {
	ca, stranger := authority.New(t, "our CA"), authority.New(t, "another CA")
	caFile := file(t, ca.PEM)
	const kept, requests = "retention.ms", "closeorder.requests"
	for _, tt := range []struct {
		sentence string
		scene    scene
		severity Severity
		check    string
		subject  string
		evidence string
		remedy   string
		also     []string // other checks that may be danger or warning
	}{
		{sentence: "what is well is safe", check: "settings", severity: OK},
		{sentence: "the key of a single merchant is missing: Kafka is examined all the same", scene: scene{env: []string{"CLOSEORDER_API_KEY="}}, severity: Danger, check: "settings", subject: "api_key", evidence: "not set"},
		{sentence: "the merchants file is missing", scene: scene{env: []string{"CLOSEORDER_API_KEY=", "CLOSEORDER_MCH_ID=", "CLOSEORDER_APPID=", "CLOSEORDER_MERCHANTS_FILE=/nowhere/merchants.yaml"}}, severity: Danger, check: "settings", subject: "merchants_file", evidence: "no such file"},
		{sentence: "a variable that sets nothing", scene: scene{env: []string{"CLOSEORDER_KAFKA_BROKER=x"}}, severity: Warning, check: "settings", evidence: "CLOSEORDER_KAFKA_BROKERS?"},
		{sentence: "a key that is not whole", scene: scene{env: []string{"CLOSEORDER_API_KEY=short"}}, severity: Warning, check: "merchant-shape", evidence: "not 32 bytes long"},

		{sentence: "no broker answers: the gateway is examined all the same", scene: scene{env: []string{"CLOSEORDER_KAFKA_BROKERS=127.0.0.1:1"}}, severity: Danger, check: "broker-reachable", subject: "kafka.brokers 127.0.0.1:1", evidence: "refused"},
		{sentence: "one of kafka.brokers is away", scene: scene{away: true}, severity: Warning, check: "broker-reachable", subject: "kafka.brokers 127.0.0.1:1"},
		{sentence: "a broker that wants TLS", scene: scene{broker: secure(ca, time.Hour)}, severity: Danger, check: "broker-reachable", remedy: "kafka.tls"},
		{sentence: "the certificate of a broker runs out soon", scene: scene{broker: secure(ca, 72*time.Hour), env: []string{"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_CA_FILE=" + caFile}}, severity: Warning, check: "broker-certificate", evidence: "issued by CN=our CA"},
		{sentence: "the certificate of a broker has run out", scene: scene{broker: secure(ca, -time.Minute), env: []string{"CLOSEORDER_KAFKA_TLS_ENABLED=true", "CLOSEORDER_KAFKA_TLS_CA_FILE=" + caFile}}, severity: Danger, check: "broker-reachable", remedy: "renew it at the broker"},
		{sentence: "a broker advertises where nobody is", scene: scene{moved: true}, severity: Danger, check: "broker-advertised", remedy: "advertised.listeners", also: []string{"topic", "acl", "group", "position", "keys"}},

		{sentence: "a topic is missing", scene: scene{without: "closeorder.outcomes"}, severity: Danger, check: "topic-exists", subject: "closeorder.outcomes", remedy: "closeorder topics create"},
		{sentence: "the requests topic is missing", scene: scene{without: requests}, severity: Danger, check: "topic-exists", subject: requests},
		{sentence: "retries with other partitions than requests: one finding of five topics", scene: scene{retries: 5}, severity: Danger, check: "topic-partitions", subject: "5 topics", evidence: "(closeorder.retries.10s, closeorder.retries.1m, closeorder.retries.5m, closeorder.retries.30m, closeorder.retries.2h)", remedy: "and the same for the others"},
		{sentence: "compacted requests", scene: scene{topics: map[string]map[string]string{requests: {"cleanup.policy": "compact"}}}, severity: Danger, check: "topic-cleanup", subject: requests},
		{sentence: "a short retention", scene: scene{topics: map[string]map[string]string{requests: {kept: "60000"}}}, severity: Danger, check: "topic-retention", subject: requests},
		{sentence: "a retention below the longest retry", scene: scene{topics: map[string]map[string]string{"closeorder.retries.2h": {kept: "7200000"}}}, severity: Danger, check: "topic-retention", subject: "closeorder.retries.2h"},

		{sentence: "the group stands beyond the end of the log", scene: scene{fill: func(t *testing.T, c *kgo.Client) { produce(t, c, 3, onOne); commit(t, c, 4711) }}, severity: Danger, check: "position", evidence: "0 (at 4711, the log ends at 3)"},
		{sentence: "requests were deleted unread", scene: scene{fill: func(t *testing.T, c *kgo.Client) {
			produce(t, c, 3, onOne)
			commit(t, c, 0)
			upTo := make(kadm.Offsets)
			upTo.AddOffset(requests, 0, 2, -1)
			if _, err := kadm.NewClient(c).DeleteRecords(t.Context(), upTo); err != nil {
				t.Fatal(err)
			}
		}}, severity: Warning, check: "position", evidence: "2 offsets deleted before the group had read them, in partitions 0 (at 0, the log begins at 2)"},
		{sentence: "requests from before the first start", scene: scene{fill: func(t *testing.T, c *kgo.Client) { produce(t, c, 3, onOne) }}, severity: Note, check: "position", evidence: "no position in partitions 0, which hold 3 offsets"},
		{sentence: "requests that kafka.start leaves out", scene: scene{fill: func(t *testing.T, c *kgo.Client) { produce(t, c, 3, onOne) }, env: []string{"CLOSEORDER_KAFKA_START=latest"}}, severity: Danger, check: "position", evidence: "never served"},
		{sentence: "requests that kafka.start ends at", scene: scene{fill: func(t *testing.T, c *kgo.Client) { produce(t, c, 3, onOne) }, env: []string{"CLOSEORDER_KAFKA_START=error"}}, severity: Warning, check: "position", evidence: "a worker ends"},
		{sentence: "two partitioners", scene: scene{fill: func(t *testing.T, c *kgo.Client) {
			produce(t, c, 600, func(key string) int32 {
				if len(key)%2 == 0 {
					return crc(key)
				}
				return murmur(key)
			})
		}}, severity: Warning, check: "keys", subject: requests, evidence: "stand where", remedy: "partitioner=murmur2_random"},

		{sentence: "the gateway is away", scene: scene{gateway: func(t *testing.T, _ *gatewaysim.Simulator) string { return "http://" + deadAddress(t) }}, severity: Danger, check: "host-reachable", evidence: "refused"},
		{sentence: "one host of two is away", scene: scene{gateway: func(t *testing.T, sim *gatewaysim.Simulator) string {
			return "http://" + deadAddress(t) + "," + serve(t, sim)
		}}, severity: Warning, check: "host-reachable", evidence: "refused"},
		{sentence: "a host whose name is wrong", scene: scene{env: []string{"CLOSEORDER_GATEWAY_URLS=http://gateway.invalid"}}, severity: Danger, check: "host-reachable", evidence: "its name does not resolve", remedy: "gateway.urls"},
		{sentence: "a host that somebody else has a certificate for", scene: scene{gateway: secureGateway(stranger, time.Hour), env: []string{"CLOSEORDER_GATEWAY_CA_FILE=" + caFile}}, severity: Danger, check: "host-reachable", evidence: "not trusted", remedy: "gateway.ca_file"},
		{sentence: "the certificate of a host runs out soon", scene: scene{gateway: secureGateway(ca, 72*time.Hour), env: []string{"CLOSEORDER_GATEWAY_CA_FILE=" + caFile}}, severity: Warning, check: "host-certificate", evidence: "CN=gateway"},
		{sentence: "the certificate of a host has run out", scene: scene{gateway: secureGateway(ca, -time.Minute), env: []string{"CLOSEORDER_GATEWAY_CA_FILE=" + caFile}}, severity: Danger, check: "host-reachable", evidence: "does not hold"},
		{sentence: "a proxy that is away, whose password is not shown", scene: scene{env: []string{"CLOSEORDER_GATEWAY_PROXY=http://me:hunter2@127.0.0.1:1"}}, severity: Danger, check: "host-reachable", evidence: "the proxy cannot be reached", remedy: "gateway.proxy"},
		{sentence: "the clock is a bit off", scene: scene{now: 45 * time.Second}, severity: Note, check: "clock", evidence: "45s ahead of"},
		{sentence: "the clock is minutes off", scene: scene{now: -3 * time.Minute}, severity: Warning, check: "clock", evidence: "3m0s behind"},
		{sentence: "the clock is ten minutes off", scene: scene{now: -10 * time.Minute}, severity: Danger, check: "clock", evidence: "10m0s behind", remedy: "timedatectl"},
		{sentence: "a host that does not tell the time", scene: scene{gateway: func(t *testing.T, _ *gatewaysim.Simulator) string {
			return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil }))
		}}, severity: Note, check: "clock", evidence: "no host has told the time"},

		{sentence: "the right key", scene: scene{probe: true}, severity: OK, check: "merchant-probe", evidence: "1 of 1 are proven"},
		{sentence: "a wrong key", scene: scene{probe: true, env: []string{"CLOSEORDER_API_KEY=" + wrongKey}}, severity: Danger, check: "merchant-probe", subject: "merchant 1900000109", evidence: "wrong signature", remedy: "sign_type"},
		{sentence: "a page in place of the gateway", scene: scene{probe: true, gateway: func(t *testing.T, _ *gatewaysim.Simulator) string {
			return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }))
		}}, severity: Warning, check: "merchant-probe", subject: "merchant 1900000109"},

		{sentence: "exactly once, on brokers that do not tell", scene: scene{env: []string{"CLOSEORDER_PROCESSING_GUARANTEE=exactly_once"}}, severity: Note, check: "transactions", evidence: "made at the first transaction"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := tt.scene.examine(t)
			found := false
			for _, f := range r.Findings {
				match := f.Severity == tt.severity && f.Check == tt.check && strings.Contains(f.Subject, tt.subject) && strings.Contains(f.Evidence, tt.evidence) && strings.Contains(f.Remedy, tt.remedy)
				found = found || match
				if !match && f.Severity >= Warning && f.Check != tt.check && !slices.ContainsFunc(tt.also, func(check string) bool { return strings.HasPrefix(f.Check, check) }) {
					t.Errorf("found as well: %+v", f)
				}
			}
			if !found || r.Safe != (tt.severity < Danger) {
				t.Errorf("safe: %v, want %s %s %s: %s; %s\n%s", r.Safe, tt.severity, tt.check, tt.subject, tt.evidence, tt.remedy, text(r))
			}
			if !slices.IsSortedFunc(r.Findings, func(a, b Finding) int { return int(b.Severity - a.Severity) }) {
				t.Error("the worst is not first")
			}
		})
	}
}

func text(r *Report) string {
	var all strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&all, "%+v\n", f)
	}
	return all.String()
}

// elsewhere makes a broker that can be reached, and not where it says.
func elsewhere(t *testing.T, at *string) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		*at = l.Addr().String()
		return moved{l, deadAddress(t)}, nil
	}
}

type moved struct {
	net.Listener
	says string
}

func (m moved) Addr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", m.says)
	return a
}

func murmur(key string) int32 { return int32(kafka.PartitionOf([]byte(key), 12)) }

func crc(key string) int32 { return int32(crc32.ChecksumIEEE([]byte(key)) % 12) }
