package browsertest

import "net/url"

func replayForty(v *visitor, s *stage, seen *places) {
	s.knows(v.t, known, unknown)
	letters := "/dead-letters?" + url.Values{"code": {"UNKNOWN_MERCHANT"}, "mch_id": {unknown}}.Encode()
	v.goes(letters)
	v.sees("Y07")
	v.follows("button", "Plan a replay of all 40")
	v.sees("40 of 40 requests would be sent again", "Nothing was sent yet")
	seen.replay = v.at()
	v.shoots("3-plan")

	// Nothing is sent without a reason: the browser says so, and so does the console.
	v.clicks("button", "Send 40 requests again")
	if !evaluates[bool](v, `document.querySelector("main [name=reason]").matches(":invalid")`) {
		v.t.Error("the browser lets a replay without a reason through")
	}
	v.expects("/replay/start", 400)
	evaluates[bool](v, `(document.querySelector("main [name=reason]").removeAttribute("required"), true)`)
	v.follows("button", "Send 40 requests again")
	v.sees("reason")
	v.shoots("3-no-reason")
	v.goes(seen.replay)
	v.sees("Nothing was sent yet")

	v.types("textbox", v.named("textbox", "^Reason"), "the merchant was not configured")
	v.types("spinbutton", "Most per second", "20")
	v.follows("button", "Send 40 requests again")
	v.asked()
	v.sees("What became of what was sent")
	v.shoots("3-running")
	v.waits("all forty are closed", `[...document.querySelectorAll("main tr")].some((e) => /closed\s+40\b/.test(e.innerText))`)
	v.sees("done")
	// One that watches asks for the page's events, and for nothing else.
	if again := v.asked(); len(again) > 1 || len(again) == 1 && again[0] != "GET "+seen.replay {
		v.t.Errorf("the page asked again by itself: %q", again)
	}
	v.shoots("3-done")

	// The same letters again: none is sent.
	v.goes(letters)
	v.follows("button", "Plan a replay of all 40")
	v.sees("Nothing would be sent: each of the 40 letters is left out")
	v.misses("Send 40 requests again")
	v.shoots("3-again")
	v.goes("/log")
	v.sees("the merchant was not configured")
	v.shoots("3-log")
}

func isAnythingLost(v *visitor, seen *places) {
	v.goes("/audits")
	if !v.is.noScript {
		v.sees("No audit was run here yet")
		v.follows("button", "Run an audit")
	}
	if !v.is.noScript {
		v.sees("The topics balance: no request is lost")
		v.shoots(v.is.name("4-audit"))
		seen.audit = v.at()
		v.goes("/audits")
	}
	v.sees("The topics balance: no request is lost", "Requests in all")
	v.shoots(v.is.name("4-audits"))
	v.follows("link", "1")
	v.sees("The topics balance: no request is lost")
}
