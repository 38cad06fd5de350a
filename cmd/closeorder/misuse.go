package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
)

// misuse collects what is wrong with a call, flags and settings, so that all
// of it is said at once. The zero value is a call without a mistake so far.
type misuse struct {
	flags    []string
	settings config.Mistakes
	other    error // no wrong usage; it is told when there is none
}

// must adds a mistake where something does not hold.
func (m *misuse) must(holds bool, format string, args ...any) {
	if !holds {
		m.addf(format, args...)
	}
}

func (m *misuse) addf(format string, args ...any) {
	m.flags = append(m.flags, fmt.Sprintf(format, args...))
}

// add takes an error apart; nil adds nothing.
func (m *misuse) add(err error) {
	var usage *usageError
	var settings config.Mistakes
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			m.add(one)
		}
		return
	}
	switch {
	case err == nil:
	case errors.As(err, &settings):
		m.settings = append(m.settings, settings...)
	case errors.As(err, &usage):
		m.flags = append(m.flags, err.Error())
	default:
		m.other = errors.Join(m.other, err)
	}
}

// err is all of it, nil when there is no mistake.
func (m *misuse) err() error {
	flags := strings.Join(m.flags, "; ")
	switch {
	case flags != "" && len(m.settings) > 0:
		return &usageError{flags + "\n" + m.settings.Error()}
	case flags != "":
		return &usageError{flags}
	case len(m.settings) > 0:
		return m.settings
	}
	return m.other
}

// isShare reports whether a flag can be a share of all.
func isShare(part float64) bool { return part >= 0 && part <= 1 }

// isPort reports whether a flag can be a TCP port, or 0 for any.
func isPort(number int) bool { return number >= 0 && number <= 65535 }

// isRate reports whether a flag can be a rate: flags take NaN and Inf as
// numbers.
func isRate(perSecond float64) bool { return perSecond >= 0 && !math.IsInf(perSecond, 0) }
