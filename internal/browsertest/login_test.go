package browsertest

import (
	"os"
	"path/filepath"
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
