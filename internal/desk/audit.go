package desk

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/internal/audit"
)

// Audit is a run of audit. As JSON its names are stable.
type Audit struct {
	ID    int64     `json:"id"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"` // of the requests, as audit --since
	Began time.Time `json:"began_at"`
	Ended time.Time `json:"ended_at,omitzero"` // zero while it runs
	Read  int64     `json:"read"`
	// ToRead is about how many records there are to read.
	ToRead int64 `json:"to_read"`
	// Trouble is why there is no report, or none so far.
	Trouble string        `json:"trouble,omitempty"`
	Report  *audit.Report `json:"report,omitempty"`
}

const (
	// mostFindings of each kind are listed, as the command lists them.
	mostFindings = 100
	// mostAudits are kept, and the reports of the last mostReports of them.
	mostAudits, mostReports = 1000, 20
)

// RunAudit begins an audit; where one runs, that one is returned.
func (d *Desk) RunAudit(ctx context.Context, who Who, since time.Time) (Audit, error) {
	var id int64
	var e *Entry
	err := d.DB.Transact(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM desk_audits WHERE ended = 0`).Scan(&id)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		added, err := tx.ExecContext(ctx, `INSERT INTO desk_audits (by, since, began) VALUES (?, ?, ?)`, who.by(), moment(since), moment(time.Now()))
		if err != nil {
			return err
		}
		if id, err = added.LastInsertId(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM desk_audits WHERE id <= ?`, id-mostAudits); err != nil {
			return err
		}
		said := entry(who, "audit", strconv.FormatInt(id, 10), "", "")
		if !since.IsZero() {
			said.Detail = "since " + since.UTC().Format(time.RFC3339)
		}
		e = &said
		return d.note(ctx, tx, said)
	})
	if err != nil {
		return Audit{}, err
	}
	if e != nil {
		d.log(*e)
		d.begin()
	}
	return d.Audit(ctx, id)
}

// audit runs one.
func (d *Desk) audit(ctx context.Context, j *job, id string) error {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return err
	}
	a, err := d.Audit(context.WithoutCancel(ctx), number)
	if err != nil {
		return err
	}
	report, failure := d.report(ctx, j, a.Since)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the console ends: the next one says so
	}
	var text *string
	trouble := ""
	var b []byte
	if failure == nil {
		// It may hold a time of a record that JSON cannot: beyond the year 9999.
		if b, failure = json.Marshal(report); failure != nil {
			failure = fmt.Errorf("the report cannot be kept: %w; closeorder audit prints it", failure)
		}
	}
	if failure != nil {
		trouble = failure.Error()
	} else {
		s := string(b)
		text = &s
	}
	return d.writeAnyway(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE desk_audits SET ended = ?, read = ?, to_read = ?, trouble = ?, report = ? WHERE id = ?`,
			moment(time.Now()), j.read.Load(), j.toRead.Load(), trouble, text, number); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE desk_audits SET report = NULL WHERE report IS NOT NULL AND id NOT IN (SELECT id FROM desk_audits WHERE report IS NOT NULL ORDER BY id DESC LIMIT ?)`, mostReports)
		return err
	})
}

// report is what the command reports.
func (d *Desk) report(ctx context.Context, j *job, since time.Time) (*audit.Report, error) {
	reader, done := d.reads(j)
	defer done()
	snapshot, err := audit.Take(ctx, audit.Scope{Reader: reader, Group: d.Group, Topics: d.Topics, Since: since})
	if err != nil {
		return nil, err
	}
	j.toRead.Store(snapshot.Records())
	report, err := snapshot.Audit(ctx, audit.Options{Limit: mostFindings, ExactlyOnce: d.ExactlyOnce, OnRead: func(n int) { j.hasRead(n, d) }})
	if err != nil {
		return nil, err
	}
	if err := snapshot.CheckGroup(ctx, report); err != nil {
		return nil, err
	}
	snapshot.NoteGroup(ctx, report)
	return report, nil
}

const selectAudits = `SELECT id, by, since, began, ended, read, to_read, trouble, report FROM desk_audits`

func (d *Desk) auditOf(row row) (a Audit, err error) {
	var since, began, ended int64
	var report *string
	if err := row.Scan(&a.ID, &a.By, &since, &began, &ended, &a.Read, &a.ToRead, &a.Trouble, &report); err != nil {
		return a, err
	}
	a.Since, a.Began, a.Ended = timeOf(since), timeOf(began), timeOf(ended)
	if report != nil {
		if err := json.Unmarshal([]byte(*report), &a.Report); err != nil {
			return a, fmt.Errorf("audit %d: its report: %w", a.ID, err)
		}
	}
	if j := d.job(strconv.FormatInt(a.ID, 10)); j != nil && a.Ended.IsZero() {
		a.Read, a.ToRead, a.Trouble = j.read.Load(), j.toRead.Load(), d.trouble(j)
	}
	return a, nil
}

// Audit returns one; 0 is the newest that has a report. A *MissingError where there is none.
func (d *Desk) Audit(ctx context.Context, id int64) (Audit, error) {
	q, what := selectAudits+` WHERE id = ?`, fmt.Sprintf("audit %d", id)
	if id == 0 {
		q, what = selectAudits+` WHERE report IS NOT NULL AND id > ? ORDER BY id DESC LIMIT 1`, "audit with a report"
	}
	a, err := d.auditOf(d.DB.Read.QueryRowContext(ctx, q, id))
	return a, d.DB.Explain(notFound(err, what))
}

// Audits are the last ones, the newest first, without their findings.
func (d *Desk) Audits(ctx context.Context, limit int) ([]Audit, error) {
	rows, err := d.DB.Read.QueryContext(ctx, selectAudits+` ORDER BY id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, d.DB.Explain(err)
	}
	defer rows.Close()
	all := []Audit{}
	for rows.Next() {
		a, err := d.auditOf(rows)
		if err != nil {
			return nil, d.DB.Explain(err)
		}
		if a.Report != nil {
			a.Report.Findings = nil
		}
		all = append(all, a)
	}
	return all, d.DB.Explain(rows.Err())
}
