package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// asked is what an outcome says it answers.
type asked struct {
	order   events.Order
	request string
}

// waiter waits for the outcomes of requests. It begins to read where the
// outcome topic ended before the requests were published, so that it misses
// none and sees none of earlier requests of the same name.
type waiter struct {
	app     *app
	reader  *kafka.Reader
	topic   string
	from    kafka.Offsets
	open    map[asked]int
	total   int
	printer *outcomePrinter
	results map[events.Result]int
}

var (
	errAllAnswered = errors.New("all requests are answered")
	errWaited      = errors.New("the time to wait is over")
)

func (a *app) newWaiter(ctx context.Context, c *cluster, topic string, requests []events.Request, asJSON bool) (*waiter, error) {
	w := &waiter{
		app: a, reader: c.reader(), topic: topic, total: len(requests),
		open: map[asked]int{}, results: map[events.Result]int{}, printer: a.outcomePrinter(asJSON, time.TimeOnly),
	}
	for _, r := range requests {
		w.open[asked{r.Order(), r.RequestID}]++
	}
	var err error
	w.from, err = where{end: true}.offsets(ctx, w.reader, topic)
	return w, err
}

// forget takes out a request that could not be published.
func (w *waiter) forget(r events.Request) {
	key := asked{r.Order(), r.RequestID}
	if w.open[key]--; w.open[key] <= 0 {
		delete(w.open, key)
	}
	w.total--
}

// wait prints the outcomes as they come, and returns nil when every request
// was answered with closed or paid.
func (w *waiter) wait(ctx context.Context, timeout time.Duration) error {
	if len(w.open) == 0 {
		return nil
	}
	waitCtx, cancel := context.WithTimeoutCause(ctx, timeout, errWaited)
	defer cancel()
	bar := w.app.progress("answered", int64(w.total))
	seen := map[string]bool{}
	err := w.reader.Read(waitCtx, w.topic, w.from, nil, func(r kafka.Record) error {
		o, err := events.DecodeOutcome(r.Message)
		if err != nil {
			return nil //nolint:nilerr // of somebody else
		}
		key := asked{o.Order(), o.RequestID}
		if w.open[key] == 0 || seen[o.ID] {
			return nil
		}
		seen[o.ID] = true
		w.results[o.Result]++
		bar.add(1)
		if err := w.printer.print(o); err != nil {
			return err
		}
		if w.open[key]--; w.open[key] == 0 {
			delete(w.open, key)
		}
		if len(w.open) == 0 {
			return errAllAnswered
		}
		return nil
	})
	bar.finish()
	switch {
	case errors.Is(err, errAllAnswered):
	case errors.Is(err, errWaited), ctx.Err() != nil:
		w.report(ctx.Err() != nil, timeout)
		return errBadNews
	default:
		return err
	}
	if w.results[events.Failed] > 0 {
		return errBadNews
	}
	return nil
}

// report names what has no answer yet, and what that means.
func (w *waiter) report(stopped bool, timeout time.Duration) {
	left := 0
	for _, n := range w.open {
		left += n
	}
	why := fmt.Sprintf("after %v", timeout)
	if stopped {
		why = "when it was stopped"
	}
	fmt.Fprintf(w.app.stderr, "closeorder: %d of %s had no outcome %s; they are not lost: follow them with closeorder outcomes\n",
		left, count(w.total, "request"), why)
	open := slices.Collect(maps.Keys(w.open))
	w.app.printSome(10, len(open), func(i int) string {
		return fmt.Sprintf("%s of merchant %s", cell(open[i].order.OutTradeNo), cell(open[i].order.MchID))
	})
}
