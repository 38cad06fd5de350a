package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
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
	waiting := []waits{s.cfg.Index.Changed, s.cfg.Desk.Changed}
	if p.also != nil {
		waiting = append(waiting, p.also)
	}
	seen := make([]uint64, len(waiting))
	var last []byte
	for {
		now, err := s.fragment(ctx, r, p)
		_ = out.SetWriteDeadline(time.Now().Add(takenWithin)) // who reads nothing is let go of
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
		s.changed(ctx, waiting, seen)
	}
}

// waits waits until something has another version than the one after which it is
// asked for, and returns that; the error is the cause of the context.
type waits func(ctx context.Context, after uint64) (uint64, error)

// changed waits until one of them has another version than was seen, or lookEvery
// has passed, and notes it. What changes between a page's making and its call is not
// missed: the versions are older than the page.
func (s *Server) changed(ctx context.Context, waiting []waits, seen []uint64) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	type change struct {
		of  int
		now uint64
	}
	changes := make(chan change, len(waiting))
	for i, wait := range waiting {
		after := seen[i]
		go func() {
			if now, err := wait(ctx, after); err == nil {
				changes <- change{i, now}
			}
		}()
	}
	select {
	case c := <-changes:
		seen[c.of] = c.now
	case <-ctx.Done():
	case <-s.ending:
	}
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
	return b.Bytes(), nil
}

// event writes one server-sent event. What is made visible holds no end of a line but
// \n: nothing in it can end the event, or begin another field.
func event(w http.ResponseWriter, name string, data []byte) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range bytes.SplitSeq(visible(data), []byte("\n")) {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteString("\n")
	_, err := w.Write(b.Bytes())
	return err
}
