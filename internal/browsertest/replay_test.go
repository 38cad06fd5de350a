package browsertest

import (
	"net/url"
	"testing"
)

func replayForty(t *testing.T, b *aBrowser, s *stage, seen *places) {
	v := b.visits(t, s.console, likes{})
	s.knows(t, known, unknown)
	v.goes("/dead-letters?" + url.Values{"code": {"UNKNOWN_MERCHANT"}, "mch_id": {unknown}}.Encode())
	v.sees("Y39")
	v.moves(func() { v.clicks("button", "Plan a replay of all of them") })
	v.sees("Send 40 requests again")
	seen.replay = v.at()
	v.shoots("3-plan")

	// Nothing is sent without a reason: the browser says so, and so does the console.
	v.clicks("button", "Send 40 requests again")
	if !evaluates[bool](v, `document.querySelector("main [name=reason]").matches(":invalid")`) {
		t.Error("a replay without a reason is none of the browser's business")
	}
	v.expects("/replay/start", 400)
	evaluates[bool](v, `(document.querySelector("main [name=reason]").removeAttribute("required"), true)`)
	v.moves(func() { v.clicks("button", "Send 40 requests again") })
	v.sees("reason")
	v.shoots("3-no-reason")

	v.goes(seen.replay)
	v.types("textbox", "Reason", "the merchant was not configured")
	v.types("spinbutton", "Rate", "20")
	v.moves(func() { v.clicks("button", "Send 40 requests again") })
	v.shoots("3-running")
	v.asked()
	v.waits("all forty are closed", `[...document.querySelectorAll("main tr, main dl > div, main dt")].some((e) => /closed\s+40\b/.test((e.matches("dt") ? e.innerText + " " + e.nextElementSibling.innerText : e.innerText)))`)
	v.sees("done")
	if again := v.asked(); len(again) > 0 {
		t.Errorf("the page asked again by itself: %q", again)
	}
	v.shoots("3-done")

	// The same letters again: none is sent.
	v.goes("/dead-letters?" + url.Values{"code": {"UNKNOWN_MERCHANT"}, "mch_id": {unknown}}.Encode())
	v.moves(func() { v.clicks("button", "Plan a replay of all of them") })
	v.sees("Nothing")
	v.misses("Send 40 requests again")
	v.shoots("3-again")
	v.goes("/log")
	v.sees("the merchant was not configured")
	v.shoots("3-log")
}

func isAnythingLost(t *testing.T, b *aBrowser, s *stage, seen *places) {
	is := likes{}
	if seen.replay == "" { // nobody has been here with scripts
		is.noScript = true
	}
	v := b.visits(t, s.console, is)
	v.goes("/audits")
	if !is.noScript {
		v.moves(func() { v.clicks("button", "Run an audit") })
	}
	v.sees("balances")
	v.shoots(is.name("4-audit"))
	v.moves(func() { v.clicks("link", "1") })
	seen.audit = v.at()
	v.sees("balances")
}
