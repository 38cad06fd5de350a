package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// balance is what became of all purchases, and whether it is right: by the
// gateway's word about each number, not by our own.
type balance struct {
	Purchases int `json:"purchases"`
	Paid      int `json:"paid"`
	GivenUp   int `json:"given_up"`
	Numbers   int `json:"numbers"`
	Requests  int `json:"close_requests"`
	Reissued  int `json:"reissued"`
	// Taken is what buyers have paid, by the gateway; Sold what was delivered, by
	// our books. In fen.
	Taken int64 `json:"taken_fen"`
	Sold  int64 `json:"sold_fen"`
	// These are purchases, and all of them must be none.
	PaidTwice       []string `json:"paid_twice"`
	NeverDelivered  []string `json:"never_delivered"`
	DeliveredUnpaid []string `json:"delivered_unpaid"`
	LeftOpen        []string `json:"left_open"`
	Todo            []task   `json:"todo"`
}

func (b *balance) right() bool {
	return b.Taken == b.Sold && len(b.PaidTwice)+len(b.NeverDelivered)+len(b.DeliveredUnpaid)+len(b.LeftOpen) == 0
}

// takeBalance asks the gateway about each number that was ever given out.
func (s *shop) takeBalance(ctx context.Context) (*balance, error) {
	// Empty lists, and not null, in JSON.
	b := &balance{PaidTwice: []string{}, NeverDelivered: []string{}, DeliveredUnpaid: []string{}, LeftOpen: []string{}}
	type sale struct {
		id, state     string
		fee           int64
		delivered     bool
		timesPaid     int
		numbersUnpaid bool // a number that can still be paid
	}
	var sales []*sale
	byID := map[string]*sale{}
	rows, err := s.db.QueryContext(ctx, `SELECT id, state, fee, delivered FROM purchases ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p := &sale{}
		if err := rows.Scan(&p.id, &p.state, &p.fee, &p.delivered); err != nil {
			return nil, err
		}
		sales = append(sales, p)
		byID[p.id] = p
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	payments, err := s.payments(ctx, ` ORDER BY out_trade_no`)
	if err != nil {
		return nil, err
	}
	for _, pay := range payments {
		b.Numbers++
		b.Requests += pay.requests
		if pay.n > 1 {
			b.Reissued++
		}
		state, fee, err := s.gateway.query(ctx, pay.outTradeNo)
		if err != nil {
			return nil, err
		}
		switch state {
		case "SUCCESS":
			byID[pay.purchase].timesPaid++
			b.Taken += fee
		case "CLOSED", "REVOKED", "REFUND", "unknown":
		default: // NOTPAY, USERPAYING, PAYERROR
			byID[pay.purchase].numbersUnpaid = true
		}
	}
	for _, p := range sales {
		b.Purchases++
		switch p.state {
		case paid:
			b.Paid++
		case givenUp:
			b.GivenUp++
		}
		if p.delivered {
			b.Sold += p.fee
		}
		if p.timesPaid > 1 {
			b.PaidTwice = append(b.PaidTwice, p.id)
		}
		if p.timesPaid > 0 && !p.delivered {
			b.NeverDelivered = append(b.NeverDelivered, p.id)
		}
		if p.timesPaid == 0 && p.delivered {
			b.DeliveredUnpaid = append(b.DeliveredUnpaid, p.id)
		}
		if p.state == open || p.numbersUnpaid {
			b.LeftOpen = append(b.LeftOpen, p.id)
		}
	}
	b.Todo, err = s.todo(ctx)
	return b, err
}

// payments are those that a condition, or an order, says.
func (s *shop) payments(ctx context.Context, which string, args ...any) ([]payment, error) {
	rows, err := s.db.QueryContext(ctx, selectPayments+which, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []payment
	for rows.Next() {
		pay, err := scanPayment(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, pay)
	}
	return all, rows.Err()
}

func (b *balance) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(b)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "purchases\t%d\t= %d paid and delivered + %d given up + %d open\n", b.Purchases, b.Paid, b.GivenUp, b.Purchases-b.Paid-b.GivenUp)
	fmt.Fprintf(t, "numbers\t%d\t%d of them issued after another one was closed; %d close requests\n", b.Numbers, b.Reissued, b.Requests)
	fmt.Fprintf(t, "money\t%s CNY\tpaid by buyers, as the gateway says; delivered for %s CNY\n\n", yuan(b.Taken), yuan(b.Sold))
	for _, row := range []struct {
		what      string
		purchases []string
	}{{"paid twice", b.PaidTwice}, {"never delivered", b.NeverDelivered}, {"delivered unpaid", b.DeliveredUnpaid}, {"left open", b.LeftOpen}} {
		fmt.Fprintf(t, "%s\t%d\t", row.what, len(row.purchases))
		for _, id := range row.purchases {
			fmt.Fprintf(t, "%s ", id)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "to do\t%d\t\n", len(b.Todo))
	for _, line := range b.Todo {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", line.Kind, line.Subject, line.What)
	}
	return t.Flush()
}

// yuan writes fen as CNY.
func yuan(fen int64) string { return fmt.Sprintf("%d.%02d", fen/100, fen%100) }
