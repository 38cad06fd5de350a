package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ListenerError says that what listens at an address speaks otherwise than
// this client: TLS instead of plain, plain instead of TLS, or not Kafka's
// protocol. Listeners are changed while clients run, so it does not last.
type ListenerError struct {
	// Address of the listener, host:port.
	Address string
	// TLS is what this client spoke.
	TLS bool
	// Certain is false where the connection was closed without a word, or nothing
	// came, as also from a broker that stops or that takes no more connections.
	Certain bool
	// Err is what was seen.
	Err error
}

func (e *ListenerError) Error() string {
	switch {
	case e.TLS && e.Certain:
		return fmt.Sprintf("broker %s answers TLS in plain: set kafka.tls.enabled to false, or name the port of its TLS listener (%v)", e.Address, e.Err)
	case e.TLS:
		return fmt.Sprintf("broker %s does not make the TLS handshake: perhaps its listener is plain (kafka.tls.enabled), wants a client certificate (kafka.tls.cert_file), or the broker takes no more connections (%v)", e.Address, e.Err)
	case e.Certain:
		return fmt.Sprintf("broker %s does not answer in plain Kafka: %v", e.Address, e.Err)
	}
	return fmt.Sprintf("broker %s has closed the connection without an answer: perhaps its listener speaks TLS (kafka.tls.enabled), or it takes no more connections (max.connections.per.ip, connection_creation_rate) (%v)", e.Address, e.Err)
}

func (e *ListenerError) Unwrap() error { return e.Err }

// hungUp reports whether the other side has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// tlsFailed is the error of a TLS handshake that failed.
func tlsFailed(address string, err error) error {
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &plain):
		return &ListenerError{Address: address, TLS: true, Certain: true, Err: err}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return &ListenerError{Address: address, TLS: true, Err: os.ErrDeadlineExceeded} // the same text each time
	case hungUp(err):
		return &ListenerError{Address: address, TLS: true, Err: err}
	}
	return fmt.Errorf("broker %s: TLS handshake: %w", address, err)
}

// firstFailed is the error of a first request that got no answer.
func firstFailed(address string, tls bool, err error) error {
	var listener *ListenerError
	switch {
	case errors.As(err, &listener):
		return err
	case hungUp(err):
		return &ListenerError{Address: address, TLS: tls, Err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("broker %s takes the connection and does not answer: perhaps it hangs, or max.connections is reached (%w)", address, err)
	}
	return fmt.Errorf("broker %s: %w", address, err)
}

// foreign looks at the first bytes of what should be an answer, which begins
// with its size. It returns a *ListenerError where they are something else:
// nothing of such a size is read.
func foreign(address string, tls bool, first []byte, size int64) error {
	var seen error
	switch {
	case first[0] == 0x15 && first[1] == 0x03: // a TLS alert (RFC 8446, 5.1 and 6)
		seen = errors.New("it sends a TLS alert: set kafka.tls.enabled, or name the port of its plain listener")
	case string(first[:4]) == "HTTP":
		seen = errors.New("it speaks HTTP: look at kafka.brokers")
	case size < 4 || size > maxAnswer:
		seen = fmt.Errorf("it begins an answer of %d bytes: look at kafka.brokers", size)
	default:
		return nil
	}
	return &ListenerError{Address: address, TLS: tls, Certain: true, Err: seen}
}
