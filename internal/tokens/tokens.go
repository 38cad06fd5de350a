// Package tokens gets tokens from a token endpoint by the grant of client
// credentials (RFC 6749, 4.4): one for all who ask, kept until near its end, and
// renewed once for all of them. It knows no Kafka and no setting, and logs nothing.
//
//	Token -> kept and fresh | one request for all -> kept | the last one, while it holds
package tokens

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

const (
	// fetchTimeout bounds one request for a token, the second way of showing the
	// secret included.
	fetchTimeout = 10 * time.Second
	// renewPatience is how long a new token is waited for while the last one holds.
	renewPatience = time.Second
	// pauseAfter is how soon an endpoint is asked again that gave no token; it
	// doubles up to pauseAtMost. An endpoint may lock a client out that asks often.
	pauseAfter  = time.Second
	pauseAtMost = 5 * time.Second
	// unknownLife is for how long a token is kept that does not say when it ends,
	// and least the age from which on a token that is refused is asked for anew.
	unknownLife = time.Minute
	least       = 10 * time.Second
)

// Endpoint is where tokens come from, and as whom.
type Endpoint struct {
	// URL of the token endpoint.
	URL      string
	ClientID string
	// Secret returns the client's secret as it is now. Calls do not overlap.
	Secret func() string
	// Scope is sent as it is, where it is not empty: scopes with blanks between
	// them.
	Scope string
	// Roots are the authorities to trust, nil for the system's.
	Roots *x509.CertPool
}

// Source gives out the tokens of one endpoint. Make it with [New]. It is safe for
// concurrent use.
type Source struct {
	at     Endpoint
	client *http.Client
	style  oauth2.AuthStyle // how the secret is shown; used by one request at a time
	flight singleflight.Group

	mu     sync.Mutex
	last   token
	failed error         // of the last request, nil if it was none
	again  time.Time     // until then the endpoint is not asked
	pause  time.Duration // before again
}

// token is one that came. Its text sits in a function, as printers follow fields.
type token struct {
	text         func() string
	since        time.Time
	renew, until time.Time
	refused      bool
}

// New makes a source; nothing is asked yet.
func New(at Endpoint) *Source {
	transport := http.DefaultTransport.(*http.Transport).Clone() // HTTPS_PROXY and friends
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: at.Roots}
	transport.DisableKeepAlives = true // a request every few minutes
	return &Source{at: at, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret goes nowhere else
	}}
}

// Token returns a token that holds. stale says why the endpoint gave no newer one
// where this one is near its end. The errors are of type *[Error], but for that of
// a ctx that was cancelled; their texts are the same for the same cause. A request
// goes on when ctx ends: the next who asks has the token then.
func (s *Source) Token(ctx context.Context) (text string, stale, err error) {
	now := time.Now()
	s.mu.Lock()
	have, failed, again := s.last, s.failed, s.again
	s.mu.Unlock()
	holds := have.text != nil && now.Before(have.until)
	switch {
	case holds && have.fresh(now):
		return have.text(), nil, nil
	case failed != nil && now.Before(again) && holds:
		return have.text(), failed, nil
	case failed != nil && now.Before(again):
		return "", nil, failed
	}
	came := s.flight.DoChan("", func() (any, error) { return s.fetch(context.WithoutCancel(ctx)) })
	var enough <-chan time.Time
	if holds {
		timer := time.NewTimer(renewPatience)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case r := <-came:
		if r.Err == nil {
			return r.Val.(token).text(), nil, nil
		}
		if holds {
			return have.text(), r.Err, nil
		}
		return "", nil, r.Err
	case <-enough:
		return have.text(), nil, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", nil, s.silent()
		}
		return "", nil, ctx.Err()
	}
}

// Refused is told that a token was not taken: another one is asked for, unless it
// has just come.
func (s *Source) Refused(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.text != nil && s.last.text() == text {
		s.last.refused = true
	}
}

// Until is when the token ends that is given out now; zero where there is none.
func (s *Source) Until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.until
}

// fresh: it is given out without a look at the endpoint.
func (t token) fresh(now time.Time) bool {
	return now.Before(t.renew) && (!t.refused || now.Before(t.since.Add(least)))
}

// fetch asks for a token and keeps what comes of it.
func (s *Source) fetch(ctx context.Context) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	came, err := s.ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed, s.pause = err, min(max(pauseAfter, 2*s.pause), pauseAtMost)
		s.again = time.Now().Add(s.pause)
		return token{}, err
	}
	s.last, s.failed, s.pause = came, nil, 0
	return came, nil
}

func (s *Source) ask(ctx context.Context) (token, error) {
	secret := s.at.Secret()
	since := time.Now() // before it was made: it ends rather too early
	var came *oauth2.Token
	var err error
	if s.style != oauth2.AuthStyleAutoDetect {
		came, err = s.grant(ctx, secret, s.style)
	} else {
		// Each endpoint takes the secret in the header, some in the form alone (RFC
		// 6749, 2.3.1).
		came, err = s.grant(ctx, secret, oauth2.AuthStyleInHeader)
		style := oauth2.AuthStyleInHeader
		if refused, is := errors.AsType[*oauth2.RetrieveError](err); is && refused.Response != nil && (refused.Response.StatusCode == http.StatusUnauthorized || refused.Response.StatusCode == http.StatusBadRequest) {
			style = oauth2.AuthStyleInParams
			if other, failed := s.grant(ctx, secret, style); failed == nil {
				came, err = other, nil
			}
		}
		if err == nil {
			s.style = style
		}
	}
	if err != nil {
		return token{}, s.explain(err, secret)
	}
	text := came.AccessToken
	if !Valid(text) {
		return token{}, &Error{Problem: s.shown() + " answers with what is no bearer token (RFC 6750, 2.1)", What: Elsewhere, Lasts: true}
	}
	t := token{text: func() string { return text }, since: since, until: came.Expiry}
	if t.until.IsZero() {
		if t.until = End(text); t.until.IsZero() {
			t.until = since.Add(unknownLife)
		}
	}
	if !t.until.After(time.Now()) {
		return token{}, &Error{Problem: fmt.Sprintf("%s answers with a token that has run out", s.shown()), What: Clock}
	}
	t.renew = since.Add(t.until.Sub(since) * 8 / 10) // as Java's clients do (sasl.login.refresh.window.factor)
	return t, nil
}

// grant makes one request.
func (s *Source) grant(ctx context.Context, secret string, style oauth2.AuthStyle) (*oauth2.Token, error) {
	c := clientcredentials.Config{ClientID: s.at.ClientID, ClientSecret: secret, TokenURL: s.at.URL, AuthStyle: style}
	if s.at.Scope != "" {
		c.Scopes = []string{s.at.Scope}
	}
	return c.Token(context.WithValue(ctx, oauth2.HTTPClient, s.client))
}

// What is to be looked at where no token came.
type What int

const (
	// Elsewhere: the URL leads to no token endpoint that can be used.
	Elsewhere What = iota
	// Away: the endpoint does not answer, or is ill.
	Away
	// Certificate: its certificate is not trusted.
	Certificate
	// Client: it does not take the client id or the secret.
	Client
	// Scope: it does not know the scope, or does not give it to this client.
	Scope
	// Clock: of this machine, or of the endpoint's.
	Clock
)

// Error says why there is no token. Its text holds no secret.
type Error struct {
	Problem string
	What    What
	// Lasts: it will be there on another try, if nobody does anything about it.
	Lasts bool
	err   error
}

func (e *Error) Error() string { return e.Problem }
func (e *Error) Unwrap() error { return e.err }

func (s *Source) silent() error {
	return &Error{Problem: s.shown() + " does not answer", What: Away, err: os.ErrDeadlineExceeded}
}

// explain makes an *Error of what the request failed with.
func (s *Source) explain(err error, secret string) error {
	if refused, is := errors.AsType[*oauth2.RetrieveError](err); is {
		return s.refused(refused, secret)
	}
	var certificate *tls.CertificateVerificationError
	var network net.Error
	var inner *url.Error
	switch {
	case errors.As(err, &certificate):
		return &Error{Problem: fmt.Sprintf("the certificate of %s does not hold: %v", s.shown(), certificate.Err), What: Certificate, Lasts: true, err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return s.silent()
	case errors.As(err, &inner): // names the URL once more
		return &Error{Problem: fmt.Sprintf("%s cannot be asked: %s", s.shown(), s.clean(inner.Err.Error(), secret)), What: Away, err: err}
	}
	return &Error{Problem: s.shown() + " gives an answer without a token", What: Elsewhere, Lasts: true} // err may hold parts of it
}

// refused reads the endpoint's own words (RFC 6749, 5.2).
func (s *Source) refused(r *oauth2.RetrieveError, secret string) error {
	e := &Error{What: Elsewhere, Lasts: true, err: r}
	status := 0
	if r.Response != nil {
		status = r.Response.StatusCode
	}
	said := fmt.Sprintf("%s answers %d", s.shown(), status)
	if r.ErrorCode != "" {
		said += " " + s.clean(r.ErrorCode, secret)
	}
	if r.ErrorDescription != "" {
		said += fmt.Sprintf(" (in its own words: %q)", s.clean(r.ErrorDescription, secret))
	}
	e.Problem = said
	switch {
	case r.ErrorCode == "invalid_client", r.ErrorCode == "unauthorized_client", status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.What = Client
	case r.ErrorCode == "invalid_scope":
		e.What = Scope
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.What, e.Lasts = Away, false
	}
	return e
}

// maxSaid bounds what is kept of the endpoint's words, in bytes.
const maxSaid = 200

// shown is the URL as texts have it: what stands behind its path may be a key.
func (s *Source) shown() string {
	before, _, _ := strings.Cut(s.at.URL, "?")
	return before
}

// clean is what an endpoint says, on one line, and without the secret, if it
// repeats that, or what it was shown in (RFC 6749, 2.3.1).
func (s *Source) clean(text, secret string) string {
	header := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(s.at.ClientID) + ":" + url.QueryEscape(secret)))
	_, query, _ := strings.Cut(s.at.URL, "?")
	for _, form := range []string{header, secret, url.QueryEscape(secret), query} {
		if form != "" {
			text = strings.ReplaceAll(text, form, "******")
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "..."
	}
	return cmp.Or(text, "nothing")
}
