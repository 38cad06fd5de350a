package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/PID/stat, 1/100 s on all that Go runs on.
const tick = 10 * time.Millisecond

// startProcess starts cmd, bound to this process: the kernel kills it when this
// one dies. It has a process group of its own: Ctrl-C is for the lab alone.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread dies that started the process
		// (prctl(2), PR_SET_PDEATHSIG): keep that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// cpu is the user and system time so far of the process and its children, 0 when
// it has ended.
func (p *process) cpu() time.Duration {
	if p == nil {
		return 0
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	used := cpuOf(pid)
	// Each thread knows its own children. An Apache Kafka is one.
	lists, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		return used
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			used += cpuOf(child)
		}
	}
	return used
}

// cpuOf is the user and system time of one process.
func cpuOf(pid string) time.Duration {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	// The name in brackets may hold anything. utime and stime are fields 14 and 15.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// peak is the most memory that the process has held, in MiB; 0 when it has ended.
// ru_maxrss would not do: exec carries the parent's own into it.
func (p *process) peak() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return float64(kib) / 1024
}

// ownCPU is this process's.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// machineCPU is what all processes have used, with what a hypervisor withheld.
func machineCPU() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	ticks := 0
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // cpu, idle, iowait; guests are counted in user
			continue
		}
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// supported is nil where all can be measured.
func supported() error { return nil }
