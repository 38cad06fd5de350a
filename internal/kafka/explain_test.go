package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

func TestWhatSomebodyHasToMendIsExplained(t *testing.T) {
	day := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{
		Subject: pkix.Name{CommonName: "kafka-1"}, Issuer: pkix.Name{CommonName: "our CA"},
		DNSNames: []string{"kafka-1.example"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, NotBefore: day, NotAfter: day.AddDate(0, 0, 1),
	}
	handshake := func(err error) error {
		return fmt.Errorf("broker kafka-1:9093: TLS handshake: %w", &tls.CertificateVerificationError{Err: err})
	}
	for sentence, c := range map[string]struct {
		err                 error
		operation, resource string
		want                string // the whole of it, or a part that begins with ...
	}{
		"a group that may not be joined": {kafkago.GroupAuthorizationFailed, "JoinGroup", "group g",
			"JoinGroup, group g: [30] Group Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation Read --group g"},
		"a topic that may not be read": {fmt.Errorf("wrapped: %w", kafkago.TopicAuthorizationFailed), "Fetch", "topic t",
			"Fetch, topic t: [29] Topic Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation Read --topic t"},
		"nor written": {kafkago.TopicAuthorizationFailed, "Produce", "topic t", "... --operation Write --topic t"},
		"nor seen": {kafkago.TopicAuthorizationFailed, "Metadata", "topics t, u",
			"Metadata, topics t, u: [29] Topic Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation Describe --topic t --topic u (Read and Write imply it)"},
		"nor created":           {kafkago.TopicAuthorizationFailed, "CreateTopics", "topic t", "... --operation Create --topic t"},
		"nor looked at":         {kafkago.TopicAuthorizationFailed, "DescribeConfigs", "topic t", "... --operation DescribeConfigs --topic t"},
		"for what nobody knows": {kafkago.TopicAuthorizationFailed, "", "topic t", "... --operation Read --topic t (Write, where it is written)"},
		"positions that may not be seen": {kafkago.GroupAuthorizationFailed, "OffsetFetch", "group g",
			"OffsetFetch, group g: [30] Group Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation Describe --group g"},
		"a topic behind a group": {kafkago.TopicAuthorizationFailed, "OffsetCommit", "group g", "... --operation Read --topic NAME"},
		"the cluster":            {kafkago.ClusterAuthorizationFailed, "CreateTopics", "topic t", "... --operation Create --cluster"},
		"a transactional id": {kafkago.TransactionalIDAuthorizationFailed, "EndTxn", "transactional id g-1",
			"EndTxn, transactional id g-1: [53] Transactional ID Authorization Failed; add the ACL: kafka-acls.sh --add --allow-principal User:... --operation Write --transactional-id g-1 (for all ids of a group at once: closeorder topics acls prints it)"},
		"a topic in a transaction": {kafkago.TopicAuthorizationFailed, "AddPartitionsToTxn", "topic t", "... --operation Write --topic t"},
		"offsets in a transaction": {kafkago.TopicAuthorizationFailed, "TxnOffsetCommit", "topic t", "... --operation Read --topic t"},
		"a group in a transaction": {kafkago.GroupAuthorizationFailed, "AddOffsetsToTxn", "group g", "... --operation Read --group g"},
		"a producer id":            {kafkago.ClusterAuthorizationFailed, "InitProducerId", "", "... --operation IdempotentWrite --cluster"},
		"a transaction that is too long": {kafkago.InvalidTransactionTimeout, "InitProducerId", "transactional id g-1",
			"InitProducerId, transactional id g-1: the brokers let no transaction be open for as long as kafka.transaction_timeout says; set it to no more than transaction.max.timeout.ms of the brokers, or raise that"},
		"a user or password refused": {fmt.Errorf("broker b:1: SASL PLAIN: %w: Authentication failed", kafkago.SASLAuthenticationFailed), "Metadata", "topic t", "broker b:1: SASL PLAIN: [58] SASL Authentication Failed: SASL Authentication failed: Authentication failed: the broker refuses the user or the password; see kafka.sasl.username, kafka.sasl.password or kafka.sasl.password_file, and whether the user has a credential for kafka.sasl.mechanism"},
		"a mechanism that is not offered": {kafkago.UnsupportedSASLMechanism, "SASL", "broker b:1",
			"SASL, broker b:1: the listener does not take the mechanism of kafka.sasl.mechanism; set it to one of the listener's sasl.enabled.mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"},
		"SASL where there is none": {kafkago.IllegalSASLState, "", "topic t", "...the listener expects no SASL; leave kafka.sasl.mechanism out, or "},
		"a certificate of another name": {handshake(x509.HostnameError{Certificate: cert, Host: "kafka-1"}), "", "topic t",
			"...it names kafka-1.example, 10.0.0.1; give it a certificate that names the address; or set kafka.tls.server_name to a name that it has, or kafka.tls.verify to chain beside kafka.tls.ca_file"},
		"a certificate of no name": {handshake(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "kafka-1"}), "", "topic t",
			"...it has no name at all (no subject alternative name); "},
		"an unknown authority": {handshake(x509.UnknownAuthorityError{Cert: cert}), "TLS", "broker kafka-1:9093",
			"TLS, broker kafka-1:9093: the broker's certificate comes from an authority that is not trusted (CN=our CA); set kafka.tls.ca_file to the certificate of the authority that issued it"},
		"a certificate that has run out": {handshake(x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired}), "TLS", "broker kafka-1:9093",
			"...the certificate of CN=kafka-1 holds from 2026-01-31T08:00:00Z to 2026-02-01T08:00:00Z; renew it at the broker"},
		"a certificate for something else": {handshake(x509.CertificateInvalidError{Cert: cert, Reason: x509.IncompatibleUsage}), "TLS", "broker kafka-1:9093",
			"...does not hold: x509: certificate specifies an incompatible key usage; see the broker's certificate and kafka.tls.ca_file"},
		"an alert of the broker": {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, "", "topic t",
			"...the broker ended TLS (tls: certificate required); see whether it wants a client certificate, from an authority that it trusts and not expired: kafka.tls.cert_file and kafka.tls.key_file"},
	} {
		err := Explain(c.err, c.operation, c.resource)
		part, isPart := strings.CutPrefix(c.want, "...")
		if text := err.Error(); text != c.want && !(isPart && strings.Contains(text, part)) {
			t.Errorf("%s:\ngot  %s\nwant %s", sentence, text, c.want)
		}
		if !errors.Is(err, c.err) || !Lasting(err) || Explain(err, "Other", "group other") != err {
			t.Errorf("%s: the error is not kept, does not last or is explained again: %v", sentence, err)
		}
		if wrapped := fmt.Errorf("x: %w", err); Explain(wrapped, "Other", "group other") != wrapped {
			t.Errorf("%s: is explained again where it is wrapped", sentence)
		}
	}
}

func TestWhatNobodyHasToMendIsLeftAsItIs(t *testing.T) {
	if Explain(nil, "Fetch", "topic t") != nil {
		t.Error("no error is an error")
	}
	for _, err := range []error{
		io.EOF, kafkago.NotLeaderForPartition, kafkago.NotCoordinatorForGroup, &net.OpError{Op: "dial", Err: errors.New("refused")},
		&ListenerError{Address: "b:1", TLS: true, Err: io.EOF}, &MissingTopicsError{Topics: []string{"t"}},
	} {
		if got := Explain(err, "Fetch", "topic t"); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestAHandshakeThatFailsTellsWhatTheListenerIs(t *testing.T) {
	for sentence, c := range map[string]struct {
		answer string // of a listener that does not speak TLS; it hangs up behind it
		want   string
	}{
		"it answers in plain": {"HTTP/1.1 400 Bad Request\r\n\r\n", "answers TLS in plain: set kafka.tls.enabled to false"},
		"it hangs up":         {"", "does not make the TLS handshake: perhaps its listener is plain (kafka.tls.enabled)"},
	} {
		client, server := net.Pipe()
		go func() {
			_, _ = server.Read(make([]byte, 4096))
			_, _ = io.WriteString(server, c.answer)
			server.Close()
		}()
		err := tlsFailed("b:1", tls.Client(client, &tls.Config{ServerName: "b", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context()))
		var listener *ListenerError
		if !errors.As(err, &listener) || !strings.HasPrefix(err.Error(), "broker b:1 ") || !strings.Contains(err.Error(), c.want) || Lasting(err) {
			t.Errorf("%s: %v", sentence, err)
		}
		client.Close()
	}
}

func TestTroubleIsToldOnceAndThenEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told Told
		count := func(n int, about, format string) (due int) {
			for i := range n {
				if told.Due(about, fmt.Errorf(format, 50000+i)) {
					due++
				}
			}
			return due
		}
		const failure = "read tcp 127.0.0.1:%d->127.0.0.1:9092: i/o timeout"
		if due := count(11, "a", failure); due != 1 {
			t.Errorf("told %d times of 11", due)
		}
		if due := count(11, "b", failure); due != 1 {
			t.Errorf("of another thing: told %d times of 11", due)
		}
		time.Sleep(tellEvery - time.Second)
		if due := count(1, "a", failure); due != 0 {
			t.Error("told again before the minute is over")
		}
		time.Sleep(time.Second)
		if due := count(11, "a", failure); due != 1 {
			t.Errorf("a minute later: told %d times of 11", due)
		}
	})
}
