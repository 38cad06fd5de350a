package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
)

// serve starts a fake broker with a topic t.
func serve(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// certificate makes one for 127.0.0.1, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func ask(t *testing.T, cfg kafka.Config) error {
	t.Helper()
	client := kafka.Open(cfg, "t")
	defer client.Close()
	_, err := client.Partitions(t.Context(), "t")
	return err
}

// TestTLSAndPlain: who speaks the other one is told so, in both directions.
func TestTLSAndPlain(t *testing.T) {
	pair, roots := certificate(t)
	secure := serve(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	asked := 0
	with := func() (*tls.Config, error) {
		asked++
		return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
	}
	if err := ask(t, kafka.Config{Brokers: []string{secure}, TLS: with}); err != nil {
		t.Error(err)
	}
	var listener *kafka.ListenerError
	err := ask(t, kafka.Config{Brokers: []string{secure}})
	if !errors.As(err, &listener) || listener.TLS || listener.Address != secure || !strings.Contains(err.Error(), "kafka.tls.enabled") {
		t.Errorf("plain to TLS: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	err = ask(t, kafka.Config{Brokers: []string{secure}, TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: x509.NewCertPool()}, nil }})
	if !errors.As(err, &unknown) || errors.As(err, &listener) || !strings.Contains(err.Error(), secure) {
		t.Errorf("a certificate that nobody trusts: %v", err)
	}
	unreadable := errors.New("ca.pem is a folder")
	if err := ask(t, kafka.Config{Brokers: []string{secure}, TLS: func() (*tls.Config, error) { return nil, unreadable }}); !errors.Is(err, unreadable) {
		t.Errorf("a file that cannot be read: %v", err)
	}

	// Each new connection asks again.
	client := kafka.Open(kafka.Config{Brokers: []string{secure}, TLS: with}, "t")
	defer client.Close()
	asked = 0
	for want := 1; want <= 3; want++ {
		if err := produce(t.Context(), client, "t", 0); err != nil || asked != want {
			t.Errorf("asked %d times for %d connections: %v", asked, want, err)
		}
		client.Renew()
	}
}

// TestTLSToWhatIsPlain, which may answer in plain, close the connection as
// Apache Kafka does, or wait for the rest of a request as others do.
func TestTLSToWhatIsPlain(t *testing.T) {
	for what, c := range map[string]struct {
		do      func(net.Conn)
		certain bool
	}{
		"it answers": {func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write([]byte("\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00"))
		}, true},
		"it closes": {func(c net.Conn) { c.Read(make([]byte, 4096)); c.Close() }, false},
		"it waits":  {func(c net.Conn) { io.Copy(io.Discard, c) }, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := ask(t, kafka.Config{
					Brokers: []string{"kafka:9092"},
					TLS:     func() (*tls.Config, error) { return &tls.Config{RootCAs: x509.NewCertPool()}, nil },
					Dial: func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe()
						go c.do(far)
						return near, nil
					},
				})
				var listener *kafka.ListenerError
				if !errors.As(err, &listener) || !listener.TLS || listener.Certain != c.certain || !strings.Contains(err.Error(), "broker kafka:9092") || !strings.Contains(err.Error(), "kafka.tls.enabled") || kafka.Lasting(err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestASessionEndsBeforeTheBrokerEndsIt (KIP-368): another connection takes
// over.
func TestASessionEndsBeforeTheBrokerEndsIt(t *testing.T) {
	address := serve(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"), kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "400"}))
	asked := 0
	client := kafka.Open(kafka.Config{Brokers: []string{address}, SASL: func() (kafka.Mechanism, error) {
		asked++
		return kafka.SASL("PLAIN", "u", "p")
	}}, "t")
	defer client.Close()
	for begun := time.Now(); asked < 3; {
		if err := produce(t.Context(), client, "t", 0); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d connections in 10 s", asked)
		}
	}
}

// TestSASL: what is right is let in, what is wrong is said without the
// password.
func TestSASL(t *testing.T) {
	const password = "distinctive-pass"
	address := serve(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", password), kfake.Superuser("SCRAM-SHA-512", "u", password))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		for word, right := range map[string]bool{password: true, "other-distinctive": false} {
			err := ask(t, kafka.Config{Brokers: []string{address}, SASL: func() (kafka.Mechanism, error) { return kafka.SASL(mechanism, "u", word) }})
			switch {
			case right && err != nil:
				t.Errorf("%s: %v", mechanism, err)
			case !right && (err == nil || !kafka.Lasting(err) || strings.Contains(err.Error(), "distinctive") || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), mechanism)):
				t.Errorf("%s with a wrong password: %v", mechanism, err)
			}
		}
	}
}

// TestOldBrokersAreRefusedByName: what they cannot do is not left out.
func TestOldBrokersAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		kafka    string
		versions *kversion.Versions
		refused  bool
		join     int16
	}{
		{"0.10.2", kversion.V0_10_2(), true, 0},
		{"0.11", kversion.V0_11_0(), false, 2},
		{"2.2", kversion.V2_2_0(), false, 4},
		{"2.3: kafka.instance_id", kversion.V2_3_0(), false, 5},
		{"4", kversion.Stable(), false, protocol.JoinGroup.MaxVersion()},
	} {
		t.Run(c.kafka, func(t *testing.T) {
			address := serve(t, kfake.MaxVersions(c.versions))
			client := kafka.Open(kafka.Config{Brokers: []string{address}}, "t")
			defer client.Close()
			_, err := client.Partitions(t.Context(), "t")
			var old *kafka.OldBrokerError
			if errors.As(err, &old) != c.refused || err != nil != c.refused || c.refused && (!kafka.Lasting(err) || old.Address != address || !strings.Contains(err.Error(), "0.11")) {
				t.Fatal(err)
			}
			if c.refused {
				return
			}
			if v, err := client.MaxVersion(t.Context(), "g", protocol.JoinGroup); err != nil || v != c.join {
				t.Errorf("JoinGroup in version %d, %v", v, err)
			}
			if _, err := client.MaxVersion(t.Context(), "g", 999); !kafka.Lasting(err) {
				t.Errorf("an API that there is not: %v", err)
			}
			if err := produce(t.Context(), client, "t", 0); err != nil {
				t.Error(err)
			}
		})
	}
}
