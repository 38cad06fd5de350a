package tokens

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

var bearer = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// Valid reports whether a text can be a bearer token (RFC 6750, 2.1).
func Valid(text string) bool { return bearer.MatchString(text) }

// End is when a token says that it ends, if it is a JWT with that claim (RFC 7519,
// 4.1.4); else zero. Nothing else of it is looked at, nor its signature.
func End(text string) time.Time {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}
	}
	var of struct {
		End float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &of) != nil || of.End <= 0 || of.End > 1e11 { // the year 5138
		return time.Time{}
	}
	return time.UnixMilli(int64(of.End * 1000))
}
