package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a child. It ends with this process, however that ends.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when err is known
	err   error
	// scrapes of a worker that is scraped; nil for others.
	scrapes *scraper
}

// startSelf starts this program in a role. Its standard output is returned.
func startSelf(log io.Writer, role string, settings any) (*process, *bufio.Reader, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, role, string(text)) //nolint:noctx // it is ended by stop
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	p, err := startProcess(cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", role, err)
	}
	return p, bufio.NewReader(out), nil
}

// hear reads what a role says, one line of JSON.
func hear[T any](role string, out *bufio.Reader) (T, error) {
	var said T
	line, err := out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		err = fmt.Errorf("%s said nothing: %w", role, err)
	}
	return said, err
}

// stop ends the process at once. What it would do in good order is not measured,
// and the broker goes with it.
func (p *process) stop() {
	if p == nil {
		return
	}
	p.cmd.Process.Kill() //nolint:errcheck // it has ended already
	<-p.ended
	p.scrapes.wait()
}

// hasEnded reports whether the process has ended by itself.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// usage is what processes have used up to a moment.
type usage struct {
	at      time.Time
	worker  time.Duration
	gateway time.Duration
	broker  time.Duration
	lab     time.Duration
	machine time.Duration
}

// others is the CPU time per second that nothing of the lab has used, in cores.
func (u usage) others(from usage) float64 {
	ours := u.worker - from.worker + u.gateway - from.gateway + u.broker - from.broker + u.lab - from.lab
	return max(0, (u.machine-from.machine-ours).Seconds()/u.at.Sub(from.at).Seconds())
}

// environ is this process's environment without closeorder's own variables: what
// is measured has the defaults.
func environ(more ...string) []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CLOSEORDER_") {
			kept = append(kept, v)
		}
	}
	return append(kept, more...)
}
