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
	says   bool // what the gateway said in its own words, and what to do next
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
	// Next says what to do, of an order that is closed and not safe to reissue.
	Next string `json:"next,omitempty"`
}

// nextNotSafe is what to do about an order that is closed and not safe to reissue
// (docs/contract.md, "What to do").
const nextNotSafe = "nothing is payable now, but a create call may still arrive: issue no new number while one can be on its way " +
	"(gateway.settle_age after it was sent, 1m unless set), then ask again under a new request_id; with order_created_at in the request it can be told for good"

func (p *outcomePrinter) print(o events.Outcome) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		line := outcomeLine{ID: o.ID, Outcome: o}
		if p.says && closedNotSafe(o) {
			line.Next = nextNotSafe
		}
		return p.app.jsonLines().Encode(line)
	}
	if err := p.begin(); err != nil {
		return err
	}
	reissue := "no"
	if o.SafeToReissue {
		reissue = "safe"
	}
	err := p.table.row(
		p.paint.in(faint, o.CompletedAt.Local().Format(p.layout)),
		p.paint.result(o.Result, string(o.Result)),
		orDash(o.OutTradeNo), orDash(o.MchID), orDash(o.Code), reissue, strconv.Itoa(o.Attempts), cell(p.note(o)),
	)
	if err == nil && p.says && closedNotSafe(o) {
		_, err = fmt.Fprintf(p.app.stdout, "  %s %s\n", p.paint.in(yellow, "next:"), nextNotSafe)
	}
	return err
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
	if words := gatewayWords(o); p.says && words != "" {
		note = join(note, "gateway: "+words)
	}
	return note
}

// gatewayWords are what the gateway said for people, as far as the message does not
// have it already: err_code_des, or return_msg, which is OK where nothing is wrong.
func gatewayWords(o events.Outcome) string {
	if o.Gateway == nil {
		return ""
	}
	words := o.Gateway.ErrCodeDes
	if words == "" && !strings.EqualFold(o.Gateway.ReturnMsg, "OK") {
		words = o.Gateway.ReturnMsg
	}
	if strings.Contains(o.Message, words) {
		return ""
	}
	return words
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
