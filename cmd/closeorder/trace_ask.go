package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/closeorder/closeorder/internal/worker"
)

// gatewayLine is what the gateway says of an order now; names as in an outcome.
type gatewayLine struct {
	MchID    string `json:"mch_id"`
	SubMchID string `json:"sub_mch_id,omitempty"`
	// State is closed, paid, open, or unknown.
	State   string            `json:"state"`
	Code    string            `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	Calls   int               `json:"attempts"`
	Gateway map[string]string `json:"gateway,omitempty"`
	// Contradicts: an outcome says that the order can no longer be paid, and it is.
	Contradicts bool `json:"contradicts,omitempty"`

	words [][2]string
}

// askGateway asks about each order that was found, or about the one that was named
// where none was.
func (a *app) askGateway(ctx context.Context, cfg config.Config, o traceOptions, r *timeline.Report) ([]gatewayLine, error) {
	cfg.Gateway.Confirm = string(closer.ConfirmDoubt) // it is asked for: gateway.confirm is about closes
	c, err := worker.NewCloser(cfg, worker.Deps{})
	if err != nil {
		return nil, err
	}
	defer c.CloseIdleConnections()
	var all []gatewayLine
	for i := range r.Lives {
		l := &r.Lives[i]
		g := queried(c.Query(ctx, closer.Order{
			MchID: l.MchID, SubMchID: l.SubMchID, AppID: l.AppID, SubAppID: l.SubAppID, OutTradeNo: l.OutTradeNo, CreatedAt: l.CreatedAt(),
		}))
		g.MchID, g.SubMchID = l.MchID, l.SubMchID
		g.Contradicts = g.State == "paid" && slices.ContainsFunc(l.Entries, func(e timeline.Entry) bool { return e.SafeToReissue })
		all = append(all, g)
	}
	if len(r.Lives) == 0 && o.mchID != "" {
		g := queried(c.Query(ctx, closer.Order{MchID: o.mchID, SubMchID: o.subMchID, OutTradeNo: o.number}))
		g.MchID, g.SubMchID = o.mchID, o.subMchID
		all = append(all, g)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all, nil
}

// queried is the verdict of a query in the words of an order's present state.
func queried(v closer.Verdict) gatewayLine {
	g := gatewayLine{Code: v.Code, Message: v.Message, Calls: v.Calls, Gateway: map[string]string{}, State: "unknown"}
	for _, f := range evidence(v.Gateway) {
		g.Gateway[f[0]] = f[1]
		g.words = append(g.words, f)
	}
	switch {
	case v.Class == closer.Closed:
		g.State = "closed"
	case v.Class == closer.Paid:
		g.State = "paid"
	case v.Gateway.TradeState != "":
		g.State = "open"
	}
	return g
}

// sentence says it to people.
func (g *gatewayLine) sentence() string {
	text := map[string]string{
		"closed": "closed", "paid": "paid", "open": "open: it can be paid", "unknown": "cannot be told",
	}[g.State]
	if said := join(g.Code, ""); g.State == "unknown" && said != "" {
		text += " (" + strings.TrimSuffix(said, "; ") + ")"
	}
	if g.Message != "" {
		text += "; " + g.Message
	}
	var words []string
	for _, f := range g.words {
		words = append(words, f[0]+" "+f[1])
	}
	if len(words) > 0 {
		text += fmt.Sprintf(" [%s]", strings.Join(words, ", "))
	}
	return text
}
