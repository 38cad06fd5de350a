package signing

import "fmt"

// Type is a signature algorithm, spelt as in the field sign_type. The zero
// Type is MD5, the default of WeChat Pay V2.
type Type string

const (
	MD5        Type = "MD5"
	HMACSHA256 Type = "HMAC-SHA256"
)

// ParseType reads a sign_type: exactly MD5 or HMAC-SHA256, and MD5 for "".
func ParseType(s string) (Type, error) {
	switch t := Type(s).orDefault(); t {
	case MD5, HMACSHA256:
		return t, nil
	}
	if len(s) > 32 {
		s = s[:32]
	}
	return "", fmt.Errorf("unknown sign type %q, want %s or %s", s, MD5, HMACSHA256)
}

func (t Type) orDefault() Type {
	if t == "" {
		return MD5
	}
	return t
}

// hexLen is the number of hex digits of a signature, 0 for an unknown type.
func (t Type) hexLen() int {
	switch t.orDefault() {
	case MD5:
		return 32
	case HMACSHA256:
		return 64
	}
	return 0
}
