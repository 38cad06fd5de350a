package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// login is an authorization server: a token endpoint for the grant of client
// credentials (RFC 6749, 4.4) over TLS, and its public keys as a JWK set (RFC
// 7517) over plain HTTP, at an address that it keeps.
type login struct {
	url, ca string // of the token endpoint, and the file of its certificate
	jwks    string

	mu     sync.Mutex
	keys   []*rsa.PrivateKey // the last one signs
	life   time.Duration
	gave   int
	refuse string // an error code for whoever asks
	more   map[string]any
}

const (
	loginIssuer   = "https://login.example.com"
	loginAudience = "kafka"
	loginSecret   = "s3cret/+of=the client"
)

func newLogin(t *testing.T) *login {
	t.Helper()
	l := &login{life: time.Hour}
	l.rotate(t)
	keys := httptest.NewServer(http.HandlerFunc(l.serveKeys))
	t.Cleanup(keys.Close)
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(l.serveTokens))
	endpoint.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	l.url, l.jwks = endpoint.URL+"/token", keys.URL+"/jwks"
	l.ca = filepath.Join(t.TempDir(), "login-ca.pem")
	if err := os.WriteFile(l.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: endpoint.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// rotate adds a key, which signs from now on.
func (l *login) rotate(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, key)
}

// set changes how it answers.
func (l *login) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *login) given() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gave
}

func (l *login) serveKeys(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var set []map[string]string
	for i, key := range l.keys {
		set = append(set, map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid(i),
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"keys": set})
}

func kid(i int) string { return "key-" + string(rune('a'+i)) }

func (l *login) serveTokens(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	id, secret, _ := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	code := l.refuse
	if code == "" && (secret != loginSecret || r.PostFormValue("grant_type") != "client_credentials") {
		code = "invalid_client"
	}
	if code != "" {
		status := http.StatusUnauthorized
		if code == "temporarily_unavailable" {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "refused: " + secret})
		return
	}
	l.gave++
	now := time.Now()
	claims := map[string]any{"iss": loginIssuer, "aud": loginAudience, "sub": id, "iat": now.Unix(), "exp": now.Add(l.life).Unix(), "scope": r.PostFormValue("scope")}
	maps.Copy(claims, l.more)
	json.NewEncoder(w).Encode(map[string]any{"access_token": l.sign(claims), "token_type": "Bearer", "expires_in": int(l.life.Seconds())})
}

// sign makes a JWS of RS256 (RFC 7515).
func (l *login) sign(claims map[string]any) string {
	text := jwtPart(map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid(len(l.keys) - 1)}) + "." + jwtPart(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, l.keys[len(l.keys)-1], crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func jwtPart(of map[string]any) string {
	text, err := json.Marshal(of)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// unsigned is a token without a signature, as brokers take it that validate none.
func unsigned(user string, life time.Duration) string {
	now := time.Now()
	return jwtPart(map[string]any{"alg": "none"}) + "." + jwtPart(map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix()}) + "."
}

// nobodyListens is a URL where nobody does.
func nobodyListens(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String() + "/token"
}
