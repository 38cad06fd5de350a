package apachekafka

import "os/exec"

// process is a running command; done is closed when it has ended, and err is
// what it ended with.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}
