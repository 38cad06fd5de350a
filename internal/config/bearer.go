package config

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/slips"
	"github.com/closeorder/closeorder/internal/tokens"
)

// oauthBearer is the mechanism that authenticates with a token.
const oauthBearer = "OAUTHBEARER"

// tokenURL is a URL without a user, a password and a fragment: what is secret has
// a setting of its own.
func tokenURL(s string) (string, error) {
	if s = strings.TrimSpace(s); s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" || strings.Contains(s, "@") {
		return "", fmt.Errorf("%q is not the URL of a token endpoint, without user and password; write for example https://login.example.com/oauth2/token", slips.Redacted(s))
	}
	return s, nil
}

var (
	extensionName  = regexp.MustCompile(`^[A-Za-z]+$`)    // RFC 7628, 3.1
	extensionValue = regexp.MustCompile(`^[\x21-\x7e]+$`) // blanks would be legal, and are never meant
)

// extensions are of the first message (KIP-342).
func extensions(s string) (map[string]string, error) {
	all := map[string]string{}
	for _, item := range list(s) {
		name, value, both := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !both || !extensionName.MatchString(name) || !extensionValue.MatchString(value):
			return nil, fmt.Errorf("%q is not name=value, the name of letters alone; write for example logicalCluster=lkc-1,identityPoolId=pool-1", item)
		case name == "auth":
			return nil, errors.New("auth is the token itself: see kafka.sasl.token")
		case all[name] != "":
			return nil, fmt.Errorf("%s is there twice", name)
		}
		all[name] = value
	}
	return all, nil
}

// bearerSettings are those of OAUTHBEARER alone, those of the token endpoint last.
var bearerSettings = []string{saslExtensions, saslToken, saslTokenFile, saslTokenURL, saslTokenCA, saslClientID, saslClientSecret, saslClientSecretFile, saslScope}

// ofEndpoint are what only a token endpoint needs.
var ofEndpoint = bearerSettings[4:]

// checkBearer looks at the settings of OAUTHBEARER: exactly one way to a token.
func (l *loader) checkBearer() {
	s := &l.config.Kafka.SASL
	for _, name := range []string{saslUsername, saslPassword, saslPasswordFile} {
		if l.given(name) {
			l.wrong(name, "is set, and OAUTHBEARER has none: who this client is stands in the token; leave it out")
		}
	}
	if !l.config.Kafka.TLS.Enabled {
		l.config.Warnings = append(l.config.Warnings, "kafka.sasl.mechanism OAUTHBEARER without kafka.tls.enabled sends the token in the clear")
	}
	var ways []string
	for _, name := range []string{saslToken, saslTokenFile, saslTokenURL} {
		if l.given(name) {
			ways = append(ways, name)
		}
	}
	switch {
	case len(ways) == 0:
		l.wrong(saslToken, "not set, but kafka.sasl.mechanism is OAUTHBEARER; set it with %s, or name a file with %s, or a token endpoint with %s",
			l.howTo(saslToken), l.howTo(saslTokenFile), l.howTo(saslTokenURL))
		return
	case len(ways) > 1:
		l.wrong(ways[1], "%s is set as well (%s); leave one of them out", ways[0], l.values[ways[0]].where)
		return
	}
	if ways[0] == saslTokenURL {
		l.checkEndpoint()
		return
	}
	for _, name := range ofEndpoint {
		if l.given(name) {
			l.wrong(name, "is set, but kafka.sasl.token_url is not: it is for a token endpoint; leave one of them out")
		}
	}
	if file := l.text(saslTokenFile); file != "" {
		text, ok := l.secretFile(saslTokenFile, file)
		if !ok {
			return
		}
		text = strings.TrimSpace(text)
		s.Token, s.tokenFile = NewSecret(text), &secretFile{setting: saslTokenFile, name: file, read: l.read, last: NewSecret(text)}
	}
	if !tokens.Valid(s.token()) {
		l.wrong(ways[0], "%s", notBearer)
	} else if end := tokens.End(s.token()); !end.IsZero() && end.Before(time.Now()) {
		l.doubt("%s: the token has run out at %s", ways[0], end.UTC().Format(time.RFC3339))
	}
}

// notBearer is said of what no broker takes for a token.
const notBearer = "holds characters that no bearer token has (RFC 6750, 2.1); it is the token alone, without Bearer, quotes and white space"

// checkEndpoint looks at the settings of a token endpoint.
func (l *loader) checkEndpoint() {
	s := &l.config.Kafka.SASL
	if s.ClientID == "" {
		l.wrong(saslClientID, "not set, but kafka.sasl.token_url is; set it with %s", l.howTo(saslClientID))
	}
	if file := l.text(saslClientSecretFile); file != "" {
		if l.given(saslClientSecret) {
			l.wrong(saslClientSecretFile, "kafka.sasl.client_secret is set as well (%s); leave one of them out", l.values[saslClientSecret].where)
		} else if text, ok := l.secretFile(saslClientSecretFile, file); ok {
			s.ClientSecret = NewSecret(text)
			s.secretFile = &secretFile{setting: saslClientSecretFile, name: file, read: l.read, last: s.ClientSecret}
		} else {
			return
		}
	}
	if s.ClientSecret.IsZero() {
		l.wrong(saslClientSecret, "not set, but kafka.sasl.token_url is; set it with %s, or name a file with %s", l.howTo(saslClientSecret), l.howTo(saslClientSecretFile))
	}
	u, err := url.Parse(s.TokenURL)
	if err != nil || s.TokenURL == "" {
		return // said already
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		l.config.Warnings = append(l.config.Warnings, "kafka.sasl.token_url without TLS sends the client secret in the clear")
	}
	var roots *x509.CertPool
	if file := l.text(saslTokenCA); file != "" {
		_, roots = l.roots(saslTokenCA, file)
	}
	s.endpoint = &endpoint{file: s.secretFile}
	s.endpoint.source = tokens.New(tokens.Endpoint{URL: s.TokenURL, ClientID: s.ClientID, Scope: s.Scope, Roots: roots, Secret: s.endpoint.secret(s.ClientSecret)})
}

// endpoint is where tokens come from. It is safe for concurrent use.
type endpoint struct {
	source *tokens.Source
	file   *secretFile // of the client secret, if it is in one
}

func (e *endpoint) secret(fixed Secret) func() string {
	return func() string {
		if e.file == nil {
			return fixed.Reveal()
		}
		text, _ := e.file.now(nil) // where it is broken the last good one goes on, and the endpoint says whether that is enough
		return text.Reveal()
	}
}

// UsesTokens reports whether connections authenticate with a token.
func (s SASL) UsesTokens() bool { return s.Mechanism == oauthBearer }

// RenewsTokens reports whether a new token is taken up while a worker runs.
func (s SASL) RenewsTokens() bool { return s.endpoint != nil || s.tokenFile != nil }

// TokenSetting is the setting that the token comes by.
func (s SASL) TokenSetting() string {
	switch {
	case s.endpoint != nil:
		return saslTokenURL
	case s.tokenFile != nil:
		return saslTokenFile
	}
	return saslToken
}

// CheckToken gets a token as a connection would, and returns when it ends: zero
// where it does not say so. The error is a *kafka.NoTokenError.
func (s SASL) CheckToken(ctx context.Context) (time.Time, error) {
	if s.endpoint == nil {
		return tokens.End(s.token()), nil
	}
	if _, _, err := s.endpoint.source.Token(ctx); err != nil {
		return time.Time{}, noToken(err)
	}
	return s.endpoint.source.Until(), nil
}

// token is the static one.
func (s SASL) token() string {
	if s.tokenFile != nil {
		text, _ := s.tokenFile.now(nil)
		return text.Reveal()
	}
	return strings.TrimSpace(s.Token.Reveal())
}

// bearer is the mechanism of one connection.
func (s SASL) bearer(stale func(error)) kafka.Mechanism {
	m := kafka.OAuthBearer{Extensions: s.Extensions}
	switch {
	case s.endpoint != nil:
		source := s.endpoint.source
		m.Token, m.Refused = func(ctx context.Context) (string, error) {
			text, old, err := source.Token(ctx)
			if err != nil {
				return "", noToken(err)
			}
			stale(staleToken(old))
			return text, nil
		}, source.Refused
		m.Remedy = "see whether the brokers know the issuer, the keys and the audience of kafka.sasl.token_url (sasl.oauthbearer.* of the listener), and whether kafka.sasl.client_id and kafka.sasl.scope are those meant"
	case s.tokenFile != nil:
		text, problem := s.tokenFile.now(func(text string) string {
			if !tokens.Valid(strings.TrimSpace(text)) {
				return notBearer
			}
			return ""
		})
		stale(problem)
		m.Token = fixed(text)
		m.Remedy = "write a token into kafka.sasl.token_file that holds and that the brokers take: each new connection reads it"
	default:
		m.Token = fixed(s.Token)
		m.Remedy = "see kafka.sasl.token: whether it has run out, and whether the brokers know its issuer and audience; one that runs out is better in kafka.sasl.token_file or from kafka.sasl.token_url"
	}
	return m
}

func fixed(text Secret) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return strings.TrimSpace(text.Reveal()), nil }
}

// staleToken says that a token could not be renewed while the last one holds.
func staleToken(err error) error {
	if err == nil {
		return nil
	}
	return &RenewalError{err}
}

// RenewalError says why a token could not be renewed, while the one from before
// goes on.
type RenewalError struct{ Err error }

func (e *RenewalError) Error() string {
	return fmt.Sprintf("kafka.sasl.token_url: no new token: %v; %s", e.Err, remedyOf(e.Err))
}

func (e *RenewalError) Unwrap() error { return e.Err }

func noToken(err error) error {
	e := &kafka.NoTokenError{Problem: "no token comes from kafka.sasl.token_url: " + err.Error(), Remedy: remedyOf(err), Err: err}
	if why, is := errors.AsType[*tokens.Error](err); is {
		e.Lasts = why.Lasts
	}
	return e
}

// remedyOf says which setting mends it that there is no token.
func remedyOf(err error) string {
	what := tokens.Away
	if why, is := errors.AsType[*tokens.Error](err); is {
		what = why.What
	}
	switch what {
	case tokens.Elsewhere:
		return "see whether kafka.sasl.token_url is that of the token endpoint, which takes the grant client_credentials"
	case tokens.Certificate:
		return "set kafka.sasl.token_ca_file to the certificate of the authority that issued it, or kafka.sasl.token_url to a name that it has"
	case tokens.Client:
		return "see kafka.sasl.client_id, kafka.sasl.client_secret or kafka.sasl.client_secret_file, and whether that client may ask for tokens"
	case tokens.Scope:
		return "see kafka.sasl.scope"
	case tokens.Clock:
		return "see whether the clock of this machine is right"
	}
	return "see whether it can be reached from here: kafka.sasl.token_url, name, network, HTTPS_PROXY"
}
