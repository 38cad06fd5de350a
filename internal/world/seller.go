package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Seller is a shop that sells: it creates orders at the gateway, takes the
// gateway's notices of payments, has orders closed, and acts on the outcomes. Its
// database is its memory, which survives everything: what a database must do about
// crashes is for examples/shop to show.
//
//	create -> payable -> (fails, or given up) -> request -> outcome -> new number, given up, or paid
//	                  -> notice -> paid
type Seller struct {
	Sales
	shop     *Shop
	gateways []string
	client   *http.Client
	notices  *http.Server
	outcomes *kgo.Client
	ctx      context.Context // of all that it does
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu        sync.Mutex
	r         *rand.Rand // guarded, and so not the same from run to run: the rest is
	purchases []*purchase
	begin     []time.Duration
	payments  map[events.Order]*payment
	inbox     map[requestName]events.Outcome
	seen      map[string]bool // ids of outcomes, for IDsAlone
	errs      []error
}

// requestName is what names a request to an order service.
type requestName struct {
	events.Order
	requestID string
}

const noticePort = 80

// Sell opens a shop. It sells from now on, until the world is closed.
func (w *World) Sell(s Sales, shop *Shop) (*Seller, error) {
	ctx, stop := context.WithCancel(context.Background())
	sl := &Seller{
		Sales: s, shop: shop, gateways: w.Gateway.URLs(), ctx: ctx, stop: stop,
		r:        rand.New(rand.NewPCG(s.Seed, 0x73656c6c65720000)),
		payments: make(map[events.Order]*payment), inbox: make(map[requestName]events.Outcome), seen: make(map[string]bool),
	}
	sl.purchases, sl.begin = s.draw()
	sl.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: shop.host.DialContext, IdleConnTimeout: 5 * time.Second}}
	w.closers = append(w.closers, sl.close)
	if err := sl.listen(); err != nil {
		return nil, err
	}
	if err := sl.follow(w); err != nil {
		return nil, err
	}
	for i, p := range sl.purchases {
		sl.after(sl.begin[i], func() {
			sl.mu.Lock()
			sl.open(p)
			sl.mu.Unlock()
			sl.after(p.givesUp, func() { sl.giveUp(p) })
		})
	}
	return sl, nil
}

// after does something later, unless the shop is closed by then.
func (s *Seller) after(d time.Duration, do func()) {
	if s.ctx.Err() != nil {
		return
	}
	s.running.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			do()
		case <-s.ctx.Done():
		}
	})
}

// open gives a purchase its next number, and creates its order. It is called with
// the lock.
func (s *Seller) open(p *purchase) {
	pay := p.newPayment()
	s.payments[pay.order()] = pay
	s.after(0, func() { s.create(pay) })
	if n := len(p.payments); n <= len(p.fails) {
		s.after(p.fails[n-1], func() { s.fails(pay) })
	}
}

func (pay *payment) order() events.Order {
	return events.Order{MchID: pay.merchant.MchID, SubMchID: pay.subMchID, OutTradeNo: pay.outTradeNo}
}

// last is the number that the purchase has now.
func (p *purchase) last() *payment { return p.payments[len(p.payments)-1] }

// fails is the buyer, who wants to pay in another way.
func (s *Seller) fails(pay *payment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pay.state == payable && pay.purchase.state == purchaseOpen {
		s.ask(pay, true)
	}
}

// giveUp is the shop, which has waited long enough.
func (s *Seller) giveUp(p *purchase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.deadline = true
	if pay := p.last(); pay.state == payable && p.state == purchaseOpen {
		s.ask(pay, true)
	}
}

// ask has a number closed. It is called with the lock.
func (s *Seller) ask(pay *payment, first bool) {
	pay.state = closing
	pay.asked++
	r := events.Request{
		OutTradeNo: pay.outTradeNo, MchID: pay.merchant.MchID, SubMchID: pay.subMchID,
		RequestID: fmt.Sprintf("%s/%d", pay.outTradeNo, pay.asked), Reason: "payment_failed",
	}
	if pay.deadline {
		r.Reason = "payment_timeout"
	} else {
		r.ReplacementOutTradeNo = fmt.Sprintf("%s-%d", pay.id, len(pay.purchase.payments)+1)
	}
	if pay.aged || !first {
		r.OrderCreatedAt = pay.lastCreate
	}
	m, err := events.EncodeRequest(r, "/shops/one", time.Now())
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	times := 1
	if s.r.Float64() < s.Copies {
		times = 2
	}
	for range times {
		s.shop.send(s.ctx, Publication{Message: m})
	}
	if s.Rules == SilenceIsSafe && first {
		s.after(patience, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if pay.state == closing {
				s.closed(pay)
			}
		})
	}
}

// follow reads the outcomes.
func (s *Seller) follow(w *World) error {
	from := make(map[int32]kgo.Offset)
	for p := range w.Topics[1].Partitions {
		from[int32(p)] = kgo.NewOffset().AtStart()
	}
	var err error
	s.outcomes, err = kgo.NewClient(append(reach(w, s.shop.host),
		kgo.ClientID(s.shop.name+"-outcomes"), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.Config.Topics.Outcomes: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return fmt.Errorf("world: shop %s: %w", s.shop.name, err)
	}
	s.running.Go(func() {
		for s.ctx.Err() == nil {
			s.outcomes.PollFetches(s.ctx).EachRecord(func(r *kgo.Record) {
				m := Message{Key: r.Key, Value: r.Value}
				for _, h := range r.Headers {
					m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
				}
				s.take(m)
			})
		}
	})
	return nil
}

// take acts on an outcome, a share of them twice.
func (s *Seller) take(m Message) {
	o, err := events.DecodeOutcome(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("shop %s: an outcome: %w", s.shop.name, err))
		return
	}
	s.act(o)
	if s.r.Float64() < s.Rereads {
		s.act(o)
	}
}

// unsettled counts the purchases that are neither paid nor given up.
func (s *Seller) unsettled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.purchases {
		if p.state == purchaseOpen {
			n++
		}
	}
	return n
}

// shut ends the sales: nothing is created, asked or acted on any more.
func (s *Seller) shut() error {
	s.stop()
	var err error
	if s.notices != nil {
		err = s.notices.Close()
	}
	s.running.Wait()
	s.client.CloseIdleConnections()
	return err
}

func (s *Seller) close() error {
	err := s.shut()
	if s.outcomes != nil {
		s.outcomes.Close()
	}
	return errors.Join(append(s.errs, err)...)
}
