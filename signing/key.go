package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// mask stands for a key wherever one could be printed. Its length says
// nothing of the key's.
const mask = "******"

// Key is a merchant's API key. It cannot be read back: every way of printing
// or encoding one gives a mask, and so does a struct that holds one, also in
// an unexported field. The zero Key signs and verifies nothing.
type Key struct {
	// A function because fmt and other printers go round the methods of a Key
	// that stands in an unexported field, and follow pointers (fmt does with
	// %s); of a function they can show the address alone.
	secret func() string
	// macs are states of HMAC-SHA256 with the key in them, each used by one at
	// a time: to begin with a key costs as much as the rest of a signature.
	macs func() *sync.Pool
}

// mac is one such state, and room for the text that is signed.
type mac struct {
	hash.Hash
	text []byte
}

// NewKey takes the API key exactly as set at the merchant platform. A key that
// is empty, not UTF-8, in quotes, or has white space or control characters in
// it (a newline from a file, most often) is refused; the error says how to mend
// it and does not show it.
func NewKey(text string) (Key, error) {
	if text == "" {
		return Key{}, errors.New("API key is empty")
	}
	if !utf8.ValidString(text) {
		if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
			return Key{}, errors.New("API key is not valid UTF-8, but UTF-16, as PowerShell writes it; save it as UTF-8")
		}
		return Key{}, errors.New("API key is not valid UTF-8")
	}
	if inQuotes(strings.TrimSpace(text)) {
		return Key{}, errors.New("API key is in quotes, leave them out")
	}
	for i, r := range text {
		switch {
		case unicode.IsSpace(r):
			remedy := "leave it out"
			if strings.TrimRightFunc(text[i:], unicode.IsSpace) == "" && strings.ContainsAny(text[i:], "\r\n") {
				remedy = "it ends with a line break, write it with printf or echo -n"
			}
			return Key{}, fmt.Errorf("API key has white space at byte %d of %d: %s", i+1, len(text), remedy)
		case !unicode.IsPrint(r):
			return Key{}, fmt.Errorf("API key has a character that cannot be printed at byte %d of %d: %U, type or copy it without", i+1, len(text), r)
		}
	}
	macs := &sync.Pool{New: func() any {
		return &mac{Hash: hmac.New(sha256.New, []byte(text)), text: make([]byte, 0, 1024)}
	}}
	return Key{func() string { return text }, func() *sync.Pool { return macs }}, nil
}

// ReadKey is NewKey for the content of a file that holds one key. A byte order
// mark before it and white space behind it, which editors and echo leave, are
// no part of it.
func ReadKey(file []byte) (Key, error) {
	return NewKey(strings.TrimRight(strings.TrimPrefix(string(file), "\ufeff"), " \t\r\n"))
}

// inQuotes reports whether text stands in a pair of quotes, as Docker's
// --env-file keeps them and documents make them. No key that can be set at the
// merchant platform has one.
func inQuotes(text string) bool {
	for _, pair := range []string{`""`, "''", "``", "“”", "‘’", "””", "’’"} {
		open, size := utf8.DecodeRuneInString(pair)
		if len(text) >= len(pair) && strings.HasPrefix(text, string(open)) && strings.HasSuffix(text, pair[size:]) {
			return true
		}
	}
	return false
}

// IsZero reports whether k is the zero Key.
func (k Key) IsZero() bool { return k.secret == nil }

// keyBytes is the length of every API key (V2) that can be set at the merchant
// platform: letters and digits.
const keyBytes = 32

// HasPlatformLength reports whether the key has the 32 bytes of every API key
// (V2) that can be set at the merchant platform. NewKey takes others all the
// same, as a simulator does: a caller can warn.
func (k Key) HasPlatformLength() bool { return !k.IsZero() && len(k.secret()) == keyBytes }

// String returns a mask, or "" for the zero Key.
func (k Key) String() string {
	if k.IsZero() {
		return ""
	}
	return mask
}

// GoString returns a mask.
func (k Key) GoString() string { return "signing.Key(" + k.String() + ")" }

// Format writes a mask, whatever the verb.
func (k Key) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		io.WriteString(f, k.GoString())
		return
	}
	io.WriteString(f, k.String())
}

// MarshalText returns a mask. There is no UnmarshalText, so that a mask is
// never taken for a key.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue returns a mask.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
