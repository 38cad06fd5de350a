package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/database"
	"github.com/sirupsen/logrus"
)

const (
	// longest is how long a session lasts, idle how long without a question.
	longest = 12 * time.Hour
	idle    = 2 * time.Hour
	// mostSessions is how many one user has; the one that was used longest ago ends.
	mostSessions = 20
	// saveEvery is how exactly the database knows when a session was used.
	saveEvery = 5 * time.Minute
	// saveWithin is how long a page waits for that at most: an index that is being
	// made writes, too.
	saveWithin = 2 * time.Second
)

// part are the sessions in the database. Who reads it can take up none of them.
var part = database.Part{Name: "access", Version: 1, Schema: `
CREATE TABLE access_sessions (
	id   BLOB PRIMARY KEY, -- SHA-256 of the cookie
	name TEXT NOT NULL,
	seal BLOB NOT NULL,    -- HMAC-SHA-256 of the user's line, by the cookie
	made INTEGER NOT NULL, -- seconds since 1970
	used INTEGER NOT NULL
) STRICT, WITHOUT ROWID`}

// token is 256 random bits, as the cookie has them.
type token string

func newToken() token {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return token(base64.RawURLEncoding.EncodeToString(b[:]))
}

func (t token) id() [sha256.Size]byte { return sha256.Sum256([]byte(t)) }

// seal binds a session to the password that it was begun with.
func (t token) seal(u user) []byte {
	mac := hmac.New(sha256.New, []byte(t))
	fmt.Fprintf(mac, "closeorder console\n%s\n%s", u.name, u.hash.text)
	return mac.Sum(nil)
}

// session is one. The fields that change are guarded by the mutex of sessions.
type session struct {
	id   [sha256.Size]byte
	name string
	seal []byte
	made time.Time
	over chan struct{} // closed when it ends

	used, saved time.Time
}

// live reports whether its time is not over yet. openSessions deletes by the same rule.
func (s *session) live(now time.Time) bool {
	return now.Before(s.made.Add(longest)) && now.Before(s.used.Add(idle))
}

// sessions are those of a console. They are in memory, and in the database for the
// next start: no other process writes there. It is safe for concurrent use.
type sessions struct {
	db  *database.DB // nil for memory alone
	log logrus.FieldLogger

	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// openSessions reads those of the last run, and deletes what ran out since.
func openSessions(ctx context.Context, db *database.DB, log logrus.FieldLogger) (*sessions, error) {
	s := &sessions{db: db, log: log, all: map[[sha256.Size]byte]*session{}}
	if db == nil {
		return s, nil
	}
	if _, err := db.Make(ctx, part); err != nil {
		return nil, err
	}
	now := wall()
	if _, err := db.Write.ExecContext(ctx, `DELETE FROM access_sessions WHERE made <= ? OR used <= ?`, now.Add(-longest).Unix(), now.Add(-idle).Unix()); err != nil {
		return nil, db.Explain(err)
	}
	rows, err := db.Read.QueryContext(ctx, `SELECT id, name, seal, made, used FROM access_sessions`)
	if err != nil {
		return nil, db.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		one := &session{over: make(chan struct{})}
		var id []byte
		var made, used int64
		if err := rows.Scan(&id, &one.name, &one.seal, &made, &used); err != nil {
			return nil, db.Explain(err)
		}
		one.made, one.used, one.saved = time.Unix(made, 0), time.Unix(used, 0), time.Unix(used, 0)
		if copy(one.id[:], id) == len(one.id) {
			s.all[one.id] = one
		}
	}
	if err := rows.Err(); err != nil {
		return nil, db.Explain(err)
	}
	return s, nil
}

// wall is the time without its monotonic part, which stands still while a machine
// sleeps.
func wall() time.Time { return time.Now().Round(0) }

// begin begins a session of a user. It is in the database when it returns.
func (s *sessions) begin(ctx context.Context, u user) (token, error) {
	now, t := wall(), newToken()
	one := &session{id: t.id(), name: u.name, seal: t.seal(u), made: now, used: now, saved: now, over: make(chan struct{})}
	if s.db != nil {
		if _, err := s.db.Write.ExecContext(ctx, `INSERT INTO access_sessions (id, name, seal, made, used) VALUES (?, ?, ?, ?, ?)`,
			one.id[:], one.name, one.seal, one.made.Unix(), one.used.Unix()); err != nil {
			return "", s.db.Explain(err)
		}
	}
	s.mu.Lock()
	s.all[one.id] = one
	surplus := s.surplus(u.name, now)
	s.mu.Unlock()
	for _, old := range surplus {
		s.end(ctx, old)
	}
	return t, nil
}

// surplus are those whose time is over, and those of a user that has too many.
func (s *sessions) surplus(name string, now time.Time) (all []*session) {
	var oldest *session
	n := 0
	for _, one := range s.all {
		switch {
		case !one.live(now):
			all = append(all, one)
		case one.name == name:
			if n++; oldest == nil || one.used.Before(oldest.used) {
				oldest = one
			}
		}
	}
	if n > mostSessions {
		all = append(all, oldest)
	}
	return all
}

// find returns the session of a cookie, and its user as the file has it now; nil for
// none. One whose time is over, whose user is gone, or has another password, ends
// here.
func (s *sessions) find(ctx context.Context, t token, now users) (*session, user) {
	s.mu.Lock()
	one := s.all[t.id()]
	live := one != nil && one.live(wall())
	s.mu.Unlock()
	if one == nil {
		return nil, user{}
	}
	u, there := now.by[one.name]
	if !live || !there || !hmac.Equal(one.seal, t.seal(u)) {
		s.end(ctx, one)
		return nil, user{}
	}
	return one, u
}

// use notes that somebody has asked for something.
func (s *sessions) use(ctx context.Context, one *session) {
	now := wall()
	s.mu.Lock()
	one.used = now
	save := s.db != nil && s.all[one.id] == one && now.Sub(one.saved) >= saveEvery
	if save {
		one.saved = now
	}
	s.mu.Unlock()
	if !save {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	if _, err := s.db.Write.ExecContext(ctx, `UPDATE access_sessions SET used = ? WHERE id = ?`, now.Unix(), one.id[:]); err != nil {
		s.log.WithError(err).Debug("when a session was used was not written down; it may end sooner, after a restart")
	}
}

// end ends a session, now and for the next start, whatever becomes of the request.
func (s *sessions) end(ctx context.Context, one *session) {
	s.mu.Lock()
	there := s.all[one.id] == one
	if there {
		delete(s.all, one.id)
		close(one.over)
	}
	s.mu.Unlock()
	if !there || s.db == nil {
		return
	}
	if _, err := s.db.Write.ExecContext(context.WithoutCancel(ctx), `DELETE FROM access_sessions WHERE id = ?`, one.id[:]); err != nil {
		s.log.WithError(s.db.Explain(err)).Error("a session has ended, and the database does not know it: after a restart it would go on until its time is over")
	}
}
