package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
)

// outcomePrinter prints outcomes as they come: rows of a table, or JSON lines.
// It is safe for concurrent use.
type outcomePrinter struct {
	mu     sync.Mutex
	app    *app
	json   bool
	paint  paint
	layout string // of the time
	table  table
	begun  bool
}

func (a *app) outcomePrinter(asJSON bool, layout string) *outcomePrinter {
	// Rows come one at a time, so that the widths are those of what can come:
	// an out_trade_no has up to 32 characters.
	return &outcomePrinter{
		app: a, json: asJSON, paint: a.paint(a.stdout), layout: layout,
		table: table{out: a.stdout, widths: []int{len(layout), 7, 32, 10, 18, 7, 5}},
	}
}

// outcomeLine is an outcome as a JSON line: the document on the topic, with
// its event id.
type outcomeLine struct {
	ID string `json:"id,omitempty"`
	events.Outcome
}

func (p *outcomePrinter) print(o events.Outcome) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		return p.app.jsonLines().Encode(outcomeLine{o.ID, o})
	}
	if err := p.begin(); err != nil {
		return err
	}
	reissue := "no"
	if o.SafeToReissue {
		reissue = "safe"
	}
	return p.table.row(
		p.paint.in(faint, o.CompletedAt.Local().Format(p.layout)),
		p.paint.result(o.Result, string(o.Result)),
		orDash(o.OutTradeNo), orDash(o.MchID), orDash(o.Code), reissue, strconv.Itoa(o.Attempts), cell(p.note(o)),
	)
}

// printLater prints a request that was put off: no outcome, but what becomes
// of it. It has no JSON.
func (p *outcomePrinter) printLater(r records.Retry, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		return
	}
	_ = p.begin()                              // an outcome tells of a failure
	req, _ := events.DecodeRequest(r.Original) // what can be read of it
	_ = p.table.row(
		p.paint.in(faint, at.Local().Format(p.layout)), p.paint.in(faint, "later"),
		orDash(req.OutTradeNo), orDash(req.MchID), orDash(r.Code), "-", strconv.Itoa(r.Calls),
		cell(join("due at "+r.DueAt.Local().Format(time.TimeOnly), r.Reason)),
	)
}

// begin prints the head of the table, once.
func (p *outcomePrinter) begin() error {
	if p.begun {
		return nil
	}
	p.begun = true
	return p.table.row(p.paint.heads("TIME", "OUTCOME", "OUT_TRADE_NO", "MCH_ID", "CODE", "REISSUE", "CALLS", "NOTE")...)
}

// note is the rest of an outcome in few words.
func (p *outcomePrinter) note(o events.Outcome) string {
	note := o.Message
	if g := o.Gateway; g != nil && g.TransactionID != "" {
		note = join(note, "transaction "+g.TransactionID)
	}
	if o.Replay > 0 {
		note = join(note, fmt.Sprintf("replay %d", o.Replay))
	}
	return note
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// orDash is the cell of a text that may be missing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return cell(s)
}

// codes lists counts by code, the most frequent first.
func codes(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", cell(name), counts[name])
	}
	return strings.Join(names, ", ")
}
