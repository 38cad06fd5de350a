package world

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/closeorder/closeorder/closer"
)

// Sales are purchases at one shop, drawn from a seed: what is bought when, and
// whose payment fails or takes too long, so that its number must be closed. What
// buyers do about it the gateway's simulator draws (gatewaysim.Buyers).
type Sales struct {
	Seed uint64
	// Purchases to sell, and the time over which they are spread.
	Purchases int
	Over      time.Duration
	// Rules that the shop follows.
	Rules Rules
	// Fails is the share of payments whose buyer wants to pay in another way: the
	// shop closes the number and issues a new one. Impatient is the share of
	// purchases that are given up before PayWithin has passed. 0..1.
	Fails, Impatient float64
	// PayWithin is how long a purchase may be paid. Then it is given up.
	PayWithin time.Duration
	// Aged is the share of first requests that say when the order was created.
	// One that asks again always does.
	Aged float64
	// Copies is the share of requests that are published twice, as a relay does
	// that dies behind the first. Rereads is the share of outcomes that are read
	// twice, as by a reader that dies before its commit.
	Copies, Rereads float64
	// Behaviours are prefixes of the first out_trade_no of a purchase to draw from,
	// see gatewaysim.Behaviours; each as often as it is named. All other numbers
	// are ordinary ones.
	Behaviours []string
}

// Rules are what a shop goes by when an outcome comes, or does not. All but
// Careful make one mistake; in all else they are like it.
type Rules string

const (
	// Careful follows docs/order-services.md.
	Careful Rules = "follows the rules"
	// ClosedIsSafe goes by closed alone, and never looks at safe_to_reissue.
	ClosedIsSafe Rules = "reissues on closed alone"
	// SilenceIsSafe takes the order for closed when half a minute has brought no
	// outcome.
	SilenceIsSafe Rules = "reissues after a time-out"
	// FailedIsNoise does nothing about a failed outcome.
	FailedIsNoise Rules = "ignores failed"
	// IDsAlone acts on every outcome whose ce_id is new, whatever it has done about
	// that request.
	IDsAlone Rules = "drops known ce_ids alone"
)

// AllRules are the rules, the right ones first.
func AllRules() []Rules {
	return []Rules{Careful, ClosedIsSafe, SilenceIsSafe, FailedIsNoise, IDsAlone}
}

// patience is how long [SilenceIsSafe] waits for an outcome.
const patience = 30 * time.Second

// purchase is one purchase as the shop keeps it. Guarded by its Seller.
type purchase struct {
	id       string
	merchant closer.Merchant
	subMchID string
	prefix   string
	fee      int64 // in fen
	aged     bool
	tries    int             // create calls for each number, before its payment counts as failed
	fails    []time.Duration // how long after its creation each payment fails, one after the other
	givesUp  time.Duration   // after the first creation
	deadline bool            // that has passed

	payments  []*payment
	state     purchaseState
	delivered int // how often it was sent out
	refunds   int // payments to be refunded
}

type purchaseState int

const (
	purchaseOpen purchaseState = iota
	purchasePaid
	purchaseGivenUp
)

// payment is one number of a purchase.
type payment struct {
	*purchase
	outTradeNo string
	state      paymentState
	lastCreate time.Time // when the last create call was sent
	asked      int       // close requests so far
	listed     bool      // on a person's list
}

type paymentState int

const (
	payable paymentState = iota // or not created yet: who knows
	closing
	closed
	paid
)

// draw makes the purchases, and says when each begins.
func (s Sales) draw() (all []*purchase, begin []time.Duration) {
	r := rand.New(rand.NewPCG(s.Seed, 0x73616c65730000))
	merchants := merchants()
	for i := range s.Purchases {
		p := &purchase{
			id: fmt.Sprintf("p%d-%d", s.Seed, i), merchant: merchants[r.IntN(len(merchants))], fee: 1 + r.Int64N(100_000),
			aged: r.Float64() < s.Aged, tries: 1 + r.IntN(3), givesUp: s.PayWithin,
		}
		if p.merchant.Institution {
			p.subMchID = fmt.Sprintf("19000%05d", r.IntN(5))
		}
		if len(s.Behaviours) > 0 {
			p.prefix = s.Behaviours[r.IntN(len(s.Behaviours))]
		}
		for len(p.fails) < 3 && r.Float64() < s.Fails {
			p.fails = append(p.fails, time.Duration(r.Int64N(int64(2*time.Minute))))
		}
		if r.Float64() < s.Impatient {
			p.givesUp = time.Duration(r.Int64N(int64(s.PayWithin)))
		}
		all = append(all, p)
		begin = append(begin, time.Duration(r.Int64N(int64(max(s.Over, 1)))))
	}
	return all, begin
}

// newPayment gives the purchase its next number.
func (p *purchase) newPayment() *payment {
	number := fmt.Sprintf("%s-%d", p.id, len(p.payments)+1)
	if p.prefix != "" && len(p.payments) == 0 {
		number = p.prefix + "-" + number
	}
	pay := &payment{purchase: p, outTradeNo: number}
	p.payments = append(p.payments, pay)
	return pay
}

// settle is what a payment of the buyer leads to, told by the gateway's notice or
// by an outcome: one delivery, and a refund of what comes beside it.
func (pay *payment) settle() {
	if pay.state == paid {
		return
	}
	pay.state, pay.listed = paid, false
	if pay.purchase.state != purchaseOpen {
		pay.refunds++
		return
	}
	pay.purchase.state = purchasePaid
	pay.delivered++
}
