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
	// Certain is false where the connection was closed without a word, as also a
	// broker does that stops or that takes no more connections.
	Certain bool
	// Err is what was seen.
	Err error
}

func (e *ListenerError) Error() string {
	if e.Certain {
		return fmt.Sprintf("broker %s answers TLS in plain: set kafka.tls.enabled to false, or name the port of its TLS listener (%v)", e.Address, e.Err)
	}
	return fmt.Sprintf("broker %s has closed the connection, or said nothing, during the TLS handshake: perhaps its listener is plain (kafka.tls.enabled), wants a client certificate (kafka.tls.cert_file), or the broker takes no more connections (%v)", e.Address, e.Err)
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
	case hungUp(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &ListenerError{Address: address, TLS: true, Err: err}
	}
	return fmt.Errorf("broker %s: TLS handshake: %w", address, err)
}
