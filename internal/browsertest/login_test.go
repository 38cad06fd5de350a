package browsertest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

const password = "a long sentence to remember"

func logIn(t *testing.T, b *aBrowser, s *stage) {
	users := filepath.Join(t.TempDir(), "users")
	lines := run(t, password+"\n", "console", "user", "reader", "--role", "viewer") +
		run(t, password+"\n", "console", "user", "boss", "--role", "operator")
	if err := os.WriteFile(users, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	_, address := s.opens(t, "--addr", "127.0.0.1:0", "--auth-file", users)
	v := b.visits(t, address, likes{})
	v.goes("/dead-letters?mch_id=" + unknown)
	if is := v.at(); !strings.HasPrefix(is, "/login") {
		t.Errorf("without a log-in one comes to %s", is)
	}
	v.misses("Y07")
	v.none(v.unfit(everyRule))
	v.none(v.astray())
	v.shoots("7-log-in")

	v.expects("/login", 401)
	v.types("textbox", "Name", "reader")
	v.types("textbox", "Password", "something else")
	v.moves(func() { v.presses(kb.Enter) })
	v.none(v.unfit(everyRule))
	v.shoots("7-wrong-password")

	v.types("textbox", "Name", "reader")
	v.types("textbox", "Password", password)
	v.moves(func() { v.presses(kb.Enter) })
	if is := v.at(); is != "/dead-letters?mch_id="+unknown {
		t.Errorf("after the log-in one is at %s", is)
	}
	v.sees("Y07", "reader")
	if buttons := v.names("button"); strings.Contains(strings.Join(buttons, " "), "replay") {
		t.Errorf("a viewer has the buttons %q", buttons)
	}
	v.sees("operator")
	v.expects("/log", 403)
	v.goes("/log")
	v.sees("operator")

	v.moves(func() { v.clicks("button", "Log out") })
	v.goes("/dead-letters")
	if is := v.at(); !strings.HasPrefix(is, "/login") {
		t.Errorf("after the log-out one comes to %s", is)
	}
	v.types("textbox", "Name", "boss")
	v.types("textbox", "Password", password)
	v.moves(func() { v.presses(kb.Enter) })
	v.goes("/log")
	v.sees("boss")
	v.shoots("7-log")
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

// everyPage goes to all pages: in English by day on a wide screen, and by the Tab key;
// in Chinese by night on a telephone. Lists are short here: what holds of
// one row holds of forty, and costs a fortieth.
func everyPage(t *testing.T, b *aBrowser, s *stage, english *visitor, seen *places) {
	pages := map[string]string{
		"now": "/", "search": "/search?q=T1", "order": "/order?out_trade_no=T1", "replayed-order": "/order?out_trade_no=Y07",
		"dead-letters": "/dead-letters?out_trade_no=Z1", "dead-letter": seen.letter, "replays": "/replays", "plan": seen.plan,
		"audits": "/audits", "audit": seen.audit, "log": "/log", "no-page": "/nothing",
	}
	chinese := b.visits(t, s.console, likes{language: "zh-CN", dark: true, width: 360})
	for _, v := range []*visitor{english, chinese} {
		v.expects("/nothing", 404)
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		t.Run(name, func(t *testing.T) {
			if pages[name] == "" {
				t.Fatal("no story came there")
			}
			english.in(t, func(v *visitor) {
				v.goes(pages[name])
				v.none(v.unfit(everyRule))
				v.none(v.astray())
			})
			chinese.in(t, func(v *visitor) {
				v.goes(pages[name])
				v.none(v.tooWide())
				v.none(v.unfit(everyRule))
				v.shoots("6-" + name + "-zh")
			})
		})
	}
	t.Run("a replay that is done", func(t *testing.T) {
		english.in(t, func(v *visitor) {
			v.goes(seen.replay)
			v.none(v.unfit(everyRule))
		})
		chinese.in(t, func(v *visitor) {
			v.goes(seen.replay)
			v.none(v.tooWide())
			v.shoots("6-replay-zh")
		})
	})
	t.Run("the worker's own page", func(t *testing.T) {
		b.visits(t, s.admin, likes{}).in(t, func(v *visitor) {
			v.goes("/statusz?refresh=0")
			v.none(v.unfit(everyRule))
			v.likesDark(true)
			v.none(v.unfit(colours))
			v.none(v.astray())
			v.widens(360)
			v.none(v.tooWide())
		})
	})
}
