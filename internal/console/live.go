package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// sendEvery is how often a page is sent again at most, and lookEvery at least: what
	// changes by the clock alone, an age, changes too.
	sendEvery = time.Second
	lookEvery = 5 * time.Second
	// followFor is how long one connection lasts; the browser makes another one, and
	// who asks is looked at again.
	followFor = 10 * time.Minute
)

// follow sends the main part of a page as an event, whenever it has changed.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, p *page) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	out := http.NewResponseController(w)
	ctx, cancel := context.WithTimeout(r.Context(), followFor)
	defer cancel()
	var last []byte
	var seen versions
	for {
		now, err := s.fragment(ctx, r, p)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			now = nil
			err = event(w, "trouble", []byte(err.Error()))
		case !bytes.Equal(now, last):
			err = event(w, "page", now)
		default:
			_, err = fmt.Fprint(w, ":\n\n") // finds out who has gone
		}
		if err != nil || out.Flush() != nil {
			return
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-s.ending:
			return
		case <-time.After(sendEvery):
		}
		seen = s.changed(ctx, seen)
	}
}

// versions are those of the index and the desk.
type versions [2]uint64

// changed waits until one of them has another version, or lookEvery has passed, and
// returns the present ones. What changes between a page's making and its call is
// not missed: the versions are older than the page.
func (s *Server) changed(ctx context.Context, seen versions) versions {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	type change struct {
		of  int
		now uint64
	}
	changes := make(chan change, len(seen))
	for i, wait := range []func(context.Context, uint64) (uint64, error){s.cfg.Index.Changed, s.cfg.Desk.Changed} {
		go func() {
			now, err := wait(ctx, seen[i])
			if err != nil {
				now = seen[i]
			}
			changes <- change{i, now}
		}()
	}
	select {
	case c := <-changes:
		seen[c.of] = c.now
	case <-s.ending:
	}
	return seen
}

// fragment is the main part of a page as it is now.
func (s *Server) fragment(ctx context.Context, r *http.Request, p *page) ([]byte, error) {
	doc, err := p.load(ctx, r)
	if err != nil {
		return nil, err
	}
	v := s.view(r, p)
	v.Doc = doc
	var b bytes.Buffer
	if err := render(&b, "main", v); err != nil {
		return nil, err
	}
	return visible(b.Bytes()), nil
}

// event writes one server-sent event.
func event(w http.ResponseWriter, name string, data []byte) error {
	var b strings.Builder
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range strings.SplitSeq(strings.ReplaceAll(string(data), "\r", ""), "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteString("\n")
	_, err := w.Write([]byte(b.String()))
	return err
}
