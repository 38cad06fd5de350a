package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTroubleWithKafkaIsToldOncePerKind(t *testing.T) {
	for _, tt := range []struct {
		what   string
		errors []string
		every  time.Duration
		want   string
	}{
		{"ports make no kind of their own", []string{
			"kafka.(*Client).Fetch: read tcp 127.0.0.1:56774->127.0.0.1:9092: i/o timeout",
			"kafka.(*Client).Fetch: read tcp 127.0.0.1:56780->127.0.0.1:9092: i/o timeout",
		}, 0, "closeorder: Kafka at b:1, topic t: read tcp 127.0.0.1:56774->127.0.0.1:9092: i/o timeout; trying again\n"},
		{"two kinds in turn are told once each", []string{"a", "b", "a", "b"}, time.Second,
			"closeorder: Kafka at b:1, topic t: a; trying again\ncloseorder: Kafka at b:1, topic t: b; trying again\n"},
		{"what lasts is told again", []string{"a", "a", "a"}, 40 * time.Second,
			"closeorder: Kafka at b:1, topic t: a; trying again\ncloseorder: Kafka at b:1, topic t: a; trying again\n"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stderr := newStream()
				notify := (&app{stderr: stderr}).notifier("b:1")
				for _, text := range tt.errors {
					notify("t", -1, errors.New(text))
					time.Sleep(tt.every) // of the bubble
				}
				if got := stderr.String(); got != tt.want {
					t.Errorf("told\n%swant\n%s", got, tt.want)
				}
			})
		})
	}
}

// A listener for TLS that is talked to without hangs up or says nothing.
func TestAListenerOfAnotherKindIsThoughtOf(t *testing.T) {
	for _, unreached := range []error{errUnreached, fmt.Errorf("topic t: %w (last failure: %w)", errUnreached, errors.New("kafka.(*Client).Metadata: EOF"))} {
		a := &app{stderr: newStream()}
		if code := a.exit(a.root(), unreached); code != exitBad {
			t.Errorf("exit code %d", code)
		}
		text := fmt.Sprint(a.stderr)
		if !strings.Contains(text, "kafka.tls and kafka.sasl") || strings.Contains(text, "*Client") {
			t.Errorf("%s", text)
		}
	}
}
