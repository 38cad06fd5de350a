package world

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Traffic is what order services ask for, drawn from a seed: the same Traffic
// is always the same records, whoever runs beside it.
type Traffic struct {
	Seed uint64
	// Requests to make, and the time over which they are spread.
	Requests int
	Over     time.Duration
	// Bunched is the share of requests that come at full minutes, all at once.
	Bunched float64
	// Poison is the share of records, 0..1, that can never work.
	Poison float64
	// Repeats is the share of requests that ask for an order again which was
	// asked for before.
	Repeats float64
	// Hot is the share of requests for a handful of orders.
	Hot float64
	// Copies is the share of records that the order service publishes twice,
	// byte for byte, as a producer does whose answer was lost.
	Copies float64
	// Timed is the share of requests with not_before or expires_at. Aged is
	// the share of those for ordinary orders that say when the order was
	// created: a shop that tells the truth cannot call an order old whose
	// create is still on its way. All times count from Begin, which is when
	// the traffic begins.
	Timed, Aged float64
	Begin       time.Time
	// Transactions is the share of records that are published in transactions of
	// a few, and Aborts the share of those transactions that are aborted. Which
	// ones is drawn apart: the records are the same without.
	Transactions, Aborts float64
	// Behaviours are prefixes of out_trade_no to draw from, see
	// gatewaysim.Behaviours; each as often as it is named. Empty for ordinary
	// orders only.
	Behaviours []string
}

// Publication is one record for the requests topic, and when it is due.
type Publication struct {
	After time.Duration
	Message
	// Spread picks the partition of a record without a key.
	Spread uint32
	// Timestamp of the record, zero for the moment at which it is published.
	Timestamp time.Time
	// Transaction is the number of the transaction that it is published in
	// together with those beside it, 0 for none; Aborted: that one is aborted.
	Transaction int
	Aborted     bool
}

// Message is one record.
type Message = events.Message

// hotOrders is how many orders share the hot requests.
const hotOrders = 3

// Publications draws the records, in the order of their times.
func (t Traffic) Publications() []Publication {
	r := rand.New(rand.NewPCG(t.Seed, 0x7472616666696300))
	g := generator{Traffic: t, r: r}
	all := make([]Publication, 0, t.Requests)
	for i := range t.Requests {
		p := g.next(i)
		all = append(all, p)
		if r.Float64() < t.Copies {
			all = append(all, p)
		}
	}
	sortByTime(all)
	t.bundle(all)
	return all
}

// bundle draws which records are published in transactions.
func (t Traffic) bundle(records []Publication) {
	r := rand.New(rand.NewPCG(t.Seed, 0x7472616e73616374))
	left, aborted := 0, false
	for i, number := 0, 0; t.Transactions > 0 && i < len(records); i++ {
		if left == 0 {
			if left, aborted = 1+r.IntN(7), false; r.Float64() >= t.Transactions {
				i += left - 1
				left = 0
				continue
			}
			aborted = r.Float64() < t.Aborts
			number++
		}
		records[i].Transaction, records[i].Aborted = number, aborted
		left--
	}
}

func sortByTime(records []Publication) {
	slices.SortStableFunc(records, func(a, b Publication) int { return cmp.Compare(a.After, b.After) })
}

type generator struct {
	Traffic
	r     *rand.Rand
	asked []order
}

type order struct {
	mchID, subMchID, outTradeNo string
	ordinary                    bool
}

func (g *generator) next(i int) Publication {
	p := Publication{Spread: g.r.Uint32()}
	if g.Over > 0 {
		p.After = time.Duration(g.r.Int64N(int64(g.Over)))
	}
	if g.Bunched > 0 && g.r.Float64() < g.Bunched {
		p.After = p.After.Truncate(time.Minute)
	}
	if g.r.Float64() < g.Poison {
		p.Message = g.poison(i)
	} else {
		p.Message = g.request(i, g.order(i), p.After)
	}
	return p
}

func (g *generator) order(i int) order {
	switch {
	case g.r.Float64() < g.Hot:
		return order{mchID: "1900000109", outTradeNo: fmt.Sprintf("hot-%d-%d", g.Seed%1000, g.r.IntN(hotOrders))}
	case len(g.asked) > 0 && g.r.Float64() < g.Repeats:
		return g.asked[g.r.IntN(len(g.asked))]
	}
	o := order{mchID: []string{"1900000109", "1900000110", "1900000111"}[g.r.IntN(3)]}
	if o.mchID == "1900000111" {
		o.subMchID = fmt.Sprintf("19000%05d", g.r.IntN(5))
	}
	prefix := "T"
	if len(g.Behaviours) > 0 {
		prefix = g.Behaviours[g.r.IntN(len(g.Behaviours))]
	}
	o.ordinary = prefix == "" || prefix == "T"
	o.outTradeNo = strings.TrimPrefix(fmt.Sprintf("%s-%d-%d", prefix, g.Seed%1000, i), "-")
	g.asked = append(g.asked, o)
	return o
}

// request writes a good request in one of the three forms: plain JSON, a
// CloudEvent in binary mode, one in structured mode.
func (g *generator) request(i int, o order, after time.Duration) Message {
	doc := map[string]any{
		"mch_id": o.mchID, "out_trade_no": o.outTradeNo, "reason": "payment_timeout",
		"metadata": map[string]any{"n": i},
	}
	if o.subMchID != "" {
		doc["sub_mch_id"] = o.subMchID
	}
	if g.r.IntN(4) == 0 {
		doc["replacement_out_trade_no"] = fmt.Sprintf("new-%d-%d", g.Seed%1000, i)
	}
	now := g.Begin.Add(after)
	if g.Timed > 0 && g.r.Float64() < g.Timed {
		g.times(doc, now)
	}
	if g.Aged > 0 && g.r.Float64() < g.Aged && o.ordinary {
		g.age(doc, now)
	}
	id := fmt.Sprintf("request-%d-%d", g.Seed, i)
	m := Message{Key: []byte(o.outTradeNo)}
	switch g.r.IntN(3) {
	case 0:
		if g.r.IntN(2) == 0 {
			doc["request_id"] = id
		}
		m.Value = encode(doc)
	case 1:
		m.Value = encode(doc)
		m.Headers = []events.Header{
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: []byte(id)},
			{Key: "ce_source", Value: []byte("/shops/one")},
			{Key: "ce_type", Value: []byte("closeorder.requested")},
			{Key: "content-type", Value: []byte("application/json")},
			{Key: "traceparent", Value: []byte(fmt.Sprintf("00-%032x-%016x-01", i+1, i+1))},
		}
	default:
		m.Value = encode(map[string]any{
			"specversion": "1.0", "id": id, "source": "/shops/two", "type": "closeorder.requested", "data": doc,
		})
		m.Headers = []events.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=utf-8")}}
	}
	return m
}

// times gives a request that is made now a time to wait for, or to expire at.
func (g *generator) times(doc map[string]any, now time.Time) {
	n := g.r.IntN(3)
	if n != 0 {
		set(doc, "not_before", now.Add(g.below(15*time.Minute)))
	}
	if n != 1 {
		set(doc, "expires_at", now.Add(g.below(11*time.Minute)-time.Minute))
	}
}

// age says when an order was created, as shops with good and bad clocks do.
func (g *generator) age(doc map[string]any, now time.Time) {
	switch g.r.IntN(3) {
	case 0:
		set(doc, "order_created_at", now.Add(-g.below(10*time.Minute)))
	case 1:
		set(doc, "order_created_at", now.Add(-g.below(30*24*time.Hour)))
	default:
		set(doc, "order_created_at", now.Add(g.below(24*time.Hour)))
	}
}

func (g *generator) below(d time.Duration) time.Duration { return time.Duration(g.r.Int64N(int64(d))) }

func set(doc map[string]any, field string, at time.Time) {
	doc[field] = at.UTC().Format(time.RFC3339Nano)
}

// poison writes a record that can never work.
func (g *generator) poison(i int) Message {
	no := fmt.Sprintf("bad-%d-%d", g.Seed%1000, i)
	key := []byte(no)
	bad := [...]Message{
		{Key: key, Value: []byte("<xml>close it</xml>")},                                      // not JSON
		{Key: key, Value: encode(map[string]any{"mch_id": "1900000109"})},                     // no out_trade_no
		{Key: key, Value: encode(map[string]any{"mch_id": "1999999999", "out_trade_no": no})}, // unknown merchant
		{Key: key},                  // tombstone
		{Key: key, Value: []byte{}}, // empty
		{Value: []byte(`{"mch_id":"1900000109","out_trade_no":"` + no)},                       // no key, cut off
		{Key: key, Value: encode(map[string]any{"mch_id": "1900000111", "out_trade_no": no})}, // missing sub_mch_id
	}
	return bad[g.r.IntN(len(bad))]
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("world: " + err.Error()) // maps of ours
	}
	return b
}
