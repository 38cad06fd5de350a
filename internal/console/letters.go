package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/closeorder/closeorder/internal/remedies"
)

const (
	// rowsOfPage is how many dead letters, or steps, a page shows.
	rowsOfPage = 100
	// mostGroups is how many groups it shows.
	mostGroups = 50
)

// lettersDoc is a view of the dead letters.
type lettersDoc struct {
	Filter letterFilter `json:"filter"`
	// Problems are values of the filter that make no sense; the others count.
	Problems []string      `json:"problems,omitempty"`
	Groups   []index.Group `json:"groups"`
	index.Letters
	paging

	asked url.Values
}

// letterFilter is a filter as it is understood, for addresses and forms.
type letterFilter struct {
	Codes      []string  `json:"codes,omitempty"`
	MchID      string    `json:"mch_id,omitempty"`
	OutTradeNo string    `json:"out_trade_no,omitempty"`
	Since      time.Time `json:"since,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	Open       bool      `json:"open,omitempty"`
	By         index.By  `json:"by,omitempty"`
}

func (f *letterFilter) filter() deadletters.Filter {
	return deadletters.Filter{Codes: f.Codes, MchID: f.MchID, OutTradeNo: f.OutTradeNo, Since: f.Since, Until: f.Until}
}

// paging is where in a list a page is.
type paging struct {
	// Page counts from 1 on, of Pages.
	Page  int `json:"page"`
	Pages int `json:"pages"`
}

// Before and After are the pages beside it, 0 where there is none.
func (p paging) Before() int { return p.Page - 1 }

// After is the next page, 0 for none.
func (p paging) After() int {
	if p.Page >= p.Pages {
		return 0
	}
	return p.Page + 1
}

func (p paging) skip() int { return (p.Page - 1) * rowsOfPage }

// of sets the number of pages.
func (p *paging) of(rows int64) { p.Pages = max(1, int((rows+rowsOfPage-1)/rowsOfPage)) }

// mostPages bounds the number of a page that can be asked for.
const mostPages = 1_000_000

func readPage(q url.Values) (paging, error) {
	text := q.Get("page")
	if text == "" {
		return paging{Page: 1}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostPages {
		return paging{Page: 1}, fmt.Errorf("page: %q is no number from 1 to %d", text, mostPages)
	}
	return paging{Page: n}, nil
}

// mostCodes is how many codes a filter can name; there are some forty.
const mostCodes = 500

// readFilter reads a filter of an address or a form. The error names each value that
// makes no sense; what is returned is the rest.
func readFilter(q url.Values, now time.Time) (f letterFilter, err error) {
	var wrong []error
codes:
	for _, codes := range q["code"] {
		for code := range strings.SplitSeq(codes, ",") {
			if len(f.Codes) == mostCodes {
				break codes
			}
			if code = strings.TrimSpace(code); code != "" && !slices.Contains(f.Codes, code) {
				f.Codes = append(f.Codes, code)
			}
		}
	}
	if len(f.Codes) == mostCodes {
		wrong = append(wrong, fmt.Errorf("code: %d are named, or more; leave some out", mostCodes))
	}
	f.MchID, f.OutTradeNo = strings.TrimSpace(q.Get("mch_id")), strings.TrimSpace(q.Get("out_trade_no"))
	for _, bound := range []struct {
		name string
		to   *time.Time
	}{{"since", &f.Since}, {"until", &f.Until}} {
		text := strings.TrimSpace(q.Get(bound.name))
		if text == "" {
			continue
		}
		t, ok := moments.Parse(text, now.UTC())
		if !ok {
			wrong = append(wrong, &moments.Error{Name: bound.name, Text: text, Local: "UTC"})
			continue
		}
		*bound.to = t.UTC()
	}
	if !f.Until.IsZero() && !f.Since.Before(f.Until) {
		wrong = append(wrong, fmt.Errorf("since is not before until: nothing lies between %s and %s", q.Get("since"), q.Get("until")))
	}
	switch open := q.Get("open"); open {
	case "", "0":
	case "1":
		f.Open = true
	default:
		wrong = append(wrong, fmt.Errorf("open: %q is neither 0 nor 1", open))
	}
	switch by := index.By(q.Get("by")); by {
	case "", index.ByCode:
		f.By = index.ByCode
	case index.ByMerchant, index.ByBoth, index.ByDay:
		f.By = by
	default:
		f.By = index.ByCode
		wrong = append(wrong, fmt.Errorf("by: %q is none of code, merchant, code_and_merchant, day", by))
	}
	return f, errors.Join(wrong...)
}

// nameable reports whether a filter in an address can name a value: whether readFilter
// reads that back. It takes blanks off, parts codes at commas, and what is empty
// chooses all.
func nameable(name, value string) bool {
	return value != "" && value == strings.TrimSpace(value) && (name != "code" || !strings.Contains(value, ","))
}

// lines are the errors in one that was joined.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// letters lists dead letters, in groups and one by one.
func (s *Server) letters(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	d := lettersDoc{asked: q}
	var wrong, wrongPage error
	d.Filter, wrong = readFilter(q, time.Now())
	d.paging, wrongPage = readPage(q)
	d.Problems = lines(errors.Join(wrong, wrongPage))
	f := index.LetterFilter{Filter: d.Filter.filter(), Open: d.Filter.Open}
	var err error
	if d.Groups, err = s.cfg.Index.Groups(ctx, f, d.Filter.By, mostGroups+1); err != nil {
		return nil, err
	}
	if d.Letters, err = s.cfg.Index.Letters(ctx, f, rowsOfPage, d.skip()); err != nil {
		return nil, err
	}
	d.of(d.Total)
	return d, nil
}

// ShownGroups are those that the page shows, MoreGroups that there are more.
func (d lettersDoc) ShownGroups() []index.Group { return d.Groups[:min(len(d.Groups), mostGroups)] }

// MoreGroups reports whether there are more groups than are shown.
func (d lettersDoc) MoreGroups() bool { return len(d.Groups) > mostGroups }

// Asked is a value of the address as it was given.
func (d lettersDoc) Asked(name string) string { return strings.Join(d.asked[name], ",") }

// Largest is the count of the largest group.
func (d lettersDoc) Largest() (n int64) {
	for _, g := range d.Groups {
		n = max(n, g.Count)
	}
	return n
}

// Narrowed reports whether the view leaves dead letters out.
func (d lettersDoc) Narrowed() bool {
	f := d.Filter
	return len(f.Codes) > 0 || f.MchID != "" || f.OutTradeNo != "" || !f.Since.IsZero() || !f.Until.IsZero() || f.Open || len(d.Problems) > 0
}

// Since and Until are the bounds as moments, so that a plan is of what was seen.
func (d lettersDoc) Since() string { return d.Filter.Since.Format(time.RFC3339Nano) }

// Until is where the view ends.
func (d lettersDoc) Until() string { return d.Filter.Until.Format(time.RFC3339Nano) }

// GroupName names a group.
func (d lettersDoc) GroupName(g index.Group) string {
	switch d.Filter.By {
	case index.ByDay:
		return dash(g.Day)
	case index.ByMerchant:
		return dash(g.MchID)
	case index.ByBoth:
		return dash(g.Code) + " · " + dash(g.MchID)
	}
	return dash(g.Code)
}

// With is this view with other values in its address: names and values; an empty
// value takes the name out. It begins with its first page.
func (d lettersDoc) With(pairs ...any) (string, error) {
	q := url.Values{}
	for name, values := range d.asked {
		if slices.Contains([]string{"code", "mch_id", "out_trade_no", "since", "until", "open", "by"}, name) {
			q[name] = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, value := fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])
		if q.Del(name); value != "" {
			q.Set(name, value)
		}
	}
	if encoded := q.Encode(); encoded != "" {
		return "/dead-letters?" + encoded, nil
	}
	return "/dead-letters", nil
}

// Narrow is this view of one group alone, empty where no filter can name it.
func (d lettersDoc) Narrow(g index.Group) (string, error) {
	switch d.Filter.By {
	case index.ByDay:
		day, err := time.Parse(time.DateOnly, g.Day)
		if err != nil {
			return "", nil //nolint:nilerr // what is no day has no address
		}
		since, until := day, day.AddDate(0, 0, 1)
		if d.Filter.Since.After(since) {
			since = d.Filter.Since
		}
		if !d.Filter.Until.IsZero() && d.Filter.Until.Before(until) {
			until = d.Filter.Until
		}
		return d.With("since", since.Format(time.RFC3339Nano), "until", until.Format(time.RFC3339Nano))
	case index.ByMerchant:
		if nameable("mch_id", g.MchID) {
			return d.With("mch_id", g.MchID)
		}
	case index.ByBoth:
		if nameable("code", g.Code) && nameable("mch_id", g.MchID) {
			return d.With("code", g.Code, "mch_id", g.MchID)
		}
	case index.ByCode:
		if nameable("code", g.Code) {
			return d.With("code", g.Code)
		}
	}
	return "", nil
}

// letterDoc is a dead letter as "deadletters show --json" prints it, and what is to be
// done about it.
type letterDoc struct {
	Topic string `json:"topic"`
	deadletters.Whole
	Remedy string `json:"remedy,omitempty"`
	// OutcomeSince is the final outcome of the same request by now, as the index knows it.
	OutcomeSince events.Result `json:"since,omitempty"`
	SinceReplay  int           `json:"since_replay,omitempty"`
}

// letter shows one dead letter, whole.
func (s *Server) letter(ctx context.Context, r *http.Request) (any, error) {
	at, err := parsePlace(r.URL.Query().Get("at"))
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	l, err := s.topics.at(within, at)
	switch {
	case errors.As(err, new(*deadletters.MissingError)):
		return nil, &notFoundError{err.Error()}
	case err != nil && within.Err() != nil && ctx.Err() == nil:
		return nil, &awayError{"to read the dead letter", err}
	case err != nil:
		return nil, err
	}
	d := letterDoc{Topic: s.cfg.Topics.DeadLetters, Whole: l.Whole()}
	if d.Problem == "" {
		d.Remedy = remedies.For(d.Code)
	}
	return d, s.since(ctx, &d)
}

// since finds what became of the request of a dead letter.
func (s *Server) since(ctx context.Context, d *letterDoc) error {
	found, err := s.cfg.Index.Letters(ctx, index.LetterFilter{Filter: deadletters.Filter{
		MchID: d.MchID, OutTradeNo: d.OutTradeNo, Since: d.FailedAt, Until: d.FailedAt.Add(time.Nanosecond),
	}}, rowsOfPage, 0)
	if err != nil {
		return err
	}
	for _, l := range found.Letters {
		if l.Partition == d.Partition && l.Offset == d.Offset {
			d.OutcomeSince, d.SinceReplay = l.Since, l.SinceReplay
		}
	}
	return nil
}

// parsePlace reads PARTITION:OFFSET.
func parsePlace(s string) (events.Source, error) {
	partition, offset, ok := strings.Cut(s, ":")
	p, err1 := strconv.ParseUint(partition, 10, 31)
	o, err2 := strconv.ParseUint(offset, 10, 63)
	if !ok || err1 != nil || err2 != nil {
		return events.Source{}, &badError{fmt.Sprintf("at: %q is not PARTITION:OFFSET, such as 2:17", s)}
	}
	return events.Source{Partition: int(p), Offset: int64(o)}, nil
}

// Bytes are those of a key, a value or a header, as a document has them.
type Bytes struct {
	Null   bool
	Text   string // what is no text in it is escaped
	Length int
	// Pretty is the same as a document of JSON is set, empty where it is none.
	Pretty string
}

func bytesOf(text, coded *string) Bytes {
	var b []byte
	switch {
	case text != nil:
		b = []byte(*text)
	case coded != nil:
		b, _ = base64.StdEncoding.DecodeString(*coded) // of a document that was made here
	default:
		return Bytes{Null: true}
	}
	all := Bytes{Text: string(visible(b)), Length: len(b)}
	var pretty bytes.Buffer
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Indent(&pretty, trimmed, "", "  ") == nil {
		if text := string(visible(pretty.Bytes())); text != all.Text {
			all.Pretty = text
		}
	}
	return all
}

// KeyBytes are those of the key.
func (d letterDoc) KeyBytes() Bytes { return bytesOf(d.Key, d.KeyBase64) }

// ValueBytes are those of the value.
func (d letterDoc) ValueBytes() Bytes { return bytesOf(d.Value, d.ValueBase64) }

// HeaderBytes are those of a header.
func (d letterDoc) HeaderBytes(h deadletters.ListedHeader) Bytes {
	return bytesOf(h.Value, h.ValueBase64)
}

// At is its place, as commands take it.
func (d letterDoc) At() string { return place(d.Partition, d.Offset) }
