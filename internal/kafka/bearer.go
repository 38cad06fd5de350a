package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// OAuthBearer is the mechanism of that name (RFC 7628; KIP-255), of which kafka-go
// has none.
type OAuthBearer struct {
	// Token returns the token of one connection. An error that somebody has to do
	// something about is a *[NoTokenError].
	Token func(ctx context.Context) (string, error)
	// Refused, if set, is told of a token that a broker does not take.
	Refused func(token string)
	// Extensions go with the token (KIP-342), such as logicalCluster.
	Extensions map[string]string
	// Remedy is what to do about a token that is refused: see [ExplainedError].
	Remedy string
}

// Name is that of the mechanism.
func (OAuthBearer) Name() string { return "OAUTHBEARER" }

// separator stands between the parts of a message (RFC 7628, 3.1).
const separator = "\x01"

// Start begins with the token.
func (m OAuthBearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := m.Token(ctx)
	if err != nil {
		return nil, nil, err
	}
	var first bytes.Buffer
	first.WriteString("n,," + separator + "auth=Bearer " + token + separator)
	for _, name := range slices.Sorted(maps.Keys(m.Extensions)) {
		first.WriteString(name + "=" + m.Extensions[name] + separator)
	}
	first.WriteString(separator)
	return &bearerSession{of: m, token: token}, first.Bytes(), nil
}

// bearerSession is one exchange.
type bearerSession struct {
	of      OAuthBearer
	token   string
	refusal *RefusedTokenError
}

// Next reads what the broker says to the token: nothing, and the connection is
// authenticated, or why not. That has to be answered with a separator, and then
// the broker ends it (RFC 7628, 3.2.3).
func (s *bearerSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if s.refusal != nil {
		return false, nil, s.refusal // whatever comes behind a refusal
	}
	if len(challenge) == 0 {
		return true, nil, nil
	}
	s.refuse(challenge)
	return false, []byte(separator), nil
}

// refuse takes note of a refusal, in the broker's words where it has any.
func (s *bearerSession) refuse(challenge []byte) {
	s.refusal = &RefusedTokenError{Remedy: s.of.Remedy, Another: s.of.Refused != nil}
	var words struct{ Status, Scope string }
	if json.Unmarshal(challenge, &words) == nil {
		hidden := func(text string) string {
			return strings.Join(strings.Fields(said(strings.ReplaceAll(text, s.token, "******"))), " ")
		}
		s.refusal.Status, s.refusal.Scope = hidden(words.Status), hidden(words.Scope)
	}
	if s.of.Refused != nil {
		s.of.Refused(s.token)
	}
}

// failed is the error of an exchange that a broker has ended.
func (s *bearerSession) failed(err error) error {
	if s.refusal == nil && errors.Is(err, kafkago.SASLAuthenticationFailed) {
		s.refuse(nil)
	}
	if s.refusal != nil {
		return s.refusal // err may hold the token
	}
	if text := err.Error(); strings.Contains(text, s.token) { // a code of another kind, with words
		return &hiddenError{strings.ReplaceAll(text, s.token, "******"), err}
	}
	return err
}

// hiddenError has the text of an error without what is secret in it.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

// RefusedTokenError says that a broker does not take a token. It is a
// SASL_AUTHENTICATION_FAILED, and lasts.
type RefusedTokenError struct {
	// Status is the broker's word, such as invalid_token or insufficient_scope
	// (RFC 6750, 3.1), Scope what it wants; empty where it says nothing.
	Status, Scope string
	// Remedy is what to do.
	Remedy string
	// Another: the next connection may have another token.
	Another bool
}

func (e *RefusedTokenError) Error() string {
	text := "the broker refuses the token"
	if e.Status != "" {
		text += fmt.Sprintf(" (%s)", e.Status)
	}
	if e.Scope != "" {
		text += fmt.Sprintf(", it wants the scope %q", e.Scope)
	}
	return text
}

func (e *RefusedTokenError) Unwrap() error { return kafkago.SASLAuthenticationFailed }

// AnotherToken reports whether err is about a token that is refused, and a later try
// may have another one: brokers refuse those signed with a key that they have not
// fetched yet. Who can wait has no need to give up, though it is [Lasting].
func AnotherToken(err error) bool {
	refused, is := errors.AsType[*RefusedTokenError](err)
	return is && refused.Another
}

// NoTokenError says that there is no token to authenticate with.
type NoTokenError struct {
	// Problem says what is wrong, Remedy which setting mends it. Neither holds a
	// secret.
	Problem, Remedy string
	// Lasts: it will be there on another try, if nobody does anything about it.
	Lasts bool
	Err   error
}

func (e *NoTokenError) Error() string { return e.Problem }
func (e *NoTokenError) Unwrap() error { return e.Err }
