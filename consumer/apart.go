package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// apart tells when the group deals the retries of a number to another member
// than its requests: then two workers may close one order at a time (G4). It
// changes nothing. Only workers deal rows (see package group); another client
// that leads the group does not, nor does a coordinator that deals by itself
// (KIP-848), and a client that reads the requests alone leaves their retries
// behind. Its methods are called one at a time.
type apart struct {
	topics Topics
	// patience is how long it must last: what moves is for a moment nobody's.
	patience time.Duration
	log      logrus.FieldLogger
	wg       *sync.WaitGroup

	since time.Time // when this began; zero: it is not so
	told  bool      // of what began then
	stop  context.CancelFunc
}

// look looks at an assignment, and at how many partitions each topic has. What
// is not the last one for as long as patience says is not told of, if that comes
// before ctx ends.
func (a *apart) look(ctx context.Context, assigned map[string][]int, counts map[string]int) {
	a.cancel()
	retries, requests := a.numbers(assigned, counts)
	if len(retries)+len(requests) == 0 {
		a.since, a.told = time.Time{}, false
		return
	}
	if a.since.IsZero() {
		a.since = time.Now()
	}
	if a.told {
		return
	}
	wait := a.patience - time.Since(a.since)
	ctx, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	a.stop = func() {
		stop()
		<-over
	}
	a.wg.Go(func() {
		defer close(over)
		if kafka.Sleep(ctx, wait) != nil {
			return
		}
		a.told = true
		a.log.WithFields(logrus.Fields{"retries_alone": retries, "requests_alone": requests}).
			Error("ALARM: the group gives this worker retries without the requests of that number, or requests without the retries of that number (retries_alone, requests_alone): " +
				"two workers may close one order at the same time. A client that is not closeorder is in the group, or workers have other retry topics than this one: " +
				"give that client a group of its own (kafka-consumer-groups.sh --describe --members says which it is), and all workers the same topics")
	})
}

// forget is for the end of a membership: nothing is assigned.
func (a *apart) forget() {
	a.cancel()
	a.since = time.Time{}
}

// cancel ends the wait for what was seen last.
func (a *apart) cancel() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// numbers are those of which only the retries are assigned, of some or all
// topics, and those of which only the requests are, or not all retries. Retry
// topics with another number of partitions have no such numbers.
func (a *apart) numbers(assigned map[string][]int, counts map[string]int) (retries, requests []int) {
	for number := range counts[a.topics.Requests] {
		has := slices.Contains(assigned[a.topics.Requests], number)
		some, all := false, true
		for _, tier := range a.topics.Retries {
			if counts[tier.Topic] == counts[a.topics.Requests] {
				there := slices.Contains(assigned[tier.Topic], number)
				some, all = some || there, all && there
			}
		}
		switch {
		case has && !all:
			requests = append(requests, number)
		case !has && some:
			retries = append(retries, number)
		}
	}
	return retries, requests
}
