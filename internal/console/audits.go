package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/moments"
)

// auditsDoc are the audits that were run here.
type auditsDoc struct {
	// Last is the newest that has a report, Running the one that runs.
	Last    *desk.Audit `json:"last,omitempty"`
	Running *desk.Audit `json:"running,omitempty"`
	// Audits are all of them, the newest first, without their findings.
	Audits []desk.Audit `json:"audits"`
}

func (s *Server) audits(ctx context.Context, _ *http.Request) (any, error) {
	found, err := s.cfg.Desk.Audits(ctx, mostReplays)
	if err != nil {
		return nil, err
	}
	d := auditsDoc{Audits: append([]desk.Audit{}, found...)}
	for i := range d.Audits {
		if d.Audits[i].Ended.IsZero() {
			running := d.Audits[i]
			d.Running = &running
			break
		}
	}
	switch last, err := s.cfg.Desk.Audit(ctx, 0); {
	case err == nil:
		d.Last = &last
	case !errors.As(err, new(*desk.MissingError)):
		return nil, err
	}
	return d, nil
}

// auditDoc is one audit. Its report is that of closeorder audit.
type auditDoc struct{ desk.Audit }

func (s *Server) audit(ctx context.Context, r *http.Request) (any, error) {
	text := r.URL.Query().Get("id")
	if text == "" {
		text = "0"
	}
	id, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return nil, &badError{"id: " + strconv.Quote(text) + " is no number of an audit"}
	}
	found, err := s.cfg.Desk.Audit(ctx, int64(id))
	return auditDoc{found}, err
}

// whole is how far back an audit goes that goes as far as the topics do.
const whole = "all"

func (s *Server) runAudit(_ http.ResponseWriter, r *http.Request) (string, error) {
	var since time.Time
	if text := r.PostForm.Get("since"); text != "" && text != whole {
		var ok bool
		if since, ok = moments.Parse(text, time.Now().UTC()); !ok {
			return "", &badError{(&moments.Error{Name: "since", Text: text, Local: "UTC"}).Error()}
		}
	}
	run, err := s.cfg.Desk.RunAudit(r.Context(), who(r), since)
	if err != nil {
		return "", err
	}
	return link("/audit", "id", run.ID)
}

// auditRow is a number of a report, with what it means.
type auditRow struct {
	Name  string
	Count int64
	// Bad: it is wrong that there is one; Warn: it is to be looked at.
	Bad, Warn bool
	Note      string
	Oldest    time.Time
}

// balance are the numbers that add up to the requests, those that must be there
// first; of the others those that are not zero.
func balance(r *audit.Report) []auditRow {
	rows := []auditRow{
		{Name: "closed", Count: r.Closed}, {Name: "paid", Count: r.Paid}, {Name: "failed", Count: r.Failed},
		{Name: "waiting", Count: r.Waiting, Oldest: r.OldestWaiting}, {Name: "in_flight", Count: r.InFlight, Oldest: r.OldestInFlight},
		{Name: "holes", Count: r.Holes, Bad: r.Holes > 0},
	}
	for _, row := range []auditRow{
		{Name: "republished", Count: r.Republished, Warn: true}, {Name: "unproven", Count: r.Unproven, Warn: true},
	} {
		if row.Count > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// beside are the numbers that are no part of the sum.
func beside(r *audit.Report) (rows []auditRow) {
	for _, row := range []auditRow{
		{Name: "contradictions", Count: r.Contradictions, Bad: true}, {Name: "misnamed", Count: r.Misnamed, Bad: true},
		{Name: "deleted_unread", Count: r.DeletedUnread, Bad: true}, {Name: "unreadable_offsets", Count: r.UnreadableOffsets, Bad: true},
		{Name: "duplicates", Count: r.Duplicates, Bad: r.ExactlyOnce}, {Name: "duplicates_that_differ", Count: r.DuplicatesThatDiffer, Bad: r.ExactlyOnce, Warn: true},
		{Name: "closed_then_paid", Count: r.ClosedThenPaid, Warn: true}, {Name: "replays", Count: r.Replays},
		{Name: "failed_superseded", Count: r.FailedSuperseded}, {Name: "dead_letters", Count: r.DeadLetters},
		{Name: "dead_letters_repeated", Count: r.DeadLettersRepeated, Bad: r.ExactlyOnce},
		{Name: "dead_letters_without_outcome", Count: r.DeadLettersWithoutOutcome, Bad: true},
		{Name: "dead_letters_answered", Count: r.DeadLettersAnswered},
		{Name: "outside_range", Count: r.OutcomesWithoutRequest.OutsideRange}, {Name: "beyond_retention", Count: r.OutcomesWithoutRequest.BeyondRetention},
		{Name: "foreign", Count: r.OutcomesWithoutRequest.Foreign, Warn: true}, {Name: "unreadable", Count: r.Unreadable, Warn: true},
	} {
		if row.Count > 0 || row.Name == "contradictions" || row.Name == "dead_letters" {
			row.Bad, row.Warn = row.Bad && row.Count > 0, row.Warn && row.Count > 0
			rows = append(rows, row)
		}
	}
	return rows
}

// mostEntries is how many lines of the log a page shows.
const mostEntries = 500

// logDoc is who did what, the newest first.
type logDoc struct {
	Entries []desk.Entry `json:"entries"`
	// More: there are older ones.
	More bool `json:"more"`
}

func (s *Server) log(ctx context.Context, _ *http.Request) (any, error) {
	found, err := s.cfg.Desk.Entries(ctx, mostEntries+1)
	if err != nil {
		return nil, err
	}
	d := logDoc{Entries: []desk.Entry{}, More: len(found) > mostEntries}
	d.Entries = append(d.Entries, found[:min(len(found), mostEntries)]...)
	return d, nil
}

// rebuild has the index made again.
func (s *Server) rebuild(_ http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.cfg.Desk.Note(r.Context(), who(r), "rebuild", "", "", ""); err != nil {
		return "", err
	}
	s.cfg.Index.Rebuild()
	return "/search", nil
}

// who asks, for the desk.
func who(r *http.Request) desk.Who {
	u := access.UserOf(r.Context())
	return desk.Who{Name: u.Name, Remote: u.Remote}
}
