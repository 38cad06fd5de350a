// Package exchange is what one POST to a gateway costs, from the least that Go
// can do to the clients that everybody uses. They are floors to measure a
// transport against, and what the peers call with. It knows no Kafka and no V2.
package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Poster sends a body and appends that of the reply to dst. An error is all but
// status 200. It is safe for concurrent use.
type Poster func(ctx context.Context, body, dst []byte) ([]byte, error)

// Target is where to, and by how many at one time.
type Target struct {
	// URL is the whole one, http or https.
	URL string
	// Roots is the PEM of what to trust where URL is https; empty for the
	// system's.
	Roots []byte
	// Conns is the most connections to hold.
	Conns int
}

// Clients are those that can be measured, the cheapest first.
var Clients = []struct {
	Name string
	// What it is, in one phrase.
	What string
	New  func(Target) (Poster, error)
}{
	{"raw", "one write and one read on a kept connection, nothing checked", Raw},
	{"fasthttp", "fasthttp's client", Fasthttp},
	{"net/http", "net/http's client", NetHTTP},
}

// Named returns a client by its name.
func Named(name string, t Target) (Poster, error) {
	for _, c := range Clients {
		if c.Name == name {
			return c.New(t)
		}
	}
	return nil, fmt.Errorf("no client %q", name)
}

// tls returns the settings that trust the target's roots, nil for the system's.
func (t Target) tls() (*tls.Config, error) {
	if len(t.Roots) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(t.Roots) {
		return nil, errors.New("roots: no certificate in PEM")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
