package kafka

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
)

// connect opens a connection and makes it ready: TLS, versions, SASL. ctx
// bounds all of it. Nothing reads yet.
func (t *transport) connect(ctx context.Context, address string) (*conn, error) {
	network, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", address, err)
	}
	// What waits in a handshake does not look at ctx.
	stop := context.AfterFunc(ctx, func() { network.Close() })
	c, err := t.introduce(ctx, network, address)
	if !stop() && err == nil {
		err = fmt.Errorf("broker %s: connecting: %w", address, context.Cause(ctx))
	}
	if err != nil {
		network.Close()
		return nil, err
	}
	return c, nil
}

func (t *transport) introduce(ctx context.Context, network net.Conn, address string) (*conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		network.SetDeadline(deadline) //nolint:errcheck // what is closed fails in what follows
	}
	c := &conn{
		net: network, address: address, clientID: t.cfg.ClientID,
		room: make(chan struct{}, inFlight), write: make(chan struct{}, 1), over: make(chan struct{}),
	}
	if t.cfg.TLS != nil {
		secure, err := t.secure(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.net, c.tls = secure, true
	}
	c.in = bufio.NewReaderSize(c.net, readBuffer)
	answer, err := c.exchange(&apiversions.Request{}, 0) // every broker knows version 0
	if err != nil {
		return nil, firstFailed(address, c.tls, err)
	}
	known := answer.(*apiversions.Response)
	if err := asError(known.ErrorCode); err != nil {
		return nil, fmt.Errorf("broker %s: ApiVersions: %w", address, err)
	}
	c.versions = versionsOf(known)
	if err := c.versions.carriesHeaders(address); err != nil {
		return nil, err
	}
	if t.cfg.SASL != nil {
		if err := t.authenticate(ctx, c); err != nil {
			return nil, err
		}
	}
	return c, c.net.SetDeadline(time.Time{})
}

// readBuffer is small: what is large is read past it.
const readBuffer = 16 << 10

// secure makes the TLS handshake.
func (t *transport) secure(ctx context.Context, network net.Conn, address string) (net.Conn, error) {
	cfg, err := t.cfg.TLS()
	if err != nil {
		return nil, fmt.Errorf("TLS of the connection to broker %s: %w", address, err)
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(network, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tlsFailed(address, err)
	}
	return secure, nil
}

// exchange makes one request before read has begun.
func (c *conn) exchange(req protocol.Message, version int16) (protocol.Message, error) {
	f, err := encode(req, version, c.clientID)
	if err != nil {
		return nil, err
	}
	defer f.free()
	c.id++
	f.number(c.id)
	if _, err := c.net.Write(f.buffer.Bytes()); err != nil {
		return nil, err
	}
	first, err := c.in.Peek(8)
	if err != nil {
		return nil, c.cutShort(first, err)
	}
	if err := foreign(c.address, c.tls, first, int64(int32(binary.BigEndian.Uint32(first)))); err != nil {
		return nil, err
	}
	if id := int32(binary.BigEndian.Uint32(first[4:])); id != c.id {
		return nil, fmt.Errorf("it answers request %d instead of %d (%s)", id, c.id, f.api)
	}
	return decode(c.in, f.api, version)
}

// cutShort is the error of an answer that ends in its first bytes: a TLS alert
// may be no longer than that.
func (c *conn) cutShort(first []byte, err error) error {
	if len(first) >= 4 {
		if err := foreign(c.address, c.tls, first, 4); err != nil {
			return err
		}
	}
	return err
}

// authenticate goes through SASL (KIP-43, KIP-152, KIP-368). Its errors carry
// what the broker says, never the password or the token.
func (t *transport) authenticate(ctx context.Context, c *conn) error {
	mechanism, err := t.cfg.SASL()
	if err != nil {
		return fmt.Errorf("SASL of the connection to broker %s: %w", c.address, err)
	}
	fail := func(err error) error {
		text := fmt.Sprintf("broker %s: SASL %s", c.address, mechanism.Name())
		if p, ok := mechanism.(plain.Mechanism); ok && p.Password != "" && strings.Contains(err.Error(), p.Password) {
			return fmt.Errorf("%s: %w", text, kafkago.SASLAuthenticationFailed) // what it said holds the password
		}
		return fmt.Errorf("%s: %w", text, err)
	}
	handshake, err := c.versions.both(c.address, protocol.SaslHandshake)
	if err != nil {
		return fail(err)
	}
	answer, err := c.exchange(&saslhandshake.Request{Mechanism: mechanism.Name()}, handshake)
	if err != nil {
		return fail(err)
	}
	offered := answer.(*saslhandshake.Response)
	if err := asError(offered.ErrorCode); err != nil {
		return fail(fmt.Errorf("%w: the listener has %s", err, strings.Join(offered.Mechanisms, ", ")))
	}
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		return fail(err)
	}
	number, _ := strconv.Atoi(port)
	session, token, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}))
	if err != nil {
		return fail(err)
	}
	for done := false; !done; {
		var challenge []byte
		if challenge, err = c.prove(token, handshake); err != nil {
			if bearer, is := session.(*bearerSession); is {
				err = bearer.failed(err)
			}
			return fail(err)
		}
		if done, token, err = session.Next(ctx, challenge); err != nil {
			return fail(err)
		}
	}
	return nil
}

// prove sends one token of SASL and returns what the broker says to it.
func (c *conn) prove(token []byte, handshake int16) ([]byte, error) {
	if handshake == 0 {
		challenge, err := c.proveBare(token)
		return challenge, refusedBySilence(err)
	}
	version, err := c.versions.both(c.address, protocol.SaslAuthenticate)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange(&saslauthenticate.Request{AuthBytes: token}, version)
	if err != nil {
		return nil, refusedBySilence(err)
	}
	answered := answer.(*saslauthenticate.Response)
	if err := asError(answered.ErrorCode); err != nil {
		return nil, fmt.Errorf("%w: %s", err, said(answered.ErrorMessage))
	}
	if life := time.Duration(answered.SessionLifetimeMs) * time.Millisecond; life > 0 {
		c.session = time.Now().Add(life * 9 / 10)
	}
	return answered.AuthBytes, nil
}

// proveBare sends a token as brokers before Kafka 1.0 take it: its length and
// the token.
func (c *conn) proveBare(token []byte) ([]byte, error) {
	if _, err := c.net.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
		return nil, err
	}
	size, err := c.in.Peek(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > maxToken {
		return nil, fmt.Errorf("it answers with a token of %d bytes", n)
	}
	challenge := make([]byte, 4+n)
	_, err = io.ReadFull(c.in, challenge)
	return challenge[4:], err
}

// maxToken bounds a token of SASL, in bytes.
const maxToken = 1 << 20

// refusedBySilence: some brokers refuse by closing the connection.
func refusedBySilence(err error) error {
	if hungUp(err) && !errors.Is(err, kafkago.SASLAuthenticationFailed) {
		return fmt.Errorf("%w (the broker closed the connection: %v)", kafkago.SASLAuthenticationFailed, err)
	}
	return err
}
