package config

import (
	"fmt"
	"strings"
)

// Mistake is one thing that is wrong with one setting.
type Mistake struct {
	// Setting is its name: kafka.brokers.
	Setting string
	// Where the value came from: a flag, an environment variable, a file with
	// its line; empty when nothing was set.
	Where string
	// Problem says what is wrong and how to mend it. Never holds a secret.
	Problem string
}

func (m Mistake) String() string {
	if m.Where == "" {
		return m.Setting + ": " + m.Problem
	}
	return m.Setting + " (" + m.Where + "): " + m.Problem
}

// Mistakes is the error of [Load]: all that is wrong, in the order of [Settings].
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	var b strings.Builder
	if len(ms) == 1 {
		b.WriteString("1 mistake in the configuration:")
	} else {
		fmt.Fprintf(&b, "%d mistakes in the configuration:", len(ms))
	}
	for _, m := range ms {
		b.WriteString("\n  ")
		b.WriteString(m.String())
	}
	return b.String()
}
