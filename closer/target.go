package closer

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// target is one of the two calls at one host: where it goes, and the head of
// its requests, which is the same for all but the length of the document.
type target struct {
	url string
	// origin has the connections; nil where net/http has them.
	origin *origin
	// The head of a request, before and after its Content-Length.
	before, after string
}

type targetKey struct {
	base string // URL of the host
	call Call
}

// target returns where a call of a host goes.
func (t *transport) target(base string, call Call) *target {
	key := targetKey{base, call}
	t.mu.RLock()
	to := t.targets[key]
	t.mu.RUnlock()
	if to != nil {
		return to
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if to := t.targets[key]; to != nil {
		return to
	}
	to = t.newTarget(base + "/pay/" + string(call))
	t.targets[key] = to
	return to
}

// newTarget has net/http write the head, so that it is what net/http would
// send. What is unusual in a URL, a proxy included, is left to net/http. t.mu
// is held.
func (t *transport) newTarget(at string) *target {
	to := &target{url: at}
	req, err := newRequest(context.Background(), at, strings.NewReader("-"))
	if err != nil {
		return to // net/http says what is wrong with it
	}
	if !asksKernel && !t.virtual {
		return to
	}
	if t.proxy != nil {
		if via, err := t.proxy(req); err != nil || via != nil {
			return to
		}
	}
	u := req.URL
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	host := u.Hostname()
	if port == "" || host == "" || u.User != nil || strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return to
	}
	var text bytes.Buffer
	if err := req.Write(&text); err != nil {
		return to
	}
	before, after, ok := strings.Cut(text.String(), "Content-Length: 1\r\n")
	after, whole := strings.CutSuffix(after, "\r\n\r\n-")
	if !ok || !whole {
		return to
	}
	to.before, to.after = before+"Content-Length: ", "\r\n"+after+"\r\n"
	to.origin = t.originOf(u.Scheme, host, net.JoinHostPort(host, cmp.Or(u.Port(), port)))
	return to
}

// appendRequest appends a whole request. fresh: the connection is for it alone.
func (to *target) appendRequest(b, doc []byte, fresh bool) []byte {
	b = append(b, to.before...)
	b = strconv.AppendInt(b, int64(len(doc)), 10)
	b = append(b, to.after...)
	if fresh {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, doc...)
}

// failed is the delivery of a call that brought no whole reply.
func (to *target) failed(ctx context.Context, err error, connected bool) delivery {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return delivery{failure: classify(err, connected), err: &url.Error{Op: "Post", URL: to.url, Err: err}}
}
