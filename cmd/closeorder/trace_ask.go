package main

import (
	"context"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/timeline"
)

// gatewayLine is what the gateway says of an order now.
type gatewayLine struct {
	MchID    string `json:"mch_id"`
	SubMchID string `json:"sub_mch_id,omitempty"`
	orderState
	// Contradicts: an outcome says that the order can no longer be paid, and it is.
	Contradicts bool `json:"contradicts,omitempty"`
}

// askGateway asks about each order that was found, or about the one that was named
// where none was.
func askGateway(ctx context.Context, cfg config.Config, o traceOptions, r *timeline.Report) ([]gatewayLine, error) {
	k, err := newAsker(cfg)
	if err != nil {
		return nil, err
	}
	defer k.close()
	var all []gatewayLine
	ask := func(q events.Request) *gatewayLine {
		all = append(all, gatewayLine{MchID: q.MchID, SubMchID: q.SubMchID, orderState: k.ask(ctx, q)})
		return &all[len(all)-1]
	}
	for i := range r.Lives {
		l := &r.Lives[i]
		g := ask(events.Request{
			MchID: l.MchID, SubMchID: l.SubMchID, AppID: l.AppID, SubAppID: l.SubAppID, OutTradeNo: l.OutTradeNo, OrderCreatedAt: l.CreatedAt(),
		})
		paid := strings.EqualFold(g.State, "SUCCESS") || strings.EqualFold(g.State, "REFUND")
		g.Contradicts = paid && slices.ContainsFunc(l.Entries, func(e timeline.Entry) bool { return e.SafeToReissue })
	}
	if len(r.Lives) == 0 && o.mchID != "" {
		ask(events.Request{MchID: o.mchID, SubMchID: o.subMchID, OutTradeNo: o.number})
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all, nil
}

// sentence says it to people.
func (g *gatewayLine) sentence() string {
	text := g.Means
	for _, f := range [][2]string{{"trade_state", g.State}, {"code", g.Code}, {"in its own words:", g.Words}} {
		if f[1] != "" {
			text = join(text, f[0]+" "+f[1])
		}
	}
	return text
}
