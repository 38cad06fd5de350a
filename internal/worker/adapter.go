package worker

import (
	"context"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
)

// adapter lets a consumer use a closer: it translates, and decides nothing.
type adapter struct{ closer *closer.Closer }

// Close implements consumer.Closer.
func (a adapter) Close(ctx context.Context, r events.Request, tried bool) consumer.Answer {
	return answer(a.closer.Close(ctx, order(r, tried)))
}

// Ask implements consumer.Closer.
func (a adapter) Ask(ctx context.Context, r events.Request, tried bool) consumer.Answer {
	return answer(a.closer.Query(ctx, order(r, tried)))
}

// Refuse implements consumer.Closer.
func (a adapter) Refuse(r events.Request) (consumer.Answer, bool) {
	v, refused := a.closer.Refuse(order(r, false))
	return answer(v), refused
}

// Alive implements consumer.Closer.
func (a adapter) Alive(ctx context.Context, r events.Request) bool {
	return a.closer.Probe(ctx, order(r, false))
}

func order(r events.Request, tried bool) closer.Order {
	return closer.Order{
		MchID: r.MchID, AppID: r.AppID, SubMchID: r.SubMchID, SubAppID: r.SubAppID,
		OutTradeNo: r.OutTradeNo, CreatedAt: r.OrderCreatedAt, Tried: tried,
	}
}

var dispositions = map[closer.Class]consumer.Disposition{
	closer.Closed:          consumer.Closed,
	closer.Paid:            consumer.Paid,
	closer.Failed:          consumer.Failed,
	closer.Temporary:       consumer.Later,
	closer.MerchantRefused: consumer.Held,
	closer.NoAnswer:        consumer.Unanswered,
	closer.Interrupted:     consumer.Interrupted,
}

func answer(v closer.Verdict) consumer.Answer {
	d, unproven := dispositions[v.Class], v.Unsigned
	if d == consumer.Unanswered && unproven {
		// The host did answer: no outage, and no reason to wait for ever.
		d = consumer.Later
	}
	a := consumer.Answer{
		Disposition: d, Code: v.Code, Message: v.Message,
		SafeToReissue: v.SafeToReissue, ConfirmedBy: v.ConfirmedBy,
		Attempts: v.Calls, LastCall: v.LastCall, RetryAfter: v.RetryAfter, NoTry: v.Starved, Unproven: unproven, Unworkable: v.Unworkable,
		Scope: consumer.Scope{MchID: v.Scope.MchID, AppID: v.Scope.AppID, SubMchID: v.Scope.SubMchID},
	}
	if v.Gateway != (closer.Evidence{}) {
		gateway := events.Gateway(v.Gateway)
		a.Gateway = &gateway
	}
	return a
}
