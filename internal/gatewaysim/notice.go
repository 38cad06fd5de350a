package gatewaysim

import (
	"bytes"
	"container/heap"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/closeorder/closeorder/signing"
)

// Notices are how the gateway tells a shop that a buyer has paid, by a signed
// document posted to the notify_url of the create call ("Payment Result
// Notification"). [Simulator.Notify] sends them. All shares are 0..1.
type Notices struct {
	// Client posts them; nil for one with the time-out of the real gateway, 5 s,
	// that follows no redirects.
	Client *http.Client
	// Delay is the longest that the first one of a payment takes, at random.
	Delay time.Duration
	// Lost is the share of first notices that are not sent at all: the shop
	// hears of the payment after the first pause. Again is the share of payments
	// that are told once more although the shop said SUCCESS, after the pause
	// that it would have had if not.
	Lost, Again float64
	// Pauses are those between a notice that the shop did not take and the next;
	// nil for the real gateway's 15s, 15s, 30s, 3m, 10m, 20m, 30m, 30m, 30m, 1h,
	// 3h, 3h, 3h, 6h, 6h. After the last one it is not told again.
	Pauses []time.Duration
}

// noticeTimeout is how long the real gateway waits for a shop.
const noticeTimeout = 5 * time.Second

var realPauses = []time.Duration{
	15 * time.Second, 15 * time.Second, 30 * time.Second, 3 * time.Minute, 10 * time.Minute, 20 * time.Minute,
	30 * time.Minute, 30 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour, 6 * time.Hour,
}

// notice is what an order has whose create call named a notify_url.
type notice struct {
	agenda *agenda

	url, appID, subAppID, tradeType string
	signType                        signing.Type
	named                           string // sign_type as the create call sent it, empty for none

	due   int64 // when the next one is to be sent, Unix time in ns; 0 for none
	sent  int   // how many were, one that was lost included
	taken bool
}

func newNotice(a *agenda, req *request) *notice {
	return &notice{
		agenda: a, url: req.fields["notify_url"], appID: req.fields["appid"], subAppID: req.fields["sub_appid"],
		tradeType: req.fields["trade_type"], signType: req.signType, named: req.fields["sign_type"],
	}
}

// agenda has the times at which an order with a notify_url must be looked at,
// as the book does nothing by itself: when a late create call arrives, when the
// buyer may pay, and when a notice is due. An order may be on it several times. The book's lock guards it.
type agenda struct {
	cfg     *Config
	looks   []look
	changed chan struct{} // has one when there is an earlier look than before
}

type look struct {
	at    int64 // Unix time in ns
	order *order
}

func (a *agenda) Len() int           { return len(a.looks) }
func (a *agenda) Less(i, j int) bool { return a.looks[i].at < a.looks[j].at }
func (a *agenda) Swap(i, j int)      { a.looks[i], a.looks[j] = a.looks[j], a.looks[i] }
func (a *agenda) Push(x any)         { a.looks = append(a.looks, x.(look)) }
func (a *agenda) Pop() any {
	last := len(a.looks) - 1
	x := a.looks[last]
	a.looks[last] = look{}
	a.looks = a.looks[:last]
	return x
}

// add puts a look on the agenda.
func (a *agenda) add(at int64, o *order) {
	heap.Push(a, look{at, o})
	if a.looks[0].at == at { // it is the earliest
		select {
		case a.changed <- struct{}{}:
		default: // whoever waits is told already
		}
	}
}

// notice is nil for an order that nobody is told of.
func (o *order) notice() *notice {
	if o.submission == nil {
		return nil
	}
	return o.submission.notice
}

// planned is told of a time at which the buyer may pay.
func (n *notice) planned(o *order, at int64) {
	if n != nil {
		n.agenda.add(at, o)
	}
}

// paid plans the first notice of a payment.
func (n *notice) paid(o *order, at int64) {
	if n == nil {
		return
	}
	cfg := n.agenda.cfg
	n.due = at + int64(newDraw(cfg.Seed, o.submission.key, "notice", 0).below(cfg.Notices.Delay))
	n.agenda.add(n.due, o)
}

// letter is a notice to be posted.
type letter struct {
	order    *order
	mchID    string
	url      string
	signType signing.Type
	reply    *reply // its fields, not signed yet
}

// Notify sends notices of payments until ctx ends, and returns nil when
// nothing of it runs any more. One at a time sends; another one that is called
// meanwhile waits for its end. [Simulator.Serve] calls it. It does nothing
// while no order has a notify_url, and closes the idle connections of the
// client at its end. A notice that is cut by the end is sent by the next.
func (s *Simulator) Notify(ctx context.Context) error {
	select {
	case s.notifying <- struct{}{}:
		defer func() { <-s.notifying }()
	case <-ctx.Done():
		return nil
	}
	client := s.cfg.Notices.Client
	if client == nil {
		client = &http.Client{
			Timeout: noticeTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: IdleTimeout},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	defer client.CloseIdleConnections()
	var posts sync.WaitGroup
	defer posts.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Stop()
		letters, next := s.book.letters()
		for _, l := range letters {
			posts.Go(func() { s.deliver(ctx, client, l) })
		}
		var due <-chan time.Time // nil where nothing is planned
		if next != 0 {
			timer.Reset(time.Until(time.Unix(0, next)))
			due = timer.C
		}
		select {
		case <-due:
		case <-s.book.agenda.changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// letters returns the notices that are due, and when to look again, 0 for not
// before the agenda changes.
func (b *book) letters() (letters []letter, next int64) {
	now := b.open()
	defer b.mu.Unlock()
	a := &b.agenda
	for len(a.looks) > 0 && a.looks[0].at <= now.UnixNano() {
		o := heap.Pop(a).(look).order
		o.catchUp(now)
		n := o.notice()
		if n == nil || n.due == 0 || n.due > now.UnixNano() {
			continue
		}
		n.due = 0
		if n.sent == 0 && newDraw(b.cfg.Seed, o.submission.key, "notice lost", 0).float() < b.cfg.Notices.Lost {
			n.sent++
			b.again(o, now)
			continue
		}
		letters = append(letters, b.letter(o))
	}
	if len(a.looks) > 0 {
		next = a.looks[0].at
	}
	return letters, next
}

// letter writes the notice of an order that the buyer has paid.
func (b *book) letter(o *order) letter {
	n, key := o.submission.notice, o.submission.key
	p := &reply{fields: make([]field, 0, 20)}
	p.add("return_code", "SUCCESS")
	p.add("appid", n.appID)
	p.add("mch_id", key.MchID)
	p.add("sub_appid", n.subAppID)
	p.add("sub_mch_id", key.SubMchID)
	p.add("nonce_str", newDraw(b.cfg.Seed, key, "notice nonce", n.sent).text(32, "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"))
	p.add("sign_type", n.named)
	p.add("result_code", "SUCCESS")
	p.add("openid", "o"+newDraw(b.cfg.Seed, key, "openid", 0).text(27, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"))
	p.add("is_subscribe", "N")
	p.add("trade_type", n.tradeType)
	p.add("bank_type", "OTHERS")
	p.add("total_fee", strconv.FormatInt(o.fee, 10))
	p.add("fee_type", "CNY")
	p.add("cash_fee", strconv.FormatInt(o.fee, 10))
	p.add("transaction_id", transactionID(b.cfg.Seed, key))
	p.add("out_trade_no", key.OutTradeNo)
	p.add("attach", o.submission.purchase)
	p.add("time_end", o.paidAt().In(beijing).Format("20060102150405"))
	return letter{order: o, mchID: key.MchID, url: n.url, signType: n.signType, reply: p}
}

// deliver posts a notice, signed with the merchant's key of this moment, and
// notes what came of it.
func (s *Simulator) deliver(ctx context.Context, client *http.Client, l letter) {
	taken := false
	if m, ok := s.merchantNow(l.mchID); ok {
		l.reply.sign(m.Key, l.signType)
		taken = post(ctx, client, l.url, l.reply.xml())
	}
	s.book.delivered(l.order, taken, !taken && ctx.Err() != nil)
}

// post reports whether the shop took a notice: its answer says SUCCESS, in XML.
func post(ctx context.Context, client *http.Client, url string, body []byte) (taken bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false // a notify_url that is none
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest+1))
	if err != nil || len(answer) > maxRequest || resp.StatusCode != http.StatusOK {
		return false
	}
	fields, err := parseFields(answer)
	return err == nil && fields["return_code"] == "SUCCESS"
}

// delivered notes that a notice was posted, and plans the next one. One that
// was cut by the end of Notify is as good as not sent.
func (b *book) delivered(o *order, taken, cut bool) {
	now := b.open()
	defer b.mu.Unlock()
	n := o.submission.notice
	if cut {
		n.due = now.UnixNano()
		n.agenda.add(n.due, o)
		return
	}
	n.sent++
	first := taken && !n.taken
	n.taken = n.taken || taken
	if !n.taken || first && newDraw(b.cfg.Seed, o.submission.key, "notice again", 0).float() < b.cfg.Notices.Again {
		b.again(o, now)
	}
}

// again plans the next notice after the pause for it, if there is one.
func (b *book) again(o *order, now time.Time) {
	n := o.submission.notice
	if n.sent > len(b.cfg.Notices.Pauses) {
		return
	}
	n.due = now.Add(b.cfg.Notices.Pauses[n.sent-1]).UnixNano()
	n.agenda.add(n.due, o)
}
