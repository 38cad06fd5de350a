package desk

import (
	"context"
	"database/sql"
	"maps"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Entry is a line of the log of who did what.
type Entry struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who,omitempty"`
	Remote string    `json:"remote,omitempty"`
	// Did is one of the words: plan, start, pause, resume, stop, audit, rebuild,
	// log_in, log_out, refused. A replay that pauses by itself has no Who and no
	// Remote.
	Did    string `json:"did"`
	Of     string `json:"of,omitempty"` // the id of a replay or an audit
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// What is kept of the log.
const (
	// mostEntries are kept of what was done, and as many of who came in or was
	// refused: so that nobody who knocks often drives out what was done.
	mostEntries = 10_000
	// mostText bounds each text of an entry, in bytes.
	mostText = 2 << 10
)

// Note writes a line of that log, and of the program's own. Texts may say anything;
// what is no UTF-8 is replaced, and what is very long cut off.
func (d *Desk) Note(ctx context.Context, who Who, did, of, reason, detail string) error {
	e := entry(who, did, of, reason, detail)
	if err := d.DB.Transact(ctx, func(tx *sql.Tx) error { return d.note(ctx, tx, e) }); err != nil {
		return err
	}
	d.log(e)
	return nil
}

// entry is a line that is written now.
func entry(who Who, did, of, reason, detail string) Entry {
	return Entry{At: time.Now().UTC(), Who: text(who.Name), Remote: text(who.Remote), Did: text(did), Of: text(of), Reason: text(reason), Detail: text(detail)}
}

// text is one as the log keeps it.
func text(s string) string {
	if len(s) > mostText {
		s = s[:mostText] + "..."
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// note writes an entry into the database, beside what it tells of, and lets go of
// what is too old.
func (d *Desk) note(ctx context.Context, tx *sql.Tx, e Entry) error {
	access := e.Did == "log_in" || e.Did == "log_out" || e.Did == "refused"
	if _, err := tx.ExecContext(ctx, `INSERT INTO desk_log (at, access, who, remote, did, of, reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		moment(e.At), access, e.Who, e.Remote, e.Did, e.Of, e.Reason, e.Detail); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM desk_log WHERE access = ?1 AND id <= (SELECT id FROM desk_log WHERE access = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, access, d.entries)
	return err
}

// log writes an entry into the program's log, when the database has it.
func (d *Desk) log(e Entry) {
	fields := logrus.Fields{"did": e.Did, "who": e.Who, "remote": e.Remote, "of": e.Of, "reason": e.Reason, "detail": e.Detail}
	maps.DeleteFunc(fields, func(_ string, text any) bool { return text == "" })
	log := d.Log.WithFields(fields)
	if e.Did == "refused" || e.Who == "" && e.Remote == "" {
		log.Warn("at the console")
	} else {
		log.Info("at the console")
	}
	d.changed()
}

// Entries are the last lines, the newest first.
func (d *Desk) Entries(ctx context.Context, limit int) ([]Entry, error) {
	rows, err := d.DB.Read.QueryContext(ctx, `SELECT at, who, remote, did, of, reason, detail FROM desk_log ORDER BY id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, d.DB.Explain(err)
	}
	defer rows.Close()
	all := []Entry{}
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&at, &e.Who, &e.Remote, &e.Did, &e.Of, &e.Reason, &e.Detail); err != nil {
			return nil, d.DB.Explain(err)
		}
		e.At = timeOf(at)
		all = append(all, e)
	}
	return all, d.DB.Explain(rows.Err())
}
