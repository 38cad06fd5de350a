package merchants

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/closeorder/closeorder/internal/slips"
)

// wholeCall is the address of a V2 call, as documents show it; what stands
// before it is the base URL.
var wholeCall = regexp.MustCompile(`(?i)/+(secapi/)?pay/+(closeorder|orderquery|unifiedorder|micropay|refund|refundquery|reverse|downloadbill|downloadfundflow|getsignkey)/*$`)

// severalURLs: a comma in a path is one, before a scheme it is none.
var severalURLs = regexp.MustCompile(`(?i),https?:`)

// halfScheme is what is there of a scheme where :// is not.
var halfScheme = regexp.MustCompile(`(?i)^((https?)?:/*|https?//+|/+)`)

// ParseHost reads a base URL of the gateway: scheme, host, port where it is
// another, and a path where the calls live under one, as those of the official
// sandbox do. It returns it as it is called: scheme and host in lower case,
// without the scheme's own port and without slashes at the end.
//
// The error says what to write instead. It shows no user and no password.
func ParseHost(s string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		problem := fmt.Sprintf("%q ", slips.Redacted(s)) + fmt.Sprintf(format, args...)
		if wide := slips.Wide(s); wide != "" {
			problem += "; " + wide
		}
		return "", errors.New(problem)
	}
	if inner, quoted := slips.Unquote(s); quoted {
		return bad("is in quotes, write %s", slips.Redacted(inner))
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return bad("has white space at byte %d, write it without; several URLs are several entries, with commas between them in a variable or flag", i+1)
	}
	if strings.ContainsAny(s, ";|") || severalURLs.MatchString(s) {
		return bad("is not one base URL; write several with commas between them, or as a YAML list")
	}
	if slips.Wide(s) != "" {
		return bad("is not a URL")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		return bad("has a character at byte %d that cannot be seen; type it anew", i+1)
	}
	lower := strings.ToLower(s)
	if !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		if !strings.Contains(s, "://") && !strings.Contains(s, "@") && len(s) > 2 {
			return bad("must begin with https:// (or http:// for a simulator); write https://%s", halfScheme.ReplaceAllString(s, ""))
		}
		return bad("must begin with https:// (or http:// for a simulator); write for example https://api.mch.weixin.qq.com")
	}
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@"), err == nil && u.User != nil:
		return bad("must be a plain base URL, without user and password")
	case err != nil:
		return bad("is not a URL; write for example https://api.mch.weixin.qq.com")
	case u.Hostname() == "":
		return bad("has no host name; write for example https://api.mch.weixin.qq.com")
	case u.Port() != "" && !isPort(u.Port()):
		return bad("has a port that does not exist; it is 1 to 65535")
	}
	plain := s
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		plain = strings.TrimRight(s[:i], "/")
	}
	if call := wholeCall.FindStringIndex(plain); call != nil {
		return bad("is the address of a call; write its base alone, %s: the rest is added", plain[:call[0]])
	}
	switch _, path, _ := strings.Cut(strings.TrimRight(plain, "/"), "://"); {
	case plain != s && plain+"/" != s:
		return bad("must be a plain base URL, without query or fragment; write %s", plain)
	case strings.Contains(path, "//"):
		return bad("has // in its path; write one /")
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	host = strings.TrimSuffix(host, ":")
	return u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// ParseHosts reads a list of base URLs and returns them as they are called;
// problems are by the index of the entry. One that is there twice is a
// problem: whoever wrote it meant another one.
func ParseHosts(list []string) (hosts []string, problems map[int]error) {
	first := map[string]int{}
	problems = map[int]error{}
	for i, s := range list {
		host, err := ParseHost(s)
		if other, twice := first[host]; err == nil && twice {
			err = fmt.Errorf("%q is there twice, as entry %d and %d; leave one out", s, other+1, i+1)
		}
		if err != nil {
			problems[i] = err
			continue
		}
		first[host] = i
		hosts = append(hosts, host)
	}
	return hosts, problems
}
