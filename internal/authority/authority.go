// Package authority issues certificates of TLS. Tests alone import it. It knows
// no connection and no file.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// Authority issues certificates. It is not safe for concurrent use.
type Authority struct {
	// PEM is its own certificate.
	PEM []byte

	chain  []byte // goes with what it issues: its own certificate, if that is not the root's
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// Wanted is a certificate to be issued. The zero value holds for an hour for
// servers and clients, and names nobody.
type Wanted struct {
	// CommonName is in its subject, which no check of names looks at.
	CommonName string
	Hosts      []string
	IPs        []net.IP
	// Life is how long it holds from now, less than nothing for one that has run
	// out; 0 is an hour.
	Life time.Duration
	// ForClients: servers may not show it.
	ForClients bool
}

// New makes an authority.
func New(t testing.TB, commonName string) *Authority {
	t.Helper()
	a := unsigned(t, commonName, 1)
	a.PEM = a.sign(t, a.cert, &a.key.PublicKey)
	return a
}

// Under makes an authority whose certificate this one has issued.
func (a *Authority) Under(t testing.TB, commonName string) *Authority {
	t.Helper()
	a.serial++
	b := unsigned(t, commonName, a.serial)
	b.PEM = a.sign(t, b.cert, &b.key.PublicKey)
	b.chain = slices.Concat(b.PEM, a.chain)
	return b
}

func unsigned(t testing.TB, commonName string, serial int64) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{serial: serial, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
}

// Issue issues a certificate and its key, in PEM (PKCS #8, as Kafka reads it).
func (a *Authority) Issue(t testing.TB, w Wanted) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if w.Life == 0 {
		w.Life = time.Hour
	}
	a.serial++
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if !w.ForClients {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	cert = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: w.CommonName}, DNSNames: w.Hosts, IPAddresses: w.IPs,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(w.Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages,
	}, &own.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(cert, a.chain), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *Authority) sign(t testing.TB, cert *x509.Certificate, public *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
