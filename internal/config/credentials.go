package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/closeorder/closeorder/internal/kafka"
)

// What kafka.tls.verify can be.
const (
	verifyFull  = "full"
	verifyChain = "chain"
)

// Client says how to reach the brokers. The files of TLS, of the SASL password
// and of a token are read again for each new connection, that of a client secret
// for each request for a token; a token of a token endpoint is shared by all
// connections of these settings. Where one of them is not as
// it must be then, the last good one goes on, and stale, if set, is told: once
// for each state of the files, with the name of the setting and of the file.
// Calls of stale may be concurrent.
//
// It fails on names and passwords that SCRAM cannot carry; [Load] has checked
// that, and read the files.
func (k Kafka) Client(stale func(error)) (kafka.Config, error) {
	cfg := kafka.Config{Brokers: k.Brokers, ClientID: k.ClientID, UnpackedBatch: k.UnpackedBatch, UnpackedTotal: k.UnpackedTotal, MaxBuffered: k.MaxBuffered,
		ReadUncommitted: k.Isolation == ReadUncommitted}
	if k.TLS.Enabled {
		tell := once(stale)
		cfg.TLS = func() (*tls.Config, error) { return k.TLS.config(tell), nil }
	}
	tell := once(stale)
	mechanism, err := k.SASL.current(func(error) {})
	if mechanism != nil {
		cfg.SASL = func() (kafka.Mechanism, error) { return k.SASL.current(tell) }
	}
	return cfg, err
}

// HasFiles reports whether connections are made with files, of TLS or of what
// SASL keeps secret.
func (k Kafka) HasFiles() bool {
	t := k.TLS
	return t.Enabled && t.CAFile+t.CertFile != "" || k.SASL.file != nil || k.SASL.tokenFile != nil || k.SASL.secretFile != nil
}

// CheckFiles reads them as the next connection will, and says what is wrong.
func (k Kafka) CheckFiles() error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	if k.TLS.Enabled {
		k.TLS.config(note)
	}
	if _, err := k.SASL.current(note); err != nil {
		note(err)
	}
	if k.SASL.secretFile != nil {
		_, problem := k.SASL.secretFile.now(nil)
		note(problem)
	}
	return errors.Join(errs...)
}

// once passes on an error that differs from the one before; nil, for all is
// well, has the next one told.
func once(tell func(error)) func(error) {
	var mu sync.Mutex
	var last string
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last && err != nil && tell != nil {
			tell(err)
		}
		last = text
	}
}

// tlsFiles are the files of TLS, as they were when there was last nothing wrong
// with them. It is safe for concurrent use.
type tlsFiles struct {
	of TLS
	// prefix of the settings: kafka.tls. or console.tls_
	prefix string
	read   func(string) ([]byte, error)

	mu    sync.Mutex
	roots *x509.CertPool // nil for the system's
	pair  *tls.Certificate
}

// fault is what is wrong with the file that a setting names.
type fault struct{ setting, problem string }

// load reads the files. With a fault in one of them all stay as they were.
func (f *tlsFiles) load() []fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	roots, pair, faults := f.look()
	if len(faults) > 0 {
		// They may have been replaced between one and the other.
		roots, pair, faults = f.look()
	}
	if len(faults) == 0 {
		f.roots, f.pair = roots, pair
	}
	return faults
}

func (f *tlsFiles) look() (roots *x509.CertPool, pair *tls.Certificate, faults []fault) {
	content := func(setting, file string) []byte {
		data, err := f.read(file)
		if err != nil {
			faults = append(faults, fault{setting, err.Error()})
		}
		return data
	}
	if file := f.of.CAFile; file != "" {
		setting := f.prefix + "ca_file"
		roots = x509.NewCertPool()
		if pem := content(setting, file); len(faults) == 0 && !roots.AppendCertsFromPEM(pem) {
			faults = append(faults, fault{setting, file + " holds no certificate in PEM"})
		}
	}
	if f.of.CertFile == "" {
		return roots, nil, faults
	}
	before := len(faults)
	cert, key := content(f.prefix+"cert_file", f.of.CertFile), content(f.prefix+"key_file", f.of.KeyFile)
	if len(faults) > before {
		return roots, nil, faults
	}
	one, err := tls.X509KeyPair(cert, key)
	if err != nil {
		faults = append(faults, fault{f.prefix + "cert_file", fmt.Sprintf("%s and %s are no certificate and its key in PEM: %v", f.of.CertFile, f.of.KeyFile, err)})
	}
	return roots, &one, faults
}

// config is that of one connection.
func (t TLS) config(stale func(error)) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.files != nil { // Load made it
		stale(asStale(t.files.load()))
		t.files.mu.Lock()
		defer t.files.mu.Unlock()
		c.RootCAs = t.files.roots
		if t.files.pair != nil {
			c.Certificates = []tls.Certificate{*t.files.pair}
		}
	}
	if t.Verify == verifyChain {
		c.InsecureSkipVerify = true // crypto/tls checks all or nothing; the chain is checked here
		c.VerifyConnection = chainOf(c.RootCAs)
	}
	return c
}

// chainOf checks that a broker's certificate comes from roots, and leaves out
// whom it names.
func chainOf(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
}

func asStale(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.setting + ": " + f.problem
	}
	return fmt.Errorf("%s; what was read before goes on until this is mended", strings.Join(texts, "; "))
}

// secretFile is where a secret comes from, and which one came last. It is safe for
// concurrent use.
type secretFile struct {
	setting string
	name    string
	read    func(string) ([]byte, error)

	mu   sync.Mutex
	last Secret
}

// password returns what stands in a file that holds one secret, without the byte
// order mark and the newline that editors and echo leave round it.
func password(data []byte) string {
	return strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n")
}

// now reads the file. Where it is not as it must be the last good secret goes on,
// and the error says why. check, if set, says what is wrong with one.
func (f *secretFile) now(check func(string) string) (Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := f.read(f.name)
	text, problem := password(data), ""
	switch {
	case err != nil:
		problem = err.Error()
	case text == "":
		problem = f.name + " is empty"
	case check != nil:
		if problem = check(text); problem != "" {
			problem = f.name + " " + problem
		}
	}
	if problem != "" {
		return f.last, asStale([]fault{{f.setting, problem}})
	}
	f.last = NewSecret(text)
	return f.last, nil
}

// current is the mechanism with the password or the token as it is now.
func (s SASL) current(stale func(error)) (kafka.Mechanism, error) {
	switch {
	case s.UsesTokens():
		return s.bearer(stale), nil
	case s.file == nil:
		return s.mechanism(s.Password.Reveal())
	}
	text, problem := s.file.now(func(text string) string {
		if _, err := s.mechanism(text); err != nil {
			return "holds characters that SASLprep forbids"
		}
		return ""
	})
	stale(problem)
	return s.mechanism(text.Reveal())
}

func (s SASL) mechanism(password string) (kafka.Mechanism, error) {
	return kafka.SASL(s.Mechanism, s.Username, password)
}
