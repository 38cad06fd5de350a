package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"
)

// mayAsk gives a command the flag --ask-gateway and the settings of the gateway,
// which are looked at with that flag alone: without it no merchant need be
// configured. The settings named in except get no flag.
func (s *settings) mayAsk(cmd *cobra.Command, except ...string) {
	s.flags.BoolVar(&s.asks, "ask-gateway", false, "ask the gateway for the present state of each order (orderquery; closes nothing)")
	for _, one := range config.Settings(config.Calls) {
		if one.Secret {
			cmd.Annotations[one.Env()] = one.What
		}
		if !slices.Contains(except, one.Name) {
			s.add(one)
		}
	}
}

// asker asks the gateway for the present state of orders. It closes nothing.
type asker struct {
	closer *closer.Closer
	limit  *rate.Limiter
}

// mostAsked is how many queries of a command begin in a second at the most: the
// merchants' own rates, which the workers share, come on top.
const mostAsked = 10

// newAsker makes one of settings that were loaded with --ask-gateway; end it with
// close. Nothing is dialled.
func newAsker(cfg config.Config) (*asker, error) {
	if cfg.Gateway.Confirm == string(closer.ConfirmNever) {
		cfg.Gateway.Confirm = string(closer.ConfirmDoubt) // or nothing would be asked
	}
	c, err := worker.NewCloser(cfg, worker.Deps{})
	if err != nil {
		return nil, err
	}
	return &asker{closer: c, limit: rate.NewLimiter(mostAsked, 1)}, nil
}

func (k *asker) close() { k.closer.CloseIdleConnections() }

// orderState is what the gateway says of an order at one moment. As JSON its names
// are stable.
type orderState struct {
	// State is the trade_state as the gateway spelt it (NOTPAY, SUCCESS, CLOSED,
	// ...) or ORDERNOTEXIST; empty where it has not said.
	State string `json:"state,omitempty"`
	// Means says it for people, also where there is no State: then it says why.
	Means string `json:"means"`
	// Code is why there is no State: of the gateway, or one of closer's.
	Code string `json:"code,omitempty"`
	// Words are the gateway's own.
	Words string `json:"words,omitempty"`
	// At is when it was asked.
	At time.Time `json:"at"`
}

// ask asks about the order of a request. It takes the budget of a request
// (gateway.budget) at the most, after its turn by mostAsked. Safe for concurrent
// use.
func (k *asker) ask(ctx context.Context, q events.Request) orderState {
	if err := k.limit.Wait(ctx); err != nil {
		return orderState{Means: "not asked: " + context.Cause(ctx).Error(), Code: closer.CodeInterrupted, At: time.Now().UTC()}
	}
	s := stateOf(k.closer.Query(ctx, closer.Order{
		MchID: q.MchID, AppID: q.AppID, SubMchID: q.SubMchID, SubAppID: q.SubAppID, OutTradeNo: q.OutTradeNo, CreatedAt: q.OrderCreatedAt,
	}))
	s.At = time.Now().UTC()
	return s
}

// mostOrdersAsked is how many orders of a plan are asked about, unless its limit is
// given: as many as a person is shown.
const mostOrdersAsked = mostSends

// ask asks about the orders that would be sent, several at a time, and no more than
// --limit says, by their dead letters.
func (r *replay) ask(ctx context.Context, plan *deadletters.Plan) map[events.Source]orderState {
	var steps []deadletters.Step
	for _, s := range plan.Steps {
		if s.Skip == "" && len(steps) < cmp.Or(r.options.limit, mostOrdersAsked) {
			steps = append(steps, s)
		}
	}
	bar := r.app.progress("asking the gateway", int64(len(steps)))
	defer bar.finish()
	states := make([]orderState, len(steps))
	var asking sync.WaitGroup
	for turn := range 8 {
		asking.Go(func() {
			for i := turn; i < len(steps) && ctx.Err() == nil; i += 8 {
				s := steps[i]
				states[i] = r.asker.ask(ctx, events.Request{
					MchID: s.MchID, AppID: s.AppID, SubMchID: s.SubMchID, SubAppID: s.SubAppID, OutTradeNo: s.OutTradeNo, OrderCreatedAt: s.OrderCreatedAt,
				})
				bar.add(1)
			}
		})
	}
	asking.Wait()
	byLetter := make(map[events.Source]orderState, len(steps))
	for i, s := range steps {
		byLetter[s.At] = states[i]
	}
	return byLetter
}

// paid says whether the gateway calls the order paid.
func (s orderState) paid() bool {
	return strings.EqualFold(s.State, "SUCCESS") || strings.EqualFold(s.State, "REFUND")
}

// notExist is how the gateway says that it does not know an order.
const notExist = "ORDERNOTEXIST"

// stateOf reads what a query has found.
func stateOf(v closer.Verdict) orderState {
	said := v.Gateway
	s := orderState{Words: cmp.Or(said.ErrCodeDes, said.ReturnMsg)}
	if strings.EqualFold(s.Words, "OK") {
		s.Words = ""
	}
	switch state := strings.ToUpper(said.TradeState); {
	case state == "SUCCESS":
		s.State, s.Means = said.TradeState, "paid"
	case state == "REFUND":
		s.State, s.Means = said.TradeState, "paid, and refunded in part or whole"
	case state == "CLOSED", state == "REVOKED":
		s.State, s.Means = said.TradeState, "closed: it cannot be paid any more"
	case state != "":
		s.State, s.Means = said.TradeState, "open: it can still be paid"
	case strings.EqualFold(strings.ReplaceAll(said.ErrCode, "_", ""), notExist):
		s.State, s.Means = notExist, "the gateway does not know it"
	default:
		s.Code, s.Means = v.Code, "unknown: "+v.Message
	}
	return s
}
