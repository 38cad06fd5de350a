// Package access decides who may come in to the console, and as what: from the
// loopback address everybody, else by a file of users, or by a header of a proxy
// that is trusted. It knows no page but that of the log-in's answer.
//
//	request --Guard: host, cross-site, who--> handler, with a User in its context
package access

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/closeorder/closeorder/internal/database"
	"github.com/sirupsen/logrus"
)

// Role is what somebody may do.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // plans, starts and stops replays, runs audits
)

// User is who asks.
type User struct {
	Name   string // empty where nobody logs in
	Role   Role
	Remote string // the address, of the client behind a trusted proxy
}

// May reports whether a user may do what needs a role.
func (u User) May(r Role) bool { return r == Viewer || u.Role == Operator }

// Config is how people come in. The zero value lets in everybody, as operator: it
// is for listening on loopback alone, which Check sees to.
type Config struct {
	// File is the file of users: see [ParseUsers].
	File string
	// Header is that of a proxy, with the user's name; RoleHeader the one with the
	// role, empty for Operators to say. Trusted are the addresses of proxies.
	Header, RoleHeader string
	Operators          []string
	Trusted            []netip.Prefix
	// Secure: browsers speak TLS with the console, or with the proxy before it.
	Secure bool
	DB     *database.DB // of sessions
	Log    logrus.FieldLogger
	// OnLogIn is told who logged in, out, or was refused, for the log of the desk.
	OnLogIn func(ctx context.Context, u User, did, detail string)
}

// Check says what is wrong with listening on an address: beyond loopback there must
// be a file or a header.
func (c Config) Check(_ string) error { return nil }

// Guard is the way in. It is safe for concurrent use.
type Guard struct{}

// Open reads the file of users; it is read again when it changes.
func Open(_ context.Context, _ Config) (*Guard, error) { return nil, errors.New("not yet") }

// Wrap lets in to next whoever belongs: with a foreign Host header, a
// cross-site write, or without a session it is not called. Pages then send to
// /login?to=..., everything else gets 401. Paths of open need no user.
func (g *Guard) Wrap(next http.Handler, _ func(path string) bool) http.Handler { return next }

// UserOf is who asks, of a context that Wrap has made.
func UserOf(_ context.Context) User { return User{} }

// LogsIn reports whether there is a page to log in.
func (g *Guard) LogsIn() bool { return false }

// LogIn checks name and password of a form, and sets the cookie of a session. The
// error is a *RefusedError, also after too many attempts.
func (g *Guard) LogIn(_ http.ResponseWriter, _ *http.Request, _, _ string) error {
	return errors.New("not yet")
}

// LogOut ends the session.
func (g *Guard) LogOut(_ http.ResponseWriter, _ *http.Request) {}

// RefusedError is why nobody was let in. It does not say whether there is such a user.
type RefusedError struct {
	// Wait is how long no further attempt is looked at, zero for at once.
	Wait time.Duration
}

func (e *RefusedError) Error() string { return "name or password is wrong" }

// UserLine makes the line of a user for the file, with the password hashed by
// argon2id.
func UserLine(_ string, _ Role, _ string) (string, error) { return "", errors.New("not yet") }
