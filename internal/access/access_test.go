package access

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/database"
)

func TestWhereAConsoleMayServe(t *testing.T) {
	file := Config{File: "users"}
	header := Config{Header: "X-User", Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}
	for _, tt := range []struct {
		what, at   string
		cfg        Config
		err, warns string
	}{
		{"loopback", "127.0.0.1:8090", Config{}, "", ""},
		{"another one of it", "127.9.9.9:1", Config{}, "", ""},
		{"loopback of IPv6", "[::1]:8090", Config{}, "", ""},
		{"the same as IPv4 in IPv6", "[::ffff:127.0.0.1]:8090", Config{}, "", ""},
		{"every interface of IPv4", "0.0.0.0:8090", Config{}, "every interface of this machine, and whoever reaches it could replay", ""},
		{"every interface of IPv6", "[::]:8090", Config{}, "every interface", ""},
		{"every interface as IPv4 in IPv6", "[::ffff:0.0.0.0]:8090", Config{}, "every interface", ""},
		{"an address", "192.0.2.1:8090", Config{}, "192.0.2.1:8090, which is not the loopback address", ""},
		{"one of IPv6, of an interface", "[fe80::1%eth0]:8090", Config{}, "--auth-header X-Forwarded-User --trusted-proxies IP", ""},
		{"users, on every interface", "[::]:8090", file, "", "passwords and sessions cross the network as they are"},
		{"users, on loopback", "127.0.0.1:8090", file, "", ""},
		{"users, with TLS", "[::]:8090", Config{File: "users", Secure: true}, "", ""},
		{"users, behind a proxy", "[::]:8090", Config{File: "users", Trusted: header.Trusted}, "", ""},
		{"a proxy", "[::]:8090", header, "", ""},
	} {
		at := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.at))
		err := tt.cfg.Check(at)
		if (err == nil) != (tt.err == "") || !strings.Contains(fmt.Sprint(err), tt.err) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.err)
		}
		if got := tt.cfg.Warning(at); (got == "") != (tt.warns == "") || !strings.Contains(got, tt.warns) {
			t.Errorf("%s: warns %q, want %q", tt.what, got, tt.warns)
		}
	}
	for what, at := range map[string]net.Addr{"none": nil, "one of TCP that says nothing": &net.TCPAddr{}, "a socket": &net.UnixAddr{Name: "/run/x", Net: "unix"}} {
		if err := (Config{}).Check(at); err == nil {
			t.Errorf("an address that is %s: nothing is wrong", what)
		}
	}
}

func TestABrowserIsSentToThisConsoleAlone(t *testing.T) {
	for to, want := range map[string]string{
		"/order?out_trade_no=a%26b": "/order?out_trade_no=a%26b", "/": "/", "": "/", "order": "/", "//evil.example": "/", "/\\evil.example": "/", "/\t/evil.example": "/",
		"https://evil.example/": "/", "javascript:alert(1)": "/", "/login": "/", "/login?to=/login": "/", "/logout": "/", "/a\r\nSet-Cookie: x": "/", "/" + strings.Repeat("a", 2000): "/",
	} {
		if got := Local(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

// What somebody types in the place of the name may be the password.
func TestWhoWasRefusedIsNotedByTheNameOfAUserAlone(t *testing.T) {
	h := enter(t, Config{File: twoUsers})
	h.ask(form("distinctive", "li.na"))
	h.ask(form("li.na", "distinctive"))
	h.ask(form("li.na", strings.Repeat("x", 5000)))
	h.ask(form(strings.Repeat("x", 5000), password))
	h.ask(form("", ""))
	want := []string{
		`refused "" no such user from 192.0.2.7`, `refused "li.na" wrong password from 192.0.2.7`, `refused "li.na" wrong password from 192.0.2.7`,
		`refused "" no such user from 192.0.2.7`, `refused "" no such user from 192.0.2.7`,
	}
	if !slices.Equal(h.notes, want) {
		t.Errorf("noted %q", h.notes)
	}
	if h.log.Len() > 0 {
		t.Errorf("logged %s", h.log.String())
	}
}

// A name that nobody has costs the hash of somebody: 7 MiB here.
func TestTheWorkDoesNotSayWhoThereIs(t *testing.T) {
	h := enter(t, Config{File: "li.na:" + argonLow})
	for what, name := range map[string]string{"a user": "li.na", "nobody": "li", "nothing": "", "what is too long": strings.Repeat("n", 200)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if r := h.ask(form(name, "wrong")); r.code != 401 || r.text != "name or password is wrong\n" {
			t.Errorf("%s: %d", what, r.code)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n < 7<<20 || n > 9<<20 {
			t.Errorf("%s: %d bytes were taken", what, n)
		}
	}
}

func TestTooManyAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := enter(t, Config{File: twoUsers})
		try := func(name, peer string) (status int, wait string) {
			r := h.ask(form(name, "wrong"), "Peer: "+peer)
			return r.code, r.header.Get("Retry-After")
		}
		cookie := h.logIn("li.na", "Peer: 198.51.100.9:5")
		h.notes = nil
		for i := range addressBurst {
			if status, _ := try("nobody"+strconv.Itoa(i), "192.0.2.1:5"); status != 401 {
				t.Fatalf("attempt %d: %d", i, status)
			}
		}
		for range 3 {
			if status, wait := try("li.na", "192.0.2.1:6"); status != 429 || wait != "60" {
				t.Errorf("one more: %d, wait %s", status, wait)
			}
		}
		if n := len(h.notes); n != addressBurst+1 || !strings.Contains(h.notes[n-1], `refused "li.na" too many attempts from 192.0.2.1`) {
			t.Errorf("noted %q", h.notes)
		}
		if r := h.ask(form("li.na", password), "Peer: 192.0.2.1:5"); r.code != 429 || len(r.cookies) != 0 {
			t.Errorf("the right password of an address that waits: %d", r.code)
		}
		if r := h.ask("GET /", cookie, "Peer: 192.0.2.1:5"); r.code != 200 {
			t.Errorf("a session of an address that waits: %d", r.code)
		}
		h.logIn("li.na", "Peer: 192.0.2.2:5")
		time.Sleep(addressEvery)
		h.logIn("wei", "Peer: 192.0.2.1:5")
	})
}

// fails and worked try a password, and say why it was not looked at.
func fails(t *testing.T, a *attempts, name, remote string) error {
	return try(t, a, name, remote, false)
}

func worked(t *testing.T, a *attempts, name, remote string) error {
	return try(t, a, name, remote, true)
}

func try(t *testing.T, a *attempts, name, remote string, ok bool) error {
	done, _, err := a.begin(t.Context(), name, remote)
	if err == nil {
		done(ok)
	}
	return err
}

func TestWhatOneAddressMay(t *testing.T) {
	t.Run("a flood of one address locks nobody out elsewhere, however long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAttempts()
			through := 0
			for range 6 * 3600 {
				if fails(t, a, "li", "192.0.2.1") == nil {
					through++
				}
				time.Sleep(time.Second)
			}
			if through > addressBurst+6*60 || through < 6*60 {
				t.Errorf("%d passwords were tried in six hours", through)
			}
			if err := worked(t, a, "li", "192.0.2.2"); err != nil {
				t.Errorf("from elsewhere: %v", err)
			}
		})
	})
	t.Run("many addresses lock out a name, but not where it has logged in before", func(t *testing.T) {
		a := newAttempts()
		if err := worked(t, a, "li", "198.51.100.1"); err != nil {
			t.Fatal(err)
		}
		through := 0
		for i := range 200 {
			if fails(t, a, "li", "192.0.2."+strconv.Itoa(i)) == nil {
				through++
			}
		}
		if through != nameBurst {
			t.Errorf("%d passwords were tried", through)
		}
		if err := worked(t, a, "li", "203.0.113.1"); err == nil {
			t.Error("from a place that nobody knows: let through")
		}
		if err := worked(t, a, "li", "198.51.100.1"); err != nil {
			t.Errorf("from where it has logged in: %v", err)
		}
		if err := worked(t, a, "wei", "203.0.113.1"); err != nil {
			t.Errorf("another name: %v", err)
		}
	})
	t.Run("all addresses of an IPv6 network are one", func(t *testing.T) {
		a := newAttempts()
		through := 0
		for i := range 100 {
			if fails(t, a, "li"+strconv.Itoa(i), fmt.Sprintf("2001:db8::%x", i)) == nil {
				through++
			}
		}
		if through != addressBurst {
			t.Errorf("%d passwords were tried", through)
		}
		if err := fails(t, a, "li", "2001:db8:0:1::1"); err != nil {
			t.Errorf("the next network: %v", err)
		}
	})
	t.Run("who has a password of their own cannot try others without end", func(t *testing.T) {
		a := newAttempts()
		through := 0
		for range 100 {
			if fails(t, a, "li", "192.0.2.1") == nil {
				through++
			}
			worked(t, a, "wei", "192.0.2.1")
		}
		if through != addressBurst {
			t.Errorf("%d passwords were tried", through)
		}
	})
	t.Run("passwords that are hashed at one time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAttempts()
			worked(t, a, "li", "198.51.100.1")
			var running, most atomic.Int32
			for i := range 60 {
				go func() {
					done, _, err := a.begin(t.Context(), "x"+strconv.Itoa(i), "192.0.2."+strconv.Itoa(i%20))
					if err != nil {
						return
					}
					if n := running.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					running.Add(-1)
					done(false)
				}()
				synctest.Wait()
			}
			a.mu.Lock()
			if a.all != mostWaiting || a.under["192.0.2.1"] > mostOfOne || most.Load() != sideBySide {
				t.Errorf("%d wait, %d of one address, %d at one time", a.all, a.under["192.0.2.1"], most.Load())
			}
			a.mu.Unlock()
			began := time.Now()
			if err := worked(t, a, "li", "198.51.100.1"); err != nil || time.Since(began) > 0 {
				t.Errorf("who has logged in before waits %s, %v", time.Since(began), err)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if _, _, err := a.begin(gone, "y", "192.0.2.200"); err == nil {
				t.Error("one too many waits")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.all != 0 || len(a.under) != 0 {
				t.Errorf("%d are left", a.all)
			}
		})
	})
	t.Run("what is remembered is bounded", func(t *testing.T) {
		a := newAttempts()
		address := func(net byte, i int) string {
			return netip.AddrFrom4([4]byte{net, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		}
		for i := range mostBuckets + 10 {
			fails(t, a, "n"+strconv.Itoa(i), address(10, i))
		}
		for i := range mostKnown + 10 {
			worked(t, a, "li", address(11, i))
		}
		if len(a.address.of) > mostBuckets || len(a.name.of) > mostBuckets || len(a.seen) > mostKnown {
			t.Errorf("%d addresses, %d names, %d known", len(a.address.of), len(a.name.of), len(a.seen))
		}
	})
}

func TestAFileThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Of a file that was written to just now nobody knows whether it is whole: its
		// time is not that of the bubble.
		h := enter(t, Config{File: twoUsers})
		rewrite := func(content string) {
			if err := os.WriteFile(h.file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(h.file, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		count := func() int { return len(h.Guard.file.users().list) }
		time.Sleep(lookEvery)
		rewrite("li.na:" + argonLow + "\n") // half of it
		if n := count(); n != 2 {
			t.Errorf("half of a file: %d users", n)
		}
		time.Sleep(restsFor / 2)
		rewrite(twoUsers + "an:" + argonLow)
		for range 4 {
			if n := count(); n == 1 {
				t.Error("half of a file was taken for the whole")
			}
			time.Sleep(restsFor / 2)
		}
		time.Sleep(lookEvery)
		if n := count(); n != 3 {
			t.Errorf("the whole file: %d users", n)
		}
		for range 3 {
			rewrite("li.na:distinctive\n")
			time.Sleep(2 * lookEvery)
			count()
		}
		if n := strings.Count(h.log.String(), "is not as it must be"); n != 1 || !strings.Contains(h.log.String(), "line 1: the hash is neither") || strings.Contains(h.log.String(), "distinctive") {
			t.Errorf("told %d times:\n%s", n, h.log.String())
		}
		os.Remove(h.file)
		time.Sleep(2 * lookEvery)
		if n := count(); n != 3 {
			t.Errorf("without a file: %d users", n)
		}
		count()
		if n := strings.Count(h.log.String(), "is not as it must be"); n != 2 {
			t.Errorf("of a file that is gone, told %d times in all", n)
		}
		rewrite(twoUsers)
		time.Sleep(2 * lookEvery)
		if n := count(); n != 2 {
			t.Errorf("mended: %d users\n%s", n, h.log.String())
		}
		// The same time and length, as some file systems of networks show them.
		info, err := os.Stat(h.file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(twoUsers, "wei", "tao", 1)
		rewrite(changed)
		if err := os.Chtimes(h.file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(readEvery)
		if _, there := h.Guard.file.users().by["tao"]; !there {
			t.Error("what nothing shows was not found")
		}
	})
}

func TestAFileThatOthersCanReadIsWarnedOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such modes there")
	}
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o606: true} {
		h := enter(t, Config{File: twoUsers})
		if err := os.Chmod(h.file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), h.cfg); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.log.String(), "everybody on this machine can read it") != warned {
			t.Errorf("%04o: %s", mode, h.log.String())
		}
	}
}

func TestAStartWithAFileThatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if _, err := Open(t.Context(), Config{File: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	for content, want := range map[string]string{
		"li:distinctive\nwei:x\n":          "file of users " + path + ":\nline 1: the hash is neither",
		strings.Repeat("#\n", mostFile):    "is longer than 1048576 bytes",
		"# nobody":                         "names nobody",
		"\x00\x01\x02\x03\xff\xfe\x00\x00": "is not text",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{File: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSessionsOutliveTheConsole(t *testing.T) {
	dir := t.TempDir()
	open := func() *database.DB {
		db, err := database.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	db := open()
	h := enter(t, Config{File: twoUsers, DB: db})
	cookies := map[string]string{}
	for _, what := range []string{"it goes on", "two hours", "twelve hours", "it has ended"} {
		cookies[what] = h.logIn("li.na")
	}
	if h.ask("POST /logout x=", cookies["it has ended"]).code != 200 {
		t.Fatal("not logged out")
	}
	value := func(what string) string {
		_, v, _ := strings.Cut(cookies[what], "=")
		return v
	}
	for what, set := range map[string]string{"two hours": "used = used - 7200", "twelve hours": "made = made - 43200"} {
		id := token(value(what)).id()
		if _, err := db.Write.ExecContext(t.Context(), `UPDATE access_sessions SET `+set+` WHERE id = ?`, id[:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, database.Name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(file), "li.na") {
		t.Error("there is no session in the file")
	}
	for what := range cookies {
		for _, secret := range []string{value(what), "N9D9+W+zAwaZlb5TQSjckrOq7wZ4WiEGWNGaMEr8FiE"} {
			if strings.Contains(string(file), secret) {
				t.Errorf("the database holds %q", secret)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	cfg := h.cfg
	cfg.DB = open()
	again, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var kept int
	if err := cfg.DB.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM access_sessions`).Scan(&kept); err != nil || kept != 1 {
		t.Errorf("the database has %d sessions, %v", kept, err)
	}
	h.Guard, h.door = again, again.Wrap(h.door, func(string) bool { return false })
	for what, cookie := range cookies {
		if r := h.ask("GET /", cookie); (r.code == 200) != (what == "it goes on") {
			t.Errorf("%s: %d", what, r.code)
		}
	}
}

func TestALogInThatCannotBeKeptIsNone(t *testing.T) {
	db, err := database.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	h := enter(t, Config{File: twoUsers, DB: db})
	db.Close()
	r := h.ask(form("li.na", password))
	if got := r.text; r.code != 500 || len(r.cookies) > 0 || !strings.HasPrefix(got, "logging in: ") {
		t.Errorf("%d %q", r.code, got)
	}
}
