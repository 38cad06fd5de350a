package config

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/slips"
)

// asked reports whether a section was asked for: files are read for those alone.
func (l *loader) asked(s Section) bool { return slices.Contains(l.sections, s) }

// checked reports whether what is wrong with a setting is to be told.
func (l *loader) checked(name string) bool {
	i := l.index(name)
	return i < 0 || l.asked(l.settings[i].Section) || slices.Contains(l.Also, name)
}

func (l *loader) checkKafka() {
	if l.asked(Connection) {
		l.checkTLS()
		l.checkSASL()
	}
	k := l.config.Kafka
	if k.RebalanceTimeout > 0 && l.config.ShutdownGrace > 0 && k.RebalanceTimeout < l.config.ShutdownGrace {
		l.wrong("shutdown_grace", "%s is longer than kafka.rebalance_timeout (%s): a rebalance would not wait for the calls in flight; make one of them fit",
			ShortDuration(l.config.ShutdownGrace), ShortDuration(k.RebalanceTimeout))
	}
	if k.UnpackedTotal > 0 && k.UnpackedTotal < k.UnpackedBatch {
		l.wrong("kafka.unpacked_total", "%s is less than kafka.unpacked_batch (%s): such a batch would never be read; make one of them fit",
			shortSize(k.UnpackedTotal), shortSize(k.UnpackedBatch))
	}
	l.checkTransactions()
	read := append(l.config.Topics.Retries(), l.config.Topics.Requests)
	for _, s := range k.Skip {
		// Where the names of the topics are wrong that is said already.
		if len(read) > 1 && !slices.Contains(read, s.Topic) {
			l.wrong("kafka.skip", "%s: the worker does not read topic %s, but %s", s, s.Topic, strings.Join(slices.Sorted(slices.Values(read)), ", "))
		}
	}
}

// checkTransactions looks at what goes with exactly_once. A command that does not
// ask for the guarantee may read uncommitted, whatever the workers do.
func (l *loader) checkTransactions() {
	const guarantee, interval = "processing_guarantee", "transaction_interval"
	if l.config.ProcessingGuarantee != ExactlyOnce || !l.checked(guarantee) {
		return
	}
	k := l.config.Kafka
	if k.Isolation == ReadUncommitted {
		l.wrong("kafka.isolation", "is %s, and %s is %s: records of aborted transactions would count; leave one of them out", ReadUncommitted, guarantee, ExactlyOnce)
	}
	if k.TransactionTimeout > 0 && l.config.TransactionInterval > k.TransactionTimeout/2 {
		l.wrong(interval, "%s is more than half of kafka.transaction_timeout (%s): the brokers would abort transactions of a worker that is well; make one of them fit",
			ShortDuration(l.config.TransactionInterval), ShortDuration(k.TransactionTimeout))
	}
}

func (l *loader) checkTLS() {
	t := &l.config.Kafka.TLS
	if !t.Enabled {
		for _, name := range []string{"kafka.tls.ca_file", "kafka.tls.cert_file", "kafka.tls.key_file", "kafka.tls.server_name", "kafka.tls.verify"} {
			if l.given(name) {
				l.wrong(name, "is set, but TLS is off; set kafka.tls.enabled to true, or leave this out")
			}
		}
		return
	}
	if t.Verify == verifyChain && t.CAFile == "" {
		l.wrong("kafka.tls.verify", "is chain, and kafka.tls.ca_file is not set: whoever has a certificate of any public CA could pose as a broker; set kafka.tls.ca_file with %s",
			l.howTo("kafka.tls.ca_file"))
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		has, lacks := "kafka.tls.cert_file", "kafka.tls.key_file"
		if t.CertFile == "" {
			has, lacks = lacks, has
		}
		l.wrong(lacks, "not set, but %s is; set it with %s", has, l.howTo(lacks))
		t.CertFile, t.KeyFile = "", "" // nothing to read of them
	}
	if t.Verify == verifyChain && t.ServerName != "" {
		l.doubt("kafka.tls.server_name (%s) is sent to the brokers, and with kafka.tls.verify chain not checked", l.values["kafka.tls.server_name"].where)
	}
	t.files = &tlsFiles{of: *t, prefix: "kafka.tls.", read: l.read}
	for _, f := range t.files.load() {
		l.wrong(f.setting, "%s", f.problem)
	}
}

// content reads the file that a setting names.
func (l *loader) content(setting, file string) ([]byte, bool) {
	data, err := l.read(file)
	if err != nil {
		l.wrong(setting, "%v", err)
	}
	return data, err == nil
}

// roots reads the certificates to trust that a setting names.
func (l *loader) roots(setting, file string) ([]byte, *x509.CertPool) {
	roots := x509.NewCertPool()
	pem, ok := l.content(setting, file)
	if ok && !roots.AppendCertsFromPEM(pem) {
		l.wrong(setting, "%s holds no certificate in PEM", file)
	}
	return pem, roots
}

func (l *loader) checkSASL() {
	s := &l.config.Kafka.SASL
	if s.Mechanism == oauthBearer {
		l.checkBearer()
		return
	}
	for _, name := range bearerSettings {
		switch {
		case !l.given(name) || s.Mechanism == "" && l.given(saslMechanism): // which one is meant nobody knows
		case s.Mechanism != "":
			l.wrong(name, "is set, but kafka.sasl.mechanism is not OAUTHBEARER; leave one of them out")
		default:
			l.wrong(saslMechanism, "not set, but %s is; set it with %s to OAUTHBEARER", name, l.howTo(saslMechanism))
			return
		}
	}
	password := saslPassword // where it is
	if file := l.text("kafka.sasl.password_file"); file != "" {
		password = "kafka.sasl.password_file"
		if l.given(saslPassword) {
			l.wrong(password, "kafka.sasl.password is set as well (%s); leave one of them out", l.values[saslPassword].where)
		} else if text, ok := l.secretFile(password, file); ok {
			s.Password = NewSecret(text)
			s.file = &secretFile{setting: saslPasswordFile, name: file, read: l.read, last: s.Password}
		} else {
			return
		}
	}
	l.doubtPassword(password, s.Password.Reveal())
	if s.Mechanism == "" {
		for _, name := range []string{"kafka.sasl.username", saslPassword, "kafka.sasl.password_file"} {
			if l.given(name) && !l.given("kafka.sasl.mechanism") {
				l.wrong("kafka.sasl.mechanism", "not set, but %s is; set it with %s to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", name, l.howTo("kafka.sasl.mechanism"))
				return
			}
		}
		return
	}
	if s.Username == "" {
		l.wrong("kafka.sasl.username", "not set, but kafka.sasl.mechanism is; set it with %s", l.howTo("kafka.sasl.username"))
	}
	if s.Password.IsZero() {
		l.wrong(saslPassword, "not set, but kafka.sasl.mechanism is; set it with %s, or name a file with %s",
			l.howTo(saslPassword), l.howTo("kafka.sasl.password_file"))
	}
	if s.Mechanism == "PLAIN" && !l.config.Kafka.TLS.Enabled {
		l.config.Warnings = append(l.config.Warnings, "kafka.sasl.mechanism PLAIN without kafka.tls.enabled sends the password in the clear")
	}
	if _, err := s.mechanism(s.Password.Reveal()); err != nil {
		l.wrong("kafka.sasl.username", "cannot be used with %s: the name or the password holds characters that SASLprep forbids", s.Mechanism)
	}
}

// doubtPassword warns of what is seldom meant, but may be: a password can hold
// anything.
func (l *loader) doubtPassword(name, password string) {
	what := ""
	if _, quoted := slips.Unquote(password); quoted {
		what = "is in quotes"
	} else if strings.TrimSpace(password) != password {
		what = "has white space at an end"
		if strings.HasSuffix(password, "\n") || strings.HasSuffix(password, "\r") {
			what = "ends with a line break, as echo writes without -n"
		}
	}
	if inner := strings.TrimSpace(password); strings.ContainsAny(inner, "\r\n") {
		what = "has a line break in it"
	}
	if what != "" {
		l.doubt("%s (%s) %s, and that counts as part of the password; leave it out if it is not meant", name, l.values[name].where, what)
	}
}

func (l *loader) checkTopics() {
	t := l.config.Topics
	seen := map[string]string{}
	for _, one := range []struct{ setting, topic string }{
		{"topics.requests", t.Requests}, {"topics.outcomes", t.Outcomes}, {"topics.dead_letters", t.DeadLetters},
	} {
		if first, twice := seen[one.topic]; twice && one.topic != "" {
			l.wrong(one.setting, "is %q, and so is %s; each topic needs its own name", one.topic, first)
		}
		seen[one.topic] = one.setting
	}
	for _, retry := range t.Retries() {
		if other, twice := seen[retry]; twice {
			l.wrong("topics.retries_prefix", "makes the retry topic %q, and %s is the same; each topic needs its own name", retry, other)
		}
	}
}

func (l *loader) checkGateway() {
	g := l.config.Gateway
	if g.AttemptTimeout > 0 && g.Budget > 0 && g.AttemptTimeout > g.Budget {
		l.wrong("gateway.budget", "%s is shorter than gateway.attempt_timeout (%s): not even one call fits in; make one of them fit",
			ShortDuration(g.Budget), ShortDuration(g.AttemptTimeout))
	}
	if !l.asked(Calls) {
		return
	}
	if g.CAFile != "" {
		l.config.Gateway.CAPEM, _ = l.roots("gateway.ca_file", g.CAFile)
	}
	for _, u := range g.URLs {
		if doubt := doubtURL(u); doubt != "" {
			l.doubt("gateway.urls: %s", doubt)
		}
	}
	// Give the calls in flight time for one more attempt, or every stop cuts one off.
	if grace := l.config.ShutdownGrace; l.asked(Work) && grace > 0 && grace < min(g.AttemptTimeout, time.Minute) {
		l.config.Warnings = append(l.config.Warnings, fmt.Sprintf(
			"shutdown_grace (%s) is shorter than gateway.attempt_timeout (%s): a stop may cut off a call in flight, which is then made again after the restart",
			ShortDuration(grace), ShortDuration(g.AttemptTimeout)))
	}
}

// doubtURL says what is odd about a base URL of the gateway.
func doubtURL(u string) string {
	switch {
	case strings.HasSuffix(u, "/pay"):
		return fmt.Sprintf("%s ends in /pay, so that calls go to %s/pay/closeorder; leave /pay out if that is not meant", u, u)
	case strings.HasSuffix(u, "/v3"), strings.Contains(u, "/v3/"):
		return fmt.Sprintf("%s has /v3 in its path, so that calls go to %s/pay/closeorder; closeorder speaks API v2, leave /v3 out if that is not meant", u, u)
	}
	return ""
}

// secretFile reads a file that holds one secret, see password.
func (l *loader) secretFile(setting, name string) (string, bool) {
	data, ok := l.content(setting, name)
	if !ok {
		return "", false
	}
	text := password(data)
	if text == "" {
		l.wrong(setting, "%s is empty", name)
		return "", false
	}
	return text, true
}
