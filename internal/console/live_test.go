package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/index"
)

// follower follows a page, and notes when which event came.
type follower struct {
	mu    sync.Mutex
	began time.Time
	buf   bytes.Buffer
	came  []string // "3s page"
	texts []string
}

func (w *follower) Header() http.Header { return http.Header{} }

func (w *follower) WriteHeader(int) {}

func (w *follower) Write(b []byte) (int, error) { return w.buf.Write(b) }

func (w *follower) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.buf.Reset()
	if name, ok := strings.CutPrefix(w.buf.String(), "event: "); ok {
		name, data, _ := strings.Cut(name, "\n")
		w.came, w.texts = append(w.came, time.Since(w.began).String()+" "+name), append(w.texts, data)
	}
}

// following follows a page in virtual time while f runs, and returns what came.
func following(t *testing.T, path string, f func(t *testing.T, s *fakes)) (came, texts []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newFakes(t)
		ctx, cancel := context.WithCancel(t.Context())
		w := &follower{began: time.Now()}
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		for name, value := range map[string]string{"Accept": "text/event-stream", "X-User": "wang", "X-Role": string(access.Operator)} {
			r.Header.Set(name, value)
		}
		var running sync.WaitGroup
		running.Go(func() { s.ServeHTTP(w, r) })
		synctest.Wait()
		f(t, s)
		cancel()
		running.Wait()
		came, texts = w.came, w.texts
	})
	return came, texts
}

func TestAnEventEndsWhereItsTextDoes(t *testing.T) {
	for text, want := range map[string]string{
		"one line":                           "event: trouble\ndata: one line\n\n",
		"two\nlines":                         "event: trouble\ndata: two\ndata: lines\n\n",
		"":                                   "event: trouble\ndata: \n\n",
		"an empty\n\nevent: page\ndata: <b>": "event: trouble\ndata: an empty\ndata: \ndata: event: page\ndata: data: <b>\n\n",
		"an old\rend\r\rof lines\r\n":        "event: trouble\ndata: an old\\u{000d}end\\u{000d}\\u{000d}of lines\\u{000d}\ndata: \n\n",
	} {
		w := httptest.NewRecorder()
		if err := event(w, "trouble", []byte(text)); err != nil || w.Body.String() != want {
			t.Errorf("%q becomes %q, %v", text, w.Body, err)
		}
	}
}

func TestAPageIsSentWhenItHasChangedAndNotMoreThanOnceASecond(t *testing.T) {
	came, texts := following(t, "/search", func(*testing.T, *fakes) {})
	if len(came) > 0 {
		t.Errorf("a page that is not live sends %v, %.100q", came, texts)
	}
	letter := func(s *fakes, code string) {
		synctest.Wait() // nobody reads it now
		s.index.groups = []index.Group{{Code: code, Count: 1}}
		s.index.change()
	}
	came, texts = following(t, "/", func(_ *testing.T, s *fakes) {
		time.Sleep(3500 * time.Millisecond)
		letter(s, "A")
		time.Sleep(100 * time.Millisecond)
		letter(s, "B")
		time.Sleep(100 * time.Millisecond)
		letter(s, "C")
		time.Sleep(20 * time.Second)
		s.index.change() // and nothing that is shown has
		time.Sleep(20 * time.Second)
	})
	if want := []string{"0s page", "3.5s page", "4.5s page"}; !slices.Equal(came, want) {
		t.Fatalf("%v, want %v", came, want)
	}
	for i, want := range []string{"A", "C"} {
		if !strings.Contains(texts[i+1], "code="+want) {
			t.Errorf("the page at %s lacks %s", came[i+1], want)
		}
	}
}

func TestTroubleIsToldToThoseWhoFollowAndEnds(t *testing.T) {
	set := func(s *fakes, err error) {
		synctest.Wait() // nobody reads it now
		s.index.err = err
		s.index.change()
	}
	came, _ := following(t, "/dead-letters", func(_ *testing.T, s *fakes) {
		time.Sleep(2 * time.Second)
		set(s, errors.New("database is locked"))
		time.Sleep(2 * time.Second)
		set(s, nil)
		time.Sleep(2 * time.Second)
	})
	if want := []string{"0s page", "2s trouble", "4s page"}; !slices.Equal(came, want) {
		t.Errorf("%v, want %v", came, want)
	}
}

func TestWhoFollowsIsLetGoWhenTheConsoleEndsAndAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for what, end := range map[string]func(s *fakes){
			"the console ends": func(s *fakes) { close(s.ending) },
			"a while":          func(*fakes) { time.Sleep(followFor) },
		} {
			s := newFakes(t)
			done := make(chan struct{})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("X-User", "wang")
			go func() {
				s.ServeHTTP(&follower{began: time.Now()}, r)
				close(done)
			}()
			synctest.Wait()
			end(s)
			select {
			case <-done:
			case <-time.After(2 * time.Second):
				t.Errorf("%s: it is followed on", what)
				return
			}
		}
	})
}
