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
	"testing"
	"time"
)

// Authority issues certificates. It is not safe for concurrent use.
type Authority struct {
	// PEM is its own certificate.
	PEM []byte

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
}

// New makes an authority.
func New(t testing.TB, commonName string) *Authority {
	t.Helper()
	a := &Authority{serial: 1}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.PEM = a.sign(t, a.cert, &key.PublicKey)
	return a
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
	cert = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: w.CommonName}, DNSNames: w.Hosts, IPAddresses: w.IPs,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(w.Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &own.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *Authority) sign(t testing.TB, cert *x509.Certificate, public *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
