package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// ServeHTTP takes the gateway's notices of payments ("Payment Result
// Notification"). They come late, several times, not at all, and in the middle
// of a close.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Anybody can post here. What our key has not signed is no news, and no work
	// for a person either, or anybody could fill his list.
	notice, err := readDocument(r.Body)
	if err == nil {
		err = s.gateway.verify(notice)
	}
	if err == nil {
		err = s.notified(r.Context(), notice)
	}
	// SUCCESS only when it is in the database: after it the gateway is silent.
	// After anything else it tells us again.
	answer := document{{Name: "return_code", Value: "SUCCESS"}, {Name: "return_msg", Value: "OK"}}
	if err != nil {
		s.log.Printf("notice from %s: not taken: %v", r.RemoteAddr, err)
		answer = document{{Name: "return_code", Value: "FAIL"}, {Name: "return_msg", Value: "not taken"}}
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write(answer.xml()) // where it does not arrive the notice comes again
}

// notified settles the number of a notice that is signed. The error is the
// database's.
func (s *shop) notified(ctx context.Context, notice document) error {
	if notice.get("result_code") != "SUCCESS" {
		return nil // a payment that failed: the buyer may try again
	}
	number, fee := notice.get("out_trade_no"), notice.get("total_fee")
	return s.db.change(ctx, func(tx *sql.Tx) error {
		p, pay, err := lockPayment(ctx, tx, number)
		if errors.Is(err, sql.ErrNoRows) {
			return s.remember(ctx, tx, "notice", number, fmt.Sprintf("a notice that %s fen were paid for a number that is not here", fee))
		}
		if err != nil {
			return err
		}
		// Ours and signed is not enough: what was paid must be what was to pay.
		amount, err := strconv.ParseInt(fee, 10, 64)
		if err != nil || amount <= 0 {
			return s.remember(ctx, tx, "amount", number, fmt.Sprintf("a notice with the amount %q", fee))
		}
		if _, err := tx.ExecContext(ctx, `UPDATE payments SET transaction_id = $1 WHERE out_trade_no = $2`, notice.get("transaction_id"), number); err != nil {
			return err
		}
		return s.carryOut(ctx, tx, p, pay, onPaid(p, pay, amount))
	})
}
