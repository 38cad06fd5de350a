//go:build apachekafka && !linux

package drills

import "os/exec"

// startProcess starts cmd. Only Linux can bind it to this process: here a test
// that dies of a SIGKILL leaves its workers behind.
func startProcess(cmd *exec.Cmd) (<-chan error, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}
