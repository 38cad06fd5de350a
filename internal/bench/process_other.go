//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

// supported is nil where all can be measured.
func supported() error {
	return errors.New("CPU and memory are read from /proc: run it on Linux, or in a container")
}

func startProcess(*exec.Cmd) (*process, error) { return nil, supported() }

func (*process) cpu() time.Duration { return 0 }

func (*process) peak() float64 { return 0 }

func ownCPU() time.Duration { return 0 }

func machineCPU() time.Duration { return 0 }
