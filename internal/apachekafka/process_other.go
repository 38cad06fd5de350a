//go:build !linux

package apachekafka

import "os/exec"

// startProcess starts cmd. Only Linux can bind it to this process: here a test
// that dies of a SIGKILL leaves its brokers behind.
func startProcess(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}
