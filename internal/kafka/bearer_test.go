package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

func bearerOf(token string, told *string) OAuthBearer {
	return OAuthBearer{
		Token:      func(context.Context) (string, error) { return token, nil },
		Refused:    func(token string) { *told += token },
		Extensions: map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-1"},
		Remedy:     "see the token",
	}
}

// TestTheMessagesOfATokenAreThoseOfTheRFC, byte for byte (RFC 7628, 3.1 and 4.1),
// and its answers (3.2).
func TestTheMessagesOfATokenAreThoseOfTheRFC(t *testing.T) {
	var told string
	m := bearerOf("t.o-k_e~n==", &told)
	_, first, err := m.Start(t.Context())
	if want := "n,,\x01auth=Bearer t.o-k_e~n==\x01identityPoolId=pool-1\x01logicalCluster=lkc-1\x01\x01"; err != nil || string(first) != want {
		t.Errorf("%q, %v", first, err)
	}
	if _, first, _ := (OAuthBearer{Token: m.Token}).Start(t.Context()); string(first) != "n,,\x01auth=Bearer t.o-k_e~n==\x01\x01" {
		t.Errorf("without extensions: %q", first)
	}
	none := errors.New("none")
	if _, _, err := (OAuthBearer{Token: func(context.Context) (string, error) { return "", none }}).Start(t.Context()); err != none {
		t.Error(err)
	}
	for _, c := range []struct {
		sentence, answer string
		want             string // "" for a connection that is authenticated
	}{
		{"it is taken", "", ""},
		{"it is refused", `{"status":"invalid_token"}`, "the broker refuses the token (invalid_token)"},
		{"it lacks a scope", `{"status":"insufficient_scope","scope":"kafka","openid-configuration":"https://x"}`, `the broker refuses the token (insufficient_scope), it wants the scope "kafka"`},
		{"the answer repeats the token, over lines", `{"status":"no\nt.o-k_e~n=="}`, "the broker refuses the token (no ******)"},
		{"the answer is no JSON", "what t.o-k_e~n==", "the broker refuses the token"},
	} {
		told = ""
		session, _, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done, next, err := session.Next(t.Context(), []byte(c.answer))
		if c.want == "" {
			if !done || len(next) != 0 || err != nil || told != "" {
				t.Errorf("%s: %v, %q, %v", c.sentence, done, next, err)
			}
			continue
		}
		if done || string(next) != "\x01" || err != nil || told != "t.o-k_e~n==" {
			t.Errorf("%s: %v, %q, %v", c.sentence, done, next, err)
		}
		// The broker ends it by an error, or should; nothing that it says makes it good.
		ended := session.(*bearerSession).failed(fmt.Errorf("%w: it was t.o-k_e~n==", kafkago.SASLAuthenticationFailed))
		done, _, err = session.Next(t.Context(), nil)
		for _, err := range []error{ended, err} {
			refused, is := errors.AsType[*RefusedTokenError](err)
			if done || !is || err.Error() != c.want || refused.Remedy != "see the token" || !AnotherToken(err) || !Lasting(err) || !errors.Is(err, kafkago.SASLAuthenticationFailed) {
				t.Errorf("%s: %v, %v", c.sentence, done, err)
			}
		}
		wrapped := Explain(fmt.Errorf("broker b:1: SASL OAUTHBEARER: %w", ended), "Metadata", "topic t")
		if text := wrapped.Error(); text != "broker b:1: SASL OAUTHBEARER: "+c.want+"; see the token" {
			t.Errorf("%s: explained as %s", c.sentence, text)
		}
	}
	session, _, _ := m.Start(t.Context())
	silent := fmt.Errorf("%w: token t.o-k_e~n== is unknown", kafkago.SASLAuthenticationFailed)
	if err := session.(*bearerSession).failed(silent); err.Error() != "the broker refuses the token" {
		t.Errorf("without a word before: %v", err)
	}
	session, _, _ = m.Start(t.Context())
	words := session.(*bearerSession).failed(fmt.Errorf("%w: cannot read t.o-k_e~n==", kafkago.Unknown))
	if !strings.HasSuffix(words.Error(), ": cannot read ******") || !errors.Is(words, kafkago.Unknown) {
		t.Errorf("another code, with the token in its words: %v", words)
	}
	session, _, _ = OAuthBearer{Token: m.Token}.Start(t.Context())
	if err := session.(*bearerSession).failed(silent); !Lasting(err) || AnotherToken(err) {
		t.Errorf("a token that is never another: %v", err)
	}
	other := errors.New("reset")
	session, _, _ = m.Start(t.Context())
	if err := session.(*bearerSession).failed(other); err != other {
		t.Errorf("a connection that breaks: %v", err)
	}
}

func TestATokenThatDoesNotComeIsExplained(t *testing.T) {
	for _, lasts := range []bool{true, false} {
		none := &NoTokenError{Problem: "no token comes from X", Remedy: "see Y", Lasts: lasts, Err: errors.New("why")}
		err := fmt.Errorf("broker b:1: SASL OAUTHBEARER: %w", none)
		if Lasting(err) != lasts || !errors.Is(err, none.Err) {
			t.Errorf("lasts: %v", !lasts)
		}
		if text := Explain(err, "JoinGroup", "group g").Error(); text != "broker b:1: SASL OAUTHBEARER: no token comes from X; see Y" {
			t.Error(text)
		}
		if text := Explain(err, "TLS", "broker b:1").Error(); !strings.HasPrefix(text, "TLS, broker b:1: no token comes from X; see Y") {
			t.Error(text)
		}
	}
}
