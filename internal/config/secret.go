package config

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "******"

// Secret is a text that is never printed: every verb of fmt, JSON, YAML and
// slog show a mask. The zero value is "not set". Safe for concurrent use.
//
// The text sits in a function because printers go round the methods of what
// they find in an unexported field, and follow pointers: of a function they
// can show the address alone.
type Secret struct {
	text func() string
}

// NewSecret hides text; an empty text gives the zero Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: func() string { return text }}
}

// Reveal returns the text, to be handed to whoever must know it and no further.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// IsZero reports whether nothing was set.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns a mask, or nothing when nothing was set.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return mask
}

// Format writes the mask for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText writes the mask, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue gives the mask to slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
