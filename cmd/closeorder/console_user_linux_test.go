package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/leftout"
	"golang.org/x/sys/unix"
)

// pty is a terminal: what is written to keys is typed at it, and shown is what
// stands on its screen.
func pty(t *testing.T) (keys *os.File, shown *stream, terminal *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		leftout.Test(t, "no terminal can be had here: "+err.Error())
	}
	t.Cleanup(func() { keys.Close() })
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		leftout.Test(t, "no terminal can be had here: "+err.Error())
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		leftout.Test(t, "no terminal can be had here: "+err.Error())
	}
	shown = newStream()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(shown, keys) // until the terminal is closed
	}()
	t.Cleanup(func() { terminal.Close(); <-read })
	return keys, shown, terminal
}

func TestAPasswordIsAskedForTwiceAndNotShown(t *testing.T) {
	const right = "correct horse battery"
	for what, tt := range map[string]struct {
		types []string
		code  int
		says  string
	}{
		"the same twice":    {[]string{right, right}, exitDone, "li.na:$argon2id$"},
		"two that differ":   {[]string{right, right + "!"}, exitUsage, "the two passwords are not the same"},
		"one that is short": {[]string{"tr0ub4dor&3"}, exitUsage, "the password has 11 characters"},
		"somebody gives up": {nil, exitBad, "stopped"},
	} {
		t.Run(what, func(t *testing.T) {
			keys, shown, terminal := pty(t)
			before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := stoppable(t.Context())
			stdout, stderr := newStream(), newStream()
			code := make(chan int)
			go func() { code <- run(ctx, []string{"console", "user", "li.na"}, terminal, stdout, stderr, nil) }()
			for i, text := range tt.types {
				stderr.find(t, []string{"is not shown", "Once more"}[i])
				hides(t, terminal)
				if _, err := keys.WriteString(text + "\n"); err != nil {
					t.Fatal(err)
				}
			}
			if tt.types == nil {
				stderr.find(t, "is not shown")
				hides(t, terminal)
				stop()
			}
			if got := <-code; got != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.says) {
				t.Errorf("exit code %d, %s%s", got, stdout, stderr)
			}
			for _, secret := range []string{right, "tr0ub4dor"} {
				if strings.Contains(shown.String()+stdout.String()+stderr.String(), secret) {
					t.Errorf("the password is shown: %q %q %q", shown, stdout, stderr)
				}
			}
			after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("the terminal was left as %+v, was %+v, %v", after, before, err)
			}
			if tt.types == nil { // what was left behind reads still
				if _, err := keys.WriteString("\n"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// hides waits until a terminal shows nothing of what is typed.
func hides(t *testing.T, terminal *os.File) {
	t.Helper()
	for ctx := t.Context(); ; {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		if context.Cause(ctx) != nil {
			t.Fatal("what is typed is shown")
		}
	}
}
