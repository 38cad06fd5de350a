package index_test

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// TestAKilledIndexGoesOn kills a process that indexes at one moment after the other,
// while records come, and starts it again: in the end all is there that is in an index
// that was never killed, once.
func TestAKilledIndexGoesOn(t *testing.T) {
	const kills = 6
	s := newShelf(t)
	r := rand.New(rand.NewPCG(9, 10))
	dir := t.TempDir()
	s.anything(r, 20)
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), brokersEnv+"="+s.broker.Addr(), folderEnv+"="+dir, doEnv+"=follow")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It says each time when something is indexed. The kill comes at one of these, while
		// the next records are written.
		lines := bufio.NewScanner(out)
		for left := r.IntN(4) + 1; left > 0 && lines.Scan(); left-- {
			s.anything(r, 3+r.IntN(10))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed, as it says
	}
	killed := s.opened(dir)
	before := dumped(t, killed)
	s.anything(r, 5)
	turn(t, killed)
	never := s.opened("")
	turn(t, never)
	want := dumped(t, never)
	if len(before) < 200 || len(want) <= len(before) {
		t.Fatalf("%d rows when it was killed last, %d in the end", len(before), len(want))
	}
	same(t, "killed and started again", dumped(t, killed), want)
}
