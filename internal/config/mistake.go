package config

import (
	"fmt"
	"slices"
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
	// Doubt: no mistake by itself, such as a variable that sets nothing, but it
	// may be why there are others. Setting and Where are empty.
	Doubt bool
}

func (m Mistake) String() string {
	if m.Doubt {
		return m.Problem
	}
	if m.Where == "" {
		return m.Setting + ": " + m.Problem
	}
	return m.Setting + " (" + m.Where + "): " + m.Problem
}

// Mistakes is the error of [Load]: all that is wrong, in the order of
// [Settings], and behind that what is doubtful.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	certain := slices.IndexFunc(ms, func(m Mistake) bool { return m.Doubt })
	if certain < 0 {
		certain = len(ms)
	}
	text := fmt.Sprintf("%d mistakes in the configuration:", certain)
	if certain == 1 {
		text = "1 mistake in the configuration:"
	}
	for i, m := range ms {
		if i == certain {
			text += "\nLook also at this:"
		}
		text += "\n  " + m.String()
	}
	return text
}
