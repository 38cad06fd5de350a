package worker

import (
	"context"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
)

// adapter lets a consumer use a closer: it copies fields of the same name, and
// decides nothing.
type adapter struct{ closer *closer.Closer }

// Close implements consumer.Closer.
func (a adapter) Close(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	return verdict(a.closer.Close(ctx, order(r, tried, place)))
}

// Query implements consumer.Closer.
func (a adapter) Query(ctx context.Context, r events.Request, tried bool, place consumer.Place) consumer.Verdict {
	return verdict(a.closer.Query(ctx, order(r, tried, place)))
}

// Refuse implements consumer.Closer.
func (a adapter) Refuse(r events.Request) (consumer.Verdict, bool) {
	v, refused := a.closer.Refuse(order(r, false, nil))
	return verdict(v), refused
}

// Probe implements consumer.Closer.
func (a adapter) Probe(ctx context.Context, r events.Request) bool {
	return a.closer.Probe(ctx, order(r, false, nil))
}

func order(r events.Request, tried bool, place consumer.Place) closer.Order {
	return closer.Order{
		MchID: r.MchID, AppID: r.AppID, SubMchID: r.SubMchID, SubAppID: r.SubAppID,
		OutTradeNo: r.OutTradeNo, CreatedAt: r.OrderCreatedAt, Tried: tried, Place: place,
	}
}

var classes = map[closer.Class]consumer.Class{
	closer.Closed:          consumer.Closed,
	closer.Paid:            consumer.Paid,
	closer.Failed:          consumer.Failed,
	closer.Temporary:       consumer.Temporary,
	closer.MerchantRefused: consumer.MerchantRefused,
	closer.NoAnswer:        consumer.NoAnswer,
	closer.Interrupted:     consumer.Interrupted,
}

func verdict(v closer.Verdict) consumer.Verdict {
	w := consumer.Verdict{
		Class: classes[v.Class], Code: v.Code, Message: v.Message,
		SafeToReissue: v.SafeToReissue, ConfirmedBy: v.ConfirmedBy,
		Calls: v.Calls, LastCall: v.LastCall, RetryAfter: v.RetryAfter,
		Starved: v.Starved, Unsigned: v.Unsigned, Unworkable: v.Unworkable,
		Scope: consumer.Scope(v.Scope),
	}
	if v.Gateway != (closer.Evidence{}) {
		gateway := events.Gateway(v.Gateway)
		w.Gateway = &gateway
	}
	return w
}
