package kafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// TestRequestsInFlightAreBounded, and an answer in the wrong order ends the
// connection with all of them: nobody knows any more whose answers come.
func TestRequestsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var ends []error
		c := &conn{
			net: near, in: bufio.NewReader(near), address: "kafka:9092",
			room: make(chan struct{}, inFlight), write: make(chan struct{}, 1), over: make(chan struct{}),
			ended: func(_ *conn, why error) { ends = append(ends, why) },
		}
		var running sync.WaitGroup
		running.Go(c.read)
		seen := make(chan uint32, 100)
		running.Go(func() {
			for {
				var size [4]byte
				if _, err := io.ReadFull(far, size[:]); err != nil {
					return
				}
				body := make([]byte, binary.BigEndian.Uint32(size[:]))
				if _, err := io.ReadFull(far, body); err != nil {
					return
				}
				seen <- binary.BigEndian.Uint32(body[4:])
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var mu sync.Mutex
		failed := make(map[string]int)
		for range inFlight + 8 {
			running.Go(func() {
				f, err := encode(&listoffsets.Request{}, 1, "")
				if err == nil {
					defer f.free()
					_, err = c.roundTrip(ctx, f, 0)
				}
				mu.Lock()
				defer mu.Unlock()
				failed[err.Error()]++
			})
		}
		synctest.Wait()
		if len(seen) != inFlight || <-seen != 1 || <-seen != 2 {
			t.Errorf("%d requests are in flight", len(seen))
		}
		if _, err := far.Write([]byte{0, 0, 0, 4, 0, 0, 0, 2}); err != nil {
			t.Fatal(err)
		}
		running.Wait()
		if len(ends) != 1 || !strings.Contains(ends[0].Error(), "answers request 2 instead of 1") {
			t.Errorf("it ended with %v", ends)
		}
		if failed[errUnsent.Error()] != 8 || len(failed) != 2 {
			t.Errorf("%v", failed)
		}
	})
}

// TestWhatIsOnItsWayWhenQuotasBeginIsWaitedFor: a broker leaves a connection
// unread for as long as it says in an answer. What was sent before that was known
// is answered later by as much, and one of little time does not end the others:
// whoever writes again what was only late writes it twice.
func TestWhatIsOnItsWayWhenQuotasBeginIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const unread = 4 * time.Second
		near, far := net.Pipe()
		answers := 0
		c := &conn{
			net: near, in: bufio.NewReader(near), address: "kafka:9092",
			room: make(chan struct{}, inFlight), write: make(chan struct{}, 1), over: make(chan struct{}),
			answered: func(protocol.Message, int16) time.Duration {
				if answers++; answers == 1 {
					return unread
				}
				return 0
			},
			ended: func(*conn, error) {},
		}
		var running sync.WaitGroup
		running.Go(c.read)
		running.Go(func() { _, _ = io.Copy(io.Discard, far) })
		answer := func(id byte) {
			if _, err := far.Write([]byte{0, 0, 0, 8, 0, 0, 0, id, 0, 0, 0, 0}); err != nil {
				t.Error(err)
			}
		}
		ask := func(patience time.Duration) <-chan error {
			done := make(chan error, 1)
			running.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				f, err := encode(&listoffsets.Request{}, 1, "")
				if err == nil {
					defer f.free()
					_, err = c.roundTrip(ctx, f, 0)
				}
				done <- err
			})
			synctest.Wait()
			return done
		}
		first, short, last := ask(time.Minute), ask(time.Second), ask(time.Minute)
		answer(1)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-short; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the one of little time: %v", err)
		}
		time.Sleep(unread - time.Second) // the short one has waited for the rest
		answer(2)
		answer(3)
		if err := <-last; err != nil {
			t.Errorf("the one behind it: %v", err)
		}
		c.end(errIdle)
		running.Wait()
	})
}

// TestNobodyComesBetweenTheEndOfAConnectionAndItsReason: a request that is made
// at the moment at which a connection is given up goes over another one.
func TestNobodyComesBetweenTheEndOfAConnectionAndItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := func() *conn {
			near, far := net.Pipe()
			t.Cleanup(func() { near.Close(); far.Close() })
			return &conn{
				net: near, in: bufio.NewReader(near), address: "kafka:9092",
				room: make(chan struct{}, inFlight), write: make(chan struct{}, 1), over: make(chan struct{}),
				ended: func(*conn, error) {},
			}
		}
		send := func(c *conn) error {
			f, err := encode(&listoffsets.Request{}, 1, "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.free()
			soon, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = c.send(soon, f, 0)
			return err
		}
		idle := open()
		idle.rest(time.Now())
		time.Sleep(idleTimeout)
		if err := idle.overdue(); !errors.Is(err, errIdle) {
			t.Errorf("nobody has asked: %v", err)
		}
		if err := send(idle); !errors.Is(err, errUnsent) {
			t.Errorf("a request on a connection that nobody needs: %v", err)
		}
		late, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		answered := open()
		answered.parks = true
		answered.leave(late, &call{})
		if answered.err != nil || answered.retired {
			t.Errorf("one was answered as its time was over: %v", answered.err)
		}
		parked := open()
		parked.parks, parked.queue = true, []*call{{done: make(chan reply, 1)}}
		parked.leave(late, parked.queue[0])
		if !parked.retired {
			t.Error("a connection takes requests until it is closed")
		}
	})
}
