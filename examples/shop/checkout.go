package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// createTimeout bounds a create call, and so how late it can arrive. The
// worker's gateway.settle_age (1 minute) must be longer.
const createTimeout = 5 * time.Second

// sell writes a purchase and its first number, in one transaction. The gateway
// is called afterwards, by create: a call in a transaction would hold its locks
// for as long as the gateway takes, and a rollback would not take it back.
// Selling a purchase again does nothing.
func (s *shop) sell(ctx context.Context, id string, fee int64) error {
	return s.db.change(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO purchases (id, fee, state, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`, id, fee, open, now())
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return addPayment(ctx, tx, purchase{id: id, fee: fee}, 1)
	})
}

// addPayment gives a purchase its n-th number. create sends it to the gateway.
func addPayment(ctx context.Context, tx *sql.Tx, p purchase, n int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO payments
		(out_trade_no, purchase, n, fee, state, create_sent_at, create_again_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $6)`,
		numberOf(p.id, n), p.id, n, p.fee, created, now())
	return err
}

// numberOf is the n-th out_trade_no of a purchase: derived, so that what is done
// again after a crash is the same number.
func numberOf(purchase string, n int) string { return fmt.Sprintf("%s-%d", purchase, n) }

// create makes the next number known to the gateway, with the same number again
// until it is answered. It returns how many it has called for.
func (s *shop) create(ctx context.Context) (int, error) {
	// First written, then sent: order_created_at must never be before a create
	// call that is on its way, or the worker takes a number that it does not find
	// for one that cannot come any more. And only while it is created: when the
	// number is being closed no create call may follow. The row is claimed by the
	// same statement, so that two processes do not call side by side.
	began := time.Now()
	var pay payment
	err := s.db.QueryRowContext(ctx, `UPDATE payments SET create_sent_at = $1, create_again_at = $2
		WHERE state = 'created' AND create_again_at <= $1 AND out_trade_no =
			(SELECT out_trade_no FROM payments WHERE state = 'created' AND create_again_at <= $1 ORDER BY create_again_at, out_trade_no LIMIT 1)
		RETURNING out_trade_no, purchase, n, fee`,
		began.UnixMilli(), began.Add(createTimeout+time.Second).UnixMilli()).Scan(&pay.outTradeNo, &pay.purchase, &pay.n, &pay.fee)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	call, cancel := context.WithDeadline(ctx, began.Add(createTimeout)) // from when it was written
	defer cancel()
	codeURL, err := s.gateway.create(call, pay)
	var refused *refusedError
	switch {
	case errors.As(err, &refused) && refused.final():
		// It will not work. But an earlier call, or this one, may have arrived:
		// the number must be closed like any other before there is a new one.
		s.log.Printf("%s: the create call is refused: %v", pay.outTradeNo, err)
		return 1, s.stop(ctx, pay.outTradeNo, "payment_failed", pay.n < maxNumbers)
	case err != nil:
		s.log.Printf("%s: the create call goes out again: %v", pay.outTradeNo, err)
		_, err = s.db.ExecContext(ctx, `UPDATE payments SET create_again_at = $1 WHERE out_trade_no = $2 AND state = 'created'`,
			in(time.Second), pay.outTradeNo)
		return 1, err
	default:
		// Not where it is being closed or is paid by now: those states stay.
		_, err = s.db.ExecContext(ctx, `UPDATE payments SET state = 'payable', code_url = $1 WHERE out_trade_no = $2 AND state = 'created'`,
			codeURL, pay.outTradeNo)
		return 1, err
	}
}

// stop is called when the payment of a number has failed or has taken too long.
// The number is closed first; what then becomes of the purchase (a new number,
// or nothing) is done when an outcome says that the old one is safe.
func (s *shop) stop(ctx context.Context, outTradeNo, reason string, newNumber bool) error {
	return s.db.change(ctx, func(tx *sql.Tx) error {
		_, pay, err := lockPayment(ctx, tx, outTradeNo)
		if err != nil || pay.state != created && pay.state != payable {
			return err // paid in the meantime, or being closed already
		}
		pay.newNumber = newNumber
		return askToClose(ctx, tx, pay, reason, 0)
	})
}

// askToClose marks a number as closing and puts the request into the outbox, in
// the caller's transaction.
func askToClose(ctx context.Context, tx *sql.Tx, pay payment, reason string, pause time.Duration) error {
	pay.requests++
	// create_sent_at as it is now that no create call can follow: on PostgreSQL
	// one may have been sent since the caller has read it.
	if err := tx.QueryRowContext(ctx, `UPDATE payments SET state = 'closing', new_number = $1, requests = $2 WHERE out_trade_no = $3
		RETURNING create_sent_at`, number(pay.newNumber), pay.requests, pay.outTradeNo).Scan(&pay.createSent); err != nil {
		return err
	}
	return queue(ctx, tx, pay, reason, pause)
}

// lockPayment reads a number and its purchase, and keeps everybody else from
// changing them until the transaction ends, all but the create call: outcome,
// notice and time-out of one purchase come at the same time. SQLite has one
// writer anyway, PostgreSQL locks a row that is updated; SELECT ... FOR UPDATE is
// PostgreSQL's alone.
func lockPayment(ctx context.Context, tx *sql.Tx, outTradeNo string) (p purchase, pay payment, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE purchases SET changes = changes + 1
		WHERE id = (SELECT purchase FROM payments WHERE out_trade_no = $1)
		RETURNING id, fee, state`, outTradeNo).Scan(&p.id, &p.fee, &p.state)
	if err != nil {
		return p, pay, err
	}
	pay, err = scanPayment(tx.QueryRowContext(ctx, selectPayments+` WHERE out_trade_no = $1`, outTradeNo))
	return p, pay, err
}

const selectPayments = `SELECT out_trade_no, purchase, n, fee, state, new_number, requests, created_at, create_sent_at FROM payments`

func scanPayment(row interface{ Scan(...any) error }) (pay payment, err error) {
	err = row.Scan(&pay.outTradeNo, &pay.purchase, &pay.n, &pay.fee, &pay.state, &pay.newNumber, &pay.requests, &pay.createdAt, &pay.createSent)
	return pay, err
}

// carryOut does what was decided, in the caller's transaction.
func (s *shop) carryOut(ctx context.Context, tx *sql.Tx, p purchase, pay payment, d decision) error {
	exec := func(statement string, args ...any) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	}
	for _, step := range []struct {
		wanted bool
		do     func() error
	}{
		{d.payment != "", func() error {
			return exec(`UPDATE payments SET state = $1 WHERE out_trade_no = $2`, d.payment, pay.outTradeNo)
		}},
		{d.payment != "", func() error { return solved(ctx, tx, pay.outTradeNo) }},
		// Delivering is a row here. Where it is a call, put it into an outbox of its
		// own in this place.
		{d.purchase != "", func() error {
			return exec(`UPDATE purchases SET state = $1, delivered = $2 WHERE id = $3 AND state = 'open'`, d.purchase, number(d.purchase == paid), p.id)
		}},
		{d.reissue, func() error { return addPayment(ctx, tx, p, pay.n+1) }},
		{d.closeOthers, func() error { return closeOthers(ctx, tx, p, pay) }},
		{d.askAgain > 0, func() error { return askToClose(ctx, tx, pay, "asked_again", d.askAgain) }},
		{d.todo != "", func() error { return s.remember(ctx, tx, d.todo, pay.outTradeNo, d.why) }},
	} {
		if step.wanted {
			if err := step.do(); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeOthers stops the other numbers of a purchase that has been paid. There is
// one only where a number was paid that counted as closed.
func closeOthers(ctx context.Context, tx *sql.Tx, p purchase, but payment) error {
	other, err := scanPayment(tx.QueryRowContext(ctx, selectPayments+
		` WHERE purchase = $1 AND out_trade_no <> $2 AND state IN ('created', 'payable')`, p.id, but.outTradeNo))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	other.newNumber = false
	return askToClose(ctx, tx, other, "paid_otherwise", 0)
}

// number is a truth value as both databases have it in an INTEGER.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
