package apachekafka

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startProcess starts cmd, bound to this process: the kernel kills it when
// this one dies, of a SIGKILL too, so that a test that is cut off leaves no
// broker behind.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread dies that started the
		// process (prctl(2), PR_SET_PDEATHSIG): keep that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}
