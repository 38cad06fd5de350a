package config

import "fmt"

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
	var mistakes, doubts []string
	for _, m := range ms {
		if m.Doubt {
			doubts = append(doubts, m.String())
		} else {
			mistakes = append(mistakes, m.String())
		}
	}
	text := fmt.Sprintf("%d mistakes in the configuration:", len(mistakes))
	if len(mistakes) == 1 {
		text = "1 mistake in the configuration:"
	}
	for _, m := range mistakes {
		text += "\n  " + m
	}
	if len(doubts) > 0 {
		text += "\nLook also at this:"
	}
	for _, d := range doubts {
		text += "\n  " + d
	}
	return text
}
