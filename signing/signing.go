// Package signing makes and checks WeChat Pay V2 signatures. It is pure: no
// I/O, no state, no log, and it knows nothing of XML, HTTP or orders.
//
//	fields -> non-empty ones but sign, sorted by name -> a=1&b=2&key=KEY -> MD5 or HMAC-SHA256 -> upper-case hex
//
// Everything here is safe for concurrent use.
//
// # What a signature does not say
//
// The string that is signed joins names and values with & and = and escapes
// nothing, so {"a": "1&b=2"} and {"a": "1", "b": "2"} have one and the same
// signature. That is a property of V2, not of this package: a valid signature
// proves the string, not where one field ends and the next begins. Do not
// draw conclusions from the absence of a field in a verified reply.
package signing

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// FieldSign is the field that holds the signature. It is never signed.
const FieldSign = "sign"

var (
	// ErrMissing: there is no sign, or it is empty. The fields prove nothing.
	ErrMissing = errors.New("signature is missing")
	// ErrMismatch: the fields were changed, or signed with another key.
	ErrMismatch = errors.New("signature does not match")
	// ErrType: the length of sign belongs to another algorithm than the one
	// asked for, or the algorithm is unknown.
	ErrType = errors.New("signature is of another type")
)

// Sign returns the signature of fields in upper-case hex: 32 digits for MD5,
// 64 for HMAC-SHA256. The field sign and fields with an empty value are left
// out; names are sorted by their bytes; values go in raw (WeChat Pay V2,
// "Signature Algorithm").
//
// The zero Type is MD5, as in the protocol. For a zero [Key] or an unknown
// Type there is no signature: Sign returns "", which [Verify] never accepts.
func Sign(fields map[string]string, key Key, t Type) string {
	var room [usual]Field
	var out [2 * sha256.Size]byte
	return string(AppendSign(out[:0], listed(room[:0], fields), key, t))
}

// AppendSign appends to b what [Sign] returns, of fields in any order. Where a
// name is there twice there is no signature either. It allocates nothing for
// the fields of a close.
func AppendSign(b []byte, fields []Field, key Key, t Type) []byte {
	var sum [sha256.Size]byte
	return appendUpperHex(b, sum[:digest(&sum, fields, key, t)])
}

// Verify reports whether fields carry a valid signature in their field sign,
// made with key and the algorithm t. All other non-empty fields are signed,
// unknown ones included. It returns nil, or an error that wraps [ErrMissing],
// [ErrType] or [ErrMismatch].
//
// The algorithm is the caller's choice and never the sender's: a sign whose
// length belongs to another algorithm is ErrType and is not tried.
// The comparison takes constant time. Hex digits must be upper-case, the only
// form that the protocol documents and that the official SDKs accept.
// A zero Key verifies nothing.
func Verify(fields map[string]string, key Key, t Type) error {
	var room [usual]Field
	return VerifyFields(listed(room[:0], fields), key, t)
}

// VerifyFields is [Verify] of fields in any order. A name that is there twice
// is ErrMismatch: nobody can tell which of the two was meant. It allocates
// nothing for the reply to a close that is valid.
func VerifyFields(fields []Field, key Key, t Type) error {
	got := ""
	for i := range fields {
		if fields[i].Name != FieldSign {
			continue
		}
		if got != "" {
			return errTwice
		}
		got = fields[i].Value
	}
	if got == "" {
		return ErrMissing
	}
	want := t.hexLen()
	switch {
	case want == 0:
		return fmt.Errorf("%w: unknown sign type", ErrType)
	case len(got) != want && len(got) == MD5.hexLen():
		return fmt.Errorf("%w: it has the length of %s, want %s", ErrType, MD5, t)
	case len(got) != want && len(got) == HMACSHA256.hexLen():
		return fmt.Errorf("%w: it has the length of %s, want %s", ErrType, HMACSHA256, t.orDefault())
	case len(got) != want:
		return fmt.Errorf("%w: it has %d characters, want %d", ErrMismatch, len(got), want)
	}
	var sum [sha256.Size]byte
	n := digest(&sum, fields, key, t)
	switch {
	case n == 0 && key.IsZero():
		return fmt.Errorf("%w: there is no key", ErrMismatch)
	case n == 0:
		return errTwice
	}
	var is, shown [2 * sha256.Size]byte
	// Both have the length that was asked for.
	if subtle.ConstantTimeCompare(append(shown[:0], got...), appendUpperHex(is[:0], sum[:n])) == 1 {
		return nil
	}
	if hasLowerHex(got) {
		return fmt.Errorf("%w: hex digits must be upper-case", ErrMismatch)
	}
	return ErrMismatch
}

var errTwice = fmt.Errorf("%w: a field is there twice", ErrMismatch)

// Explain returns the exact string that is signed, with the key masked: what
// to compare when two sides do not agree on a signature. It shows all signed
// values; what must not be seen in a value must not be given to it.
func Explain(fields map[string]string) string { return ExplainFields(listed(nil, fields)) }

// ExplainFields is [Explain] of fields in any order, each name once.
func ExplainFields(fields []Field) string {
	b, _ := appendCanonical(nil, fields)
	return string(append(b, "key="+mask...))
}

// digest puts the raw signature into sum and returns its length, 0 when there
// can be none.
func digest(sum *[sha256.Size]byte, fields []Field, key Key, t Type) int {
	if key.IsZero() {
		return 0
	}
	switch t.orDefault() {
	case MD5:
		// Room for a close or a query and its reply, on the stack.
		var room [1024]byte
		b, ok := appendCanonical(room[:0], fields)
		if !ok {
			return 0
		}
		b = append(b, "key="...)
		b = append(b, key.secret()...)
		md5sum := md5.Sum(b)
		return copy(sum[:], md5sum[:])
	case HMACSHA256:
		m := key.macs().Get().(*mac)
		defer key.macs().Put(m)
		var ok bool
		if m.text, ok = appendCanonical(m.text[:0], fields); !ok {
			return 0
		}
		m.text = append(m.text, "key="...)
		m.text = append(m.text, key.secret()...)
		m.Reset()
		m.Write(m.text)
		m.text = m.Sum(m.text[:0])
		return copy(sum[:], m.text)
	}
	return 0
}

func appendUpperHex(b, raw []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range raw {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

func hasLowerHex(s string) bool {
	for i := range len(s) {
		if 'a' <= s[i] && s[i] <= 'f' {
			return true
		}
	}
	return false
}
