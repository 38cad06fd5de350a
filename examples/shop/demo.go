package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// What the buyers of the demo do. A real shop hears it from its pages and its
// clock; what it calls then is the same: sell and stop.
const (
	sellEvery  = 150 * time.Millisecond
	maxNumbers = 3                // of a purchase, then it is given up
	patience   = 20 * time.Second // then a number that is not paid is closed
)

// sellAll sells purchases, one after the other, until there are so many. Of a
// database that has some already it sells the rest.
func (s *shop) sellAll(ctx context.Context, purchases int) {
	for i := 1; i <= purchases; i++ {
		// What a number begins with tells the simulator what to do with it.
		kind := "S"
		switch i % 10 {
		case 3:
			kind = "REFUSED" // the first close fails for good: a person's list
		case 6:
			kind = "FLAKY" // the first calls fail
		case 9:
			kind = "LOST" // the first calls take effect, and their replies are lost
		}
		id := fmt.Sprintf("%s-%s-%05d", kind, s.name, i)
		for {
			err := s.sell(ctx, id, int64(100+i*37%900))
			if err == nil {
				break
			}
			s.log.Printf("sell %s: %v", id, err)
			if !pause(ctx, time.Second) {
				return
			}
		}
		if !pause(ctx, sellEvery) {
			return
		}
	}
}

// loseHeart lets payments fail and time out. It returns how many.
func (s *shop) loseHeart(ctx context.Context) (int, error) {
	unpaid, err := s.payments(ctx, ` WHERE state IN ('created', 'payable') AND created_at <= $1`, in(-2*time.Second))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, pay := range unpaid {
		age := time.Since(time.UnixMilli(pay.createdAt))
		// By the number, so that a shop that is started again goes on as before.
		mood := (pay.fee + int64(pay.n)) % 10
		switch {
		case mood < 4 && pay.n < maxNumbers && age > time.Duration(mood+2)*time.Second:
			err = s.stop(ctx, pay.outTradeNo, "payment_failed", true)
		case mood == 4 && age > 8*time.Second, age > patience:
			err = s.stop(ctx, pay.outTradeNo, "payment_timeout", false)
		default:
			continue
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// finished reports whether so many purchases are sold and settled, no number can
// be paid and nothing is to be sent. It tells how far it is.
func (s *shop) finished(ctx context.Context, purchases int, progress io.Writer) (bool, error) {
	var sold, paid, givenUp, unclosed, unsent int
	err := s.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM purchases),
		(SELECT count(*) FROM purchases WHERE state = 'paid'),
		(SELECT count(*) FROM purchases WHERE state = 'given_up'),
		(SELECT count(*) FROM payments WHERE state NOT IN ('closed', 'paid')),
		(SELECT count(*) FROM outbox WHERE sent_at IS NULL)`).Scan(&sold, &paid, &givenUp, &unclosed, &unsent)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(progress, "\rsold %d of %d: %d paid, %d given up, %d numbers open  ", sold, purchases, paid, givenUp, unclosed)
	return sold >= purchases && sold == paid+givenUp && unclosed == 0 && unsent == 0, nil
}

// progressOn is w on a terminal, and nothing elsewhere.
func progressOn(f *os.File) io.Writer {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return f
	}
	return io.Discard
}
