package apachekafka

import (
	"os/exec"
	"syscall"
	"time"
)

// process is a running command; done is closed when it has ended, and err is
// what it ended with.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// toolStopTimeout bounds a clean stop of a console tool.
const toolStopTimeout = 10 * time.Second

// terminate stops the process with SIGTERM, with SIGKILL when that does not
// end it, and returns when it is gone.
func (p *process) terminate() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(toolStopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.done
	}
}
