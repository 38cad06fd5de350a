package console

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/desk"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/sirupsen/logrus"
)

// fakeIndex answers what it is told to, and remembers what it was asked.
type fakeIndex struct {
	progress index.Progress
	requests []index.Request // what Search finds, whatever is searched
	at       map[events.Source]index.Request
	places   *timeline.Places
	letters  index.Letters
	groups   []index.Group
	minutes  []index.Minute
	err      error

	mu       sync.Mutex
	version  uint64
	changed  chan struct{}
	filter   index.LetterFilter // of the last Letters
	by       index.By
	skip     int
	searched string
	rebuilt  int
}

func (x *fakeIndex) Progress(context.Context) (index.Progress, error) { return x.progress, x.err }

func (x *fakeIndex) Changed(ctx context.Context, after uint64) (uint64, error) {
	for {
		x.mu.Lock()
		if x.version > after {
			defer x.mu.Unlock()
			return x.version, nil
		}
		if x.changed == nil {
			x.changed = make(chan struct{})
		}
		wait := x.changed
		x.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// change makes another version.
func (x *fakeIndex) change() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.version++
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

func (x *fakeIndex) Rebuild() { x.rebuilt++ }

func (x *fakeIndex) Search(_ context.Context, text string, limit int) ([]index.Request, error) {
	x.searched = text
	return x.requests[:min(limit, len(x.requests))], x.err
}

func (x *fakeIndex) At(context.Context, []events.Source) (map[events.Source]index.Request, error) {
	return x.at, x.err
}

func (x *fakeIndex) Places(context.Context, events.Order) (*timeline.Places, error) {
	return x.places, x.err
}

func (x *fakeIndex) Letters(_ context.Context, f index.LetterFilter, limit, skip int) (index.Letters, error) {
	x.filter, x.skip = f, skip
	found := x.letters
	found.Letters = found.Letters[min(skip, len(found.Letters)):]
	found.Letters = append([]index.Letter{}, found.Letters[:min(limit, len(found.Letters))]...) // never nil, as the index
	return found, x.err
}

func (x *fakeIndex) Groups(_ context.Context, _ index.LetterFilter, by index.By, limit int) ([]index.Group, error) {
	x.by = by
	return append([]index.Group{}, x.groups[:min(limit, len(x.groups))]...), x.err // never nil, as the index
}

func (x *fakeIndex) Minutes(context.Context, time.Time, time.Time) ([]index.Minute, error) {
	return x.minutes, x.err
}

// fakeDesk holds what it is given, and remembers what it was told to do.
type fakeDesk struct {
	fakeIndex // for Changed

	replays []desk.Replay
	steps   []desk.Step
	audits  []desk.Audit
	entries []desk.Entry
	fails   error

	did   []string // start ID, pause ID, ...
	who   desk.Who
	wish  desk.Wish
	order desk.Order
	since time.Time
	read  int // how often Steps was asked
}

func (d *fakeDesk) do(who desk.Who, what string) error {
	d.who, d.did = who, append(d.did, what)
	return d.fails
}

func (d *fakeDesk) Plan(_ context.Context, who desk.Who, w desk.Wish) (desk.Replay, error) {
	d.wish = w
	return desk.Replay{ID: "replay-1", State: desk.Planning}, d.do(who, "plan")
}

func (d *fakeDesk) Start(_ context.Context, who desk.Who, id string, o desk.Order) error {
	d.order = o
	return d.do(who, "start "+id)
}

func (d *fakeDesk) Pause(_ context.Context, who desk.Who, id string) error {
	return d.do(who, "pause "+id)
}

func (d *fakeDesk) Resume(_ context.Context, who desk.Who, id string) error {
	return d.do(who, "resume "+id)
}

func (d *fakeDesk) Stop(_ context.Context, who desk.Who, id string) error {
	return d.do(who, "stop "+id)
}

func (d *fakeDesk) Replay(_ context.Context, id string) (desk.Replay, error) {
	for _, r := range d.replays {
		if r.ID == id {
			if r.Skipped == nil { // never with the desk
				r.Skipped = map[deadletters.Skip]int{}
			}
			return r, nil
		}
	}
	return desk.Replay{}, &desk.MissingError{What: "replay " + id}
}

func (d *fakeDesk) Replays(_ context.Context, limit int) ([]desk.Replay, error) {
	return d.replays[:min(limit, len(d.replays))], nil
}

func (d *fakeDesk) Steps(_ context.Context, _ string, limit, skip int) ([]desk.Step, error) {
	d.read++
	steps := d.steps[min(skip, len(d.steps)):]
	return steps[:min(limit, len(steps))], nil
}

func (d *fakeDesk) RunAudit(_ context.Context, who desk.Who, since time.Time) (desk.Audit, error) {
	d.since = since
	return desk.Audit{ID: 7}, d.do(who, "audit")
}

func (d *fakeDesk) Audit(_ context.Context, id int64) (desk.Audit, error) {
	for _, a := range d.audits {
		if id == 0 && a.Report != nil || id != 0 && a.ID == id {
			return a, nil
		}
	}
	return desk.Audit{}, &desk.MissingError{What: "audit"}
}

func (d *fakeDesk) Audits(_ context.Context, limit int) ([]desk.Audit, error) {
	return d.audits[:min(limit, len(d.audits))], nil
}

func (d *fakeDesk) Note(_ context.Context, who desk.Who, did, of, reason, detail string) error {
	return d.do(who, strings.TrimSpace(did+" "+of+" "+reason+" "+detail))
}

func (d *fakeDesk) Entries(_ context.Context, limit int) ([]desk.Entry, error) {
	return d.entries[:min(limit, len(d.entries))], nil
}

// fakeTopics answers in place of Kafka.
type fakeTopics struct {
	report *timeline.Report
	letter deadletters.Letter
	err    error
	scope  timeline.Scope // of the last order that was looked for
}

func (f *fakeTopics) order(_ context.Context, scope timeline.Scope) (*timeline.Report, error) {
	f.scope = scope
	return f.report, f.err
}

func (f *fakeTopics) at(context.Context, events.Source) (deadletters.Letter, error) {
	return f.letter, f.err
}

// fakes are all that a server stands on.
type fakes struct {
	index  fakeIndex
	desk   fakeDesk
	topics fakeTopics
	*Server
}

// newFakes makes a server on fakes. Who asks is what the headers X-User and X-Role
// say: see get and post.
func newFakes(t testing.TB) *fakes {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	db, err := database.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	guard, err := access.Open(t.Context(), access.Config{
		Header: "X-User", RoleHeader: "X-Role", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, // httptest's
		DB: db, Log: log, OnLogIn: func(context.Context, access.User, string, string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakes{}
	f.index.progress = index.Progress{CaughtUp: true, At: noon}
	s := New(Config{
		Index: &f.index, Desk: &f.desk, Guard: guard, Reader: &kafka.Reader{}, Topics: config.Default().Topics, Group: "closeorder",
		Build: "closeorder test", Log: log,
	})
	f.Server = s
	f.topics.report = &timeline.Report{}
	s.topics = &f.topics
	return f
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// get asks for a page as an operator; headers are names and values.
func (f *fakes) get(path string, headers ...string) *httptest.ResponseRecorder {
	return f.ask(httptest.NewRequest(http.MethodGet, path, nil), headers...)
}

// post sends a form as an operator does from the console's own pages.
func (f *fakes) post(path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return f.ask(r, headers...)
}

func (f *fakes) ask(r *http.Request, headers ...string) *httptest.ResponseRecorder {
	r.Header.Set("X-User", "wang")
	r.Header.Set("X-Role", string(access.Operator))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}
