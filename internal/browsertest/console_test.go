// Package browsertest drives the built command in a real browser: what a person does
// at closeorder console. An order is found by keyboard alone, pages are read without
// scripts, and each is looked at in English by day and in Chinese by night. What the
// pages say is checked where they are made; here it is whether a person gets there.
package browsertest

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestConsole tells stories of one deployment, one after the other: what one has done
// the next ones find.
func TestConsole(t *testing.T) {
	b := browserFor(t)
	s := begin(t)
	s.asks(t, known, "out_trade_no,reason,request_id\nLIMIT1,payment_timeout,put-off\n")
	s.asks(t, known, "out_trade_no,reason,request_id\nT1,payment_failed,find-me\nPAID1,payment_timeout,paid-one\nT2,payment_failed,another\n", "--wait")
	var forty strings.Builder
	forty.WriteString("out_trade_no,reason\n")
	for i := range 40 {
		fmt.Fprintf(&forty, "Y%02d,payment_failed\n", i)
	}
	s.asks(t, unknown, forty.String())

	// A browser context costs about a second of processor time: so there are few people.
	person, colleague := b.visits(t, s.console, likes{}), b.visits(t, s.console, likes{})
	seen := &places{}
	tell := func(t *testing.T, v *visitor, name string, story func(*visitor)) {
		t.Run(name, func(t *testing.T) { v.in(t, story) })
	}
	tell(t, person, "find an order", findAnOrder)
	tell(t, person, "an order that waits is answered as one watches", watchAnOrder)
	tell(t, person, "why do the requests of a merchant fail", func(v *visitor) { whyTheyFail(v, colleague, seen) })
	tell(t, person, "what is ticked stays ticked while more requests fail", func(v *visitor) { staysTicked(v, s, seen) })
	tell(t, person, "replay forty dead letters and watch them close", func(v *visitor) { replayForty(v, s, seen) })
	tell(t, person, "is anything lost", func(v *visitor) { isAnythingLost(v, seen) })
	t.Run("without scripts", func(t *testing.T) {
		reader, another := b.visits(t, s.console, likes{noScript: true}), b.visits(t, s.console, likes{noScript: true})
		tell(t, reader, "find an order", findAnOrder)
		tell(t, reader, "why do the requests of a merchant fail", func(v *visitor) { whyTheyFail(v, another, &places{}) })
		tell(t, reader, "is anything lost", func(v *visitor) { isAnythingLost(v, &places{}) })
	})
	tell(t, person, "the console is killed, and goes on where it was", func(v *visitor) { comesBack(v, s) })
	t.Run("who may come in", func(t *testing.T) { logIn(t, b, s) })
	t.Run("every page is fit for everybody", func(t *testing.T) { everyPage(t, b, s, person, seen) })
}

// places are pages that stories have come to, for those that look at all of them.
type places struct{ letter, plan, replay, audit string }

// name is one for a screenshot.
func (is likes) name(of string) string {
	if is.noScript {
		return of + "-without-scripts"
	}
	return of
}

func findAnOrder(v *visitor) {
	v.goes("/")
	if v.is.noScript {
		v.types("searchbox", "Order", "T1")
	} else {
		v.presses("/")
		v.presses("T1")
	}
	v.moves(func() { v.presses(kb.Enter) })
	v.sees("T1", known)
	v.shoots(v.is.name("1-search"))
	// By keyboard alone, too: the hit is a link that Tab comes to.
	for range 60 {
		v.presses(kb.Tab)
		if evaluates[bool](v, `document.activeElement.matches("main a") && document.activeElement.textContent.trim() === "T1"`) {
			break
		}
	}
	v.moves(func() { v.presses(kb.Enter) })
	v.sees("T1", "closed", "SUCCESS")
	if at := v.at(); !strings.HasPrefix(at, "/order?") || !strings.Contains(at, "out_trade_no=T1") {
		v.t.Errorf("the hit leads to %s", at)
	}
	v.shoots(v.is.name("1-order"))
	for _, by := range []struct{ what, finds string }{{"paid-one", "PAID1"}, {"find-me", "T1"}} {
		v.types("searchbox", "Order", by.what)
		v.follows("button", "Find")
		v.sees(by.finds)
	}
	v.types("searchbox", "Order", "NOT-HERE")
	v.follows("button", "Find")
	v.sees("Nothing was found", "NOT-HERE")
	v.shoots(v.is.name("1-nothing-found"))
}

func watchAnOrder(v *visitor) {
	v.goes("/order?out_trade_no=LIMIT1")
	v.asked()
	v.sees("paid")
	v.shoots("1-order-answered")
	// One that watches asks for the page's events, and for nothing else.
	if again := v.asked(); len(again) > 1 || len(again) == 1 && again[0] != "GET /order?out_trade_no=LIMIT1" {
		v.t.Errorf("the page asked again by itself: %q", again)
	}
	// The transaction that the gateway named finds it, too.
	id := regexp.MustCompile(`\b4200\d{20,}\b`).FindString(v.text())
	if id == "" {
		v.t.Fatalf("the order page names no transaction:\n%s", v.text())
	}
	v.types("searchbox", "Order", id)
	v.follows("button", "Find")
	v.sees("LIMIT1")
}

func whyTheyFail(v, colleague *visitor, seen *places) {
	v.goes("/")
	v.sees("UNKNOWN_MERCHANT")
	v.shoots(v.is.name("2-now"))
	v.follows("link", "UNKNOWN_MERCHANT")
	v.sees("UNKNOWN_MERCHANT")
	v.shoots(v.is.name("2-dead-letters"))
	v.types("textbox", "mch_id", unknown)
	v.moves(func() { v.presses(kb.Enter) })
	at := v.at()
	if u, err := url.Parse(at); err != nil || u.Query().Get("mch_id") != unknown || u.Query().Get("code") != "UNKNOWN_MERCHANT" {
		v.t.Errorf("the filter does not stand in the address: %s", at)
	}
	v.sees("40 dead letters", "Y07")
	shown := v.text()

	// A colleague gets the address, and sees the same.
	colleague.in(v.t, func(c *visitor) {
		c.goes(at)
		c.sees("Y07")
		if first, second := orders(shown), orders(c.text()); first != second {
			c.t.Errorf("the address shows\n%s\nand to another\n%s", first, second)
		}
		c.goes("/search") // which follows nothing
	})

	v.follows("link", "Y07")
	v.sees("failed")
	v.follows("link", v.named("link", `^dead letter \d+:\d+$`))
	v.sees("UNKNOWN_MERCHANT", "Y07", unknown)
	if !v.is.noScript {
		v.sees("What to do:", "merchants file")
	}
	v.shoots(v.is.name("2-dead-letter"))
	seen.letter = v.at()
}

// orders are the numbers of the unknown merchant's orders in a text, as they follow
// each other.
func orders(text string) string {
	return strings.Join(regexp.MustCompile(`\bY\d\d\b`).FindAllString(text, -1), " ")
}

// staysTicked has more letters come in while somebody chooses.
func staysTicked(v *visitor, s *stage, seen *places) {
	v.goes("/dead-letters?code=UNKNOWN_MERCHANT")
	box := v.named("checkbox", `^Dead letter \d+:\d+$`)
	v.clicks("checkbox", box)
	ticked := `[...document.querySelectorAll("main input[name=at]:checked")].map((e) => e.value).join()`
	before := evaluates[string](v, ticked)
	if !strings.HasSuffix(box, before) || before == "" {
		v.t.Fatalf("a click on %s ticks %q", box, before)
	}
	s.asks(v.t, other, "out_trade_no,reason\nZ1,payment_failed\n")
	v.sees("Z1")
	if after := evaluates[string](v, ticked); after != before {
		v.t.Errorf("%s was ticked, and when another letter came %s", before, after)
	}
	if focus := evaluates[string](v, `document.activeElement.value ?? ""`); focus != before {
		v.t.Errorf("the focus was on %s, and when another letter came on %q", before, focus)
	}
	v.follows("button", "Plan a replay of those that are ticked")
	v.sees("1 of 1 requests would be sent again")
	seen.plan = v.at()
}

// comesBack kills the console under somebody who looks at it.
func comesBack(v *visitor, s *stage) {
	v.goes("/replays")
	v.sees("done", "live")
	v.losesTheConsole(true)
	s.process.kill()
	v.sees("The connection is lost", "done")
	v.shoots("5-connection-lost")
	s.opensAgain()
	v.waits("live again", `document.getElementById("live").textContent === "live"`)
	v.losesTheConsole(false)
	v.sees("done")
	v.follows("link", "Log")
	v.sees("the merchant was not configured")
}
