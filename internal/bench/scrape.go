package main

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// scraper asks a worker for its metrics each second until it ends. The nil scraper
// asks nobody.
type scraper struct {
	asked, answered atomic.Int64
	done            chan struct{}
}

func scrape(url string, until <-chan struct{}) *scraper {
	s := &scraper{done: make(chan struct{})}
	client := &http.Client{Timeout: 5 * time.Second}
	go func() {
		defer close(s.done)
		defer client.CloseIdleConnections()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if ask(client, url) {
				s.answered.Add(1)
			}
			s.asked.Add(1)
			select {
			case <-until:
				return
			case <-tick.C:
			}
		}
	}()
	return s
}

func ask(client *http.Client, url string) bool {
	resp, err := client.Get(url) //nolint:noctx // the client has a time-out
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// missed: it was never answered.
func (s *scraper) missed() bool { return s != nil && s.answered.Load() == 0 }

// wait waits until nobody is asked any more.
func (s *scraper) wait() {
	if s != nil {
		<-s.done
	}
}

// freeAddress is one on loopback that nobody listens at now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
