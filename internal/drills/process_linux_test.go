//go:build apachekafka

package drills

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startProcess starts cmd, bound to this process: the kernel kills it when
// this one dies, however it dies. The channel tells what it ended with.
func startProcess(cmd *exec.Cmd) (<-chan error, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended, started := make(chan error, 1), make(chan error)
	go func() {
		// The death signal comes when the thread dies that started the
		// process (prctl(2), PR_SET_PDEATHSIG): keep that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}
