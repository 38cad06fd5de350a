package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/access"
)

// connection notes until when may be read and written.
type connection struct {
	http.ResponseWriter
	read, write []time.Duration // from the beginning; below zero for ever
	began       time.Time
}

func (c *connection) SetReadDeadline(t time.Time) error {
	c.read = append(c.read, c.left(t))
	return nil
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	c.write = append(c.write, c.left(t))
	return nil
}

func (c *connection) left(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return t.Sub(c.began)
}

func (c *connection) Flush() {}

// Nobody has to log in to open connections, and to say little or read nothing on them.
func TestNobodyHoldsAConnectionByBeingSlow(t *testing.T) {
	ask := func(t *testing.T, method, path, body, accept string) *connection {
		f := newFakes(t)
		c := &connection{ResponseWriter: httptest.NewRecorder(), began: time.Now()}
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Accept", accept)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-User", "wang")
		r.Header.Set("X-Role", string(access.Operator))
		f.ServeHTTP(c, r)
		return c
	}
	for what, tt := range map[string]struct {
		method, path, body, accept string
		read, write                []time.Duration
	}{
		"a page":                        {"GET", "/dead-letters", "", "text/html", nil, []time.Duration{answerWithin}},
		"a form, until it is there":     {"POST", "/replay/pause", "id=1", "text/html", []time.Duration{formWithin, -1}, []time.Duration{answerWithin}},
		"what is sent to nobody":        {"POST", "/livez", "x=1", "text/html", []time.Duration{formWithin}, []time.Duration{answerWithin}},
		"what is sent beside a request": {"GET", "/livez", "x=1", "text/html", []time.Duration{formWithin}, []time.Duration{answerWithin}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := ask(t, tt.method, tt.path, tt.body, tt.accept)
				if !slices.Equal(c.read, tt.read) || !slices.Equal(c.write, tt.write) {
					t.Errorf("read until %v, written until %v", c.read, c.write)
				}
			})
		})
	}
	t.Run("a page that is followed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := ask(t, "GET", "/dead-letters", "", "text/event-stream")
			if n := len(c.write); n < 100 || c.write[1] != takenWithin || c.write[n-1] <= followFor || len(c.read) > 0 {
				t.Errorf("read until %v, written until %v", c.read, c.write)
			}
		})
	})
}

func TestAFilterOfVeryManyCodesIsRefused(t *testing.T) {
	var codes []string
	for i := range 100_000 {
		codes = append(codes, "c"+strconv.Itoa(i))
	}
	f := newFakes(t)
	if got := f.post("/replays", url.Values{"what": {"all"}, "code": {strings.Join(codes, ",")}}); got.Code != http.StatusBadRequest || len(f.desk.did) > 0 {
		t.Errorf("%d, %v", got.Code, f.desk.did)
	}
	if got := f.get("/dead-letters?code=" + strings.Join(codes[:9000], ",")); got.Code != http.StatusOK || len(f.index.filter.Codes) != mostCodes {
		t.Errorf("%d, %d codes", got.Code, len(f.index.filter.Codes))
	}
}
