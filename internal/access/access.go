// Package access decides who may come in to the console, and as what: from the
// loopback address everybody, else by a file of users, or by a header of a proxy
// that is trusted. It knows no page, and nothing of what is behind it.
//
//	request --Guard: headers, host, cross-site, who--> handler, with a User in its context
package access

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
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
	// File is the file of users, a line each: NAME:HASH or NAME:HASH:ROLE.
	File string
	// Header, instead of File, is that of a proxy, with the user's name; RoleHeader the
	// one with the role, empty for Operators to say. Trusted are the addresses of
	// proxies: without one Header lets in nobody.
	Header, RoleHeader string
	Operators          []string
	Trusted            []netip.Prefix
	// Secure: browsers speak TLS with the console. That they do with a proxy says the
	// proxy, by X-Forwarded-Proto.
	Secure bool
	// DB is for sessions; nil keeps them in memory.
	DB *database.DB
	// Log may be nil.
	Log logrus.FieldLogger
	// OnLogIn, if set, is told who has logged in (log_in) or out (log_out), or was
	// refused, for the log of the desk. The name of somebody who was refused is that of
	// a user, or empty: a password that was typed in its place reaches nobody.
	OnLogIn func(ctx context.Context, u User, did, detail string)
}

// open reports whether nobody has to say who they are.
func (c Config) open() bool { return c.File == "" && c.Header == "" }

// Check says what is wrong with an address that a listener has: beyond loopback there
// must be a file or a header. A name would not do: it can lead elsewhere the next time.
func (c Config) Check(at net.Addr) error {
	where := beyondLoopback(at)
	if !c.open() || where == "" {
		return nil
	}
	return fmt.Errorf("the console would listen on %s, which is %s, and whoever reaches it could replay dead letters. Choose one of these:\n"+
		"  --auth-file FILE                                     people log in; `closeorder console user NAME` writes a line of the file\n"+
		"  --auth-header X-Forwarded-User --trusted-proxies IP  a proxy before the console says who they are\n"+
		"or leave it on this machine: --addr 127.0.0.1:8090, and ssh -L 8090:127.0.0.1:8090 to look from elsewhere", at, where)
}

// beyondLoopback says what of an address others can reach, empty for nothing.
func beyondLoopback(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	switch {
	case ok && tcp.IP.IsLoopback():
		return ""
	case ok && tcp.IP.IsUnspecified():
		return "every interface of this machine"
	}
	return "not the loopback address"
}

// Warning is what is to be thought about before serving on an address that a listener
// has, empty for nothing.
func (c Config) Warning(at net.Addr) string {
	if c.File == "" || c.Secure || len(c.Trusted) > 0 || beyondLoopback(at) == "" {
		return ""
	}
	return "people log in over plain HTTP: passwords and sessions cross the network as they are. Set --tls-cert-file and --tls-key-file, " +
		"or put a proxy that speaks TLS before the console and name it with --trusted-proxies"
}

// Guard is the way in. It is safe for concurrent use.
type Guard struct {
	cfg      Config
	log      logrus.FieldLogger
	file     *usersFile // nil where nobody logs in
	sessions *sessions
	attempts *attempts
	seed     maphash.Seed
	cross    *http.CrossOriginProtection

	mu   sync.Mutex
	told map[string]bool // in the log, once each
}

// FileError is what is wrong with the file of users. It names the file.
type FileError struct{ err error }

func (e *FileError) Error() string { return e.err.Error() }

func (e *FileError) Unwrap() error { return e.err }

// Open reads the file of users, and the sessions of the last run. The file is read
// again when it has changed. Where that is wrong then, the users stay as they were.
// The error is a *FileError, or of the database.
func Open(ctx context.Context, cfg Config) (*Guard, error) {
	g := &Guard{cfg: cfg, log: cfg.Log, attempts: newAttempts(), seed: maphash.MakeSeed(), cross: http.NewCrossOriginProtection(), told: map[string]bool{}}
	if g.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		g.log = silent
	}
	var err error
	if cfg.File == "" {
		return g, nil
	}
	if g.file, err = openUsers(cfg.File, g.log); err != nil {
		return nil, &FileError{err}
	}
	if g.sessions, err = openSessions(ctx, cfg.DB, g.log); err != nil {
		return nil, err
	}
	return g, nil
}

// LogsIn reports whether there is a page to log in.
func (g *Guard) LogsIn() bool { return g.file != nil }

// LogIn checks name and password of a form, and sets the cookie of a session; a
// session that the browser had has ended then. The error is a *RefusedError, also
// after too many attempts, or says why there can be no session at all: the database,
// or that the request was given up.
func (g *Guard) LogIn(w http.ResponseWriter, r *http.Request, name, password string) error {
	if !g.LogsIn() {
		return errors.New("nobody logs in here")
	}
	who := User{Remote: g.cfg.remote(r)}
	all := g.file.users()
	u, there := all.by[name]
	if there {
		who.Name, who.Role = u.name, u.role
	}
	tried := name
	if len(tried) > mostName {
		tried = "" // no user has such a name
	}
	done, begins, err := g.attempts.begin(r.Context(), tried, who.Remote)
	if err != nil {
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(int((refused.Wait+time.Second-1)/time.Second)))
			if begins {
				g.tell(r.Context(), who, "refused", "too many attempts")
			}
		}
		return err
	}
	ok := g.matches(all, name, password)
	done(ok)
	if !ok {
		detail := "wrong password"
		if !there {
			detail = "no such user"
		}
		g.tell(r.Context(), who, "refused", detail)
		return &RefusedError{}
	}
	before, _ := g.session(r)
	t, err := g.sessions.begin(r.Context(), u)
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if before != nil {
		g.sessions.end(r.Context(), before)
	}
	g.setCookie(w, r, string(t), 0)
	g.tell(r.Context(), who, "log_in", string(u.role))
	return nil
}

// matches checks a password. For a name that nobody has that of somebody is worked
// on, of the same one each time, so that the time does not say who there is.
func (g *Guard) matches(all users, name, password string) bool {
	u, there := all.by[name]
	if !there {
		u = all.list[maphash.String(g.seed, name)%uint64(len(all.list))]
	}
	long := len(password) > mostPassword
	if long {
		password = ""
	}
	return u.hash.is(password) && there && !long
}

// LogOut ends the session.
func (g *Guard) LogOut(w http.ResponseWriter, r *http.Request) {
	if !g.LogsIn() {
		return
	}
	if one, u := g.session(r); one != nil {
		g.sessions.end(r.Context(), one)
		g.tell(r.Context(), User{Name: u.name, Role: u.role, Remote: g.cfg.remote(r)}, "log_out", "")
	}
	g.setCookie(w, r, "", -1)
}

func (g *Guard) tell(ctx context.Context, u User, did, detail string) {
	if g.cfg.OnLogIn != nil {
		g.cfg.OnLogIn(context.WithoutCancel(ctx), u, did, detail)
	}
}

// once warns of something once in the life of the process.
func (g *Guard) once(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.told[what] {
		g.told[what] = true
		g.log.Warn(what)
	}
}

// RefusedError is why nobody was let in. It does not say whether there is such a user.
type RefusedError struct {
	// Wait is how long no further attempt is looked at, zero for at once.
	Wait time.Duration
}

func (e *RefusedError) Error() string {
	if e.Wait > 0 {
		return fmt.Sprintf("too many attempts; wait %s", (e.Wait + time.Second - 1).Truncate(time.Second))
	}
	return "name or password is wrong"
}

// Local is where a browser is sent after it has logged in: a path of the console
// itself with its query, and / for everything else, such as another host.
func Local(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\") ||
		strings.ContainsFunc(to, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(to) > 2000 {
		return "/"
	}
	if path, _, _ := strings.Cut(to, "?"); path == loginPath || path == logoutPath {
		return "/"
	}
	return to
}
