package apachekafka

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestHelperProcess is no test: it is what TestAProcessDiesWithItsTest runs as
// another process. It starts a process and waits to be killed.
func TestHelperProcess(t *testing.T) {
	if os.Getenv("CLOSEORDER_HELPER_PROCESS") == "" {
		return
	}
	cmd := exec.Command("sleep", "600")
	cmd.Stdout = os.Stdout
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("started\n")
	<-p.done
}

func TestAProcessDiesWithItsTest(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	helper.Env = append(os.Environ(), "CLOSEORDER_HELPER_PROCESS=1")
	helper.Stdout = write
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if err := read.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(read, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	helper.Wait()
	// The pipe ends when nobody holds its other end any more: the helper is
	// dead, and what it had started must be too.
	if _, err := io.ReadAll(read); err != nil {
		t.Errorf("the process outlived the test that had started it: %v", err)
	}
}
