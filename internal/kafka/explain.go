package kafka

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// ExplainedError is a failure that somebody has to do something about, with
// what that is. Its text is stable: a failure that lasts gives the same one
// each time.
type ExplainedError struct {
	// Operation is a request of Kafka's protocol, such as JoinGroup, or TLS for
	// a connection's handshake; empty where it is not known.
	Operation string
	// Resource is what it was about: "group g", "topic t", "topics t, u",
	// "broker host:port".
	Resource string
	// Problem says what is wrong, Remedy which setting or ACL mends it.
	Problem, Remedy string
	// Err is the failure itself.
	Err error
}

func (e *ExplainedError) Error() string {
	var where []string
	for _, part := range []string{e.Operation, e.Resource} {
		if part != "" {
			where = append(where, part)
		}
	}
	if text := e.Err.Error(); len(where) == 0 && strings.HasSuffix(text, e.Problem) {
		return text + "; " + e.Remedy // it says the problem itself
	} else if len(where) == 0 {
		where = []string{text}
	}
	return strings.Join(where, ", ") + ": " + e.Problem + "; " + e.Remedy
}

func (e *ExplainedError) Unwrap() error { return e.Err }

// Explain makes an *ExplainedError of a refused password or token, a token that
// does not come, a missing ACL or a certificate that does not hold; see [ExplainedError] for operation and
// resource. Every other error, nil, and one that says already what to do, as
// *ListenerError does, come back as they are.
func Explain(err error, operation, resource string) error {
	var before *ExplainedError
	if err == nil || errors.As(err, &before) {
		return err
	}
	e := &ExplainedError{Operation: operation, Resource: resource, Err: err}
	switch {
	case e.acl() || e.timeout():
	case e.connection():
		if !strings.HasPrefix(resource, "broker ") {
			e.Operation, e.Resource = "", "" // whatever it was for, it did not come so far
		}
	default:
		return err
	}
	return e
}

// acls are the operations that an ACL must allow for a request, where they are
// not Read.
var acls = map[string]string{
	"Metadata": "Describe", "ListOffsets": "Describe", "FindCoordinator": "Describe", "DescribeGroups": "Describe", "OffsetFetch": "Describe",
	"Produce": "Write", "AddPartitionsToTxn": "Write", "CreateTopics": "Create", "DescribeConfigs": "DescribeConfigs",
}

// acl explains that an ACL is missing.
func (e *ExplainedError) acl() bool {
	var code kafkago.Error
	if !errors.As(e.Err, &code) {
		return false
	}
	var kind string
	switch code {
	case kafkago.TopicAuthorizationFailed:
		kind = "topic"
	case kafkago.GroupAuthorizationFailed:
		kind = "group"
	case kafkago.ClusterAuthorizationFailed:
		kind = "cluster"
	case kafkago.TransactionalIDAuthorizationFailed:
		kind = "transactional id"
	default:
		return false
	}
	flag := "--" + strings.ReplaceAll(kind, " ", "-")
	e.Problem = fmt.Sprintf("[%d] %s", int(code), code.Title())
	name := "NAME"
	if of, is := strings.CutPrefix(e.Resource, kind+" "); is {
		name = of
	} else if of, is := strings.CutPrefix(e.Resource, kind+"s "); is {
		name = strings.ReplaceAll(of, ", ", " "+flag+" ")
	}
	allow, known := acls[e.Operation]
	if !known {
		allow = "Read"
		if kind == "cluster" {
			allow = "ClusterAction"
		}
	}
	switch {
	case kind == "transactional id":
		allow = "Write" // Describe, which finding the coordinator asks for, comes with it
	case kind == "cluster" && (e.Operation == "InitProducerId" || e.Operation == "Produce"):
		allow = "IdempotentWrite"
	}
	rule := "--operation " + allow + " " + flag
	if kind != "cluster" {
		rule += " " + name
	}
	if e.Operation == "" && kind == "topic" {
		rule += " (Write, where it is written)"
	}
	if e.Operation == "Metadata" {
		rule += " (Read and Write imply it)"
	}
	if kind == "transactional id" {
		rule += " (for all ids of a group at once: closeorder topics acls prints it)" // part of an id may be drawn at each start
	}
	e.Remedy = "add the ACL: kafka-acls.sh --add --allow-principal User:... " + rule // who this client is for it only the broker knows
	return true
}

// timeout explains that a transaction may not take as long.
func (e *ExplainedError) timeout() bool {
	if !errors.Is(e.Err, kafkago.InvalidTransactionTimeout) {
		return false
	}
	e.Problem = "the brokers let no transaction be open for as long as kafka.transaction_timeout says"
	e.Remedy = "set it to no more than transaction.max.timeout.ms of the brokers, or raise that"
	return true
}

// notIdempotent explains why a client writes without a producer id.
func notIdempotent(why error) error {
	e := &ExplainedError{Operation: "InitProducerId", Err: why}
	if e.acl() {
		e.Remedy += " (or --operation Write for any topic, from Kafka 2.8 on)"
	} else {
		e.Problem = "the brokers, or what is in front of them, give no producer ids (" + why.Error() + ")"
		e.Remedy = "upgrade them to Kafka 0.11 or later"
	}
	e.Remedy += "; then restart: until then a batch that is tried again can be written twice"
	return e
}

// connection explains why a connection cannot be made ready.
func (e *ExplainedError) connection() bool {
	if none, is := errors.AsType[*NoTokenError](e.Err); is {
		e.Problem, e.Remedy = none.Problem, none.Remedy
		return true
	}
	if refused, is := errors.AsType[*RefusedTokenError](e.Err); is {
		e.Problem, e.Remedy = refused.Error(), refused.Remedy
		return true
	}
	var code kafkago.Error
	if !errors.As(e.Err, &code) {
		return e.certificate()
	}
	switch code {
	case kafkago.SASLAuthenticationFailed:
		e.Problem = "the broker refuses the user or the password"
		e.Remedy = "see kafka.sasl.username, kafka.sasl.password or kafka.sasl.password_file, and whether the user has a credential for kafka.sasl.mechanism"
	case kafkago.UnsupportedSASLMechanism:
		e.Problem = "the listener does not take the mechanism of kafka.sasl.mechanism"
		e.Remedy = "set it to one of the listener's sasl.enabled.mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
	case kafkago.IllegalSASLState:
		e.Problem = "the listener expects no SASL"
		e.Remedy = "leave kafka.sasl.mechanism out, or give kafka.brokers the port of the listener that does"
	default:
		return false
	}
	return true
}

// certificate explains what is wrong with the certificate of either side.
func (e *ExplainedError) certificate() bool {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var refused *net.OpError
	switch {
	case errors.As(e.Err, &name):
		e.Problem = "the broker's certificate is not for this address: " + namesOf(name.Certificate)
		e.Remedy = "give it a certificate that names the address; or set kafka.tls.server_name to a name that it has, or kafka.tls.verify to chain beside kafka.tls.ca_file, which checks who issued it and not whom it names"
	case errors.As(e.Err, &unknown):
		e.Problem = "the broker's certificate comes from an authority that is not trusted"
		e.Remedy = "set kafka.tls.ca_file to the certificate of the authority that issued it"
		if cert := unknown.Cert; cert != nil {
			e.Problem += " (" + cert.Issuer.String() + ")"
		}
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		cert := invalid.Cert
		e.Problem = fmt.Sprintf("the certificate of %s holds from %s to %s", cert.Subject, cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339))
		e.Remedy = "renew it at the broker, or, if it is that of the authority, in kafka.tls.ca_file; see also whether the clock of this machine is right"
	case errors.As(e.Err, &invalid):
		e.Problem = "the broker's certificate does not hold: " + invalid.Error()
		e.Remedy = "see the broker's certificate and kafka.tls.ca_file"
	case errors.As(e.Err, &refused) && refused.Op == "remote error":
		// An alert of TLS. The client's certificate is the usual reason; with TLS
		// 1.3 it comes only after the handshake.
		e.Problem = "the broker ended TLS (" + refused.Err.Error() + ")"
		e.Remedy = "see whether it wants a client certificate, from an authority that it trusts and not expired: kafka.tls.cert_file and kafka.tls.key_file"
	default:
		return false
	}
	return true
}

// namesOf says whom a certificate names.
func namesOf(cert *x509.Certificate) string {
	if cert == nil {
		return "it names another"
	}
	names := cert.DNSNames
	for _, ip := range cert.IPAddresses {
		names = append(slices.Clip(names), ip.String())
	}
	if len(names) == 0 {
		return "it has no name at all (no subject alternative name)"
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most:most], "...")
	}
	return "it names " + strings.Join(names, ", ")
}
