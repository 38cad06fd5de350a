package peers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/bench/exchange"
	"github.com/closeorder/closeorder/internal/bench/v2"
)

// request is what a peer reads of a request.
type request struct {
	RequestID  string `json:"request_id"`
	AppID      string `json:"appid"`
	MchID      string `json:"mch_id"`
	OutTradeNo string `json:"out_trade_no"`
}

// outcome is what it publishes.
type outcome struct {
	request

	Outcome     string `json:"outcome"`
	Code        string `json:"code,omitempty"`
	Message     string `json:"message,omitempty"`
	Attempts    int    `json:"attempts"`
	CompletedAt string `json:"completed_at"`
}

const (
	maxAttempts = 5
	firstPause  = 100 * time.Millisecond // doubled each time
)

// closer turns requests into outcomes. It is safe for concurrent use.
type closer struct {
	key  v2.Key
	post exchange.Poster
}

// buffers are those of one call.
type buffers struct{ out, in []byte }

var pool = sync.Pool{New: func() any { return &buffers{make([]byte, 0, 1024), make([]byte, 0, 2048)} }}

// handle returns the outcome of a request, in JSON. An error means that the
// request cannot be read, or that ctx has ended.
func (c *closer) handle(ctx context.Context, value []byte) ([]byte, error) {
	var o outcome
	if err := json.Unmarshal(value, &o.request); err != nil {
		return nil, err
	}
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	for {
		o.Attempts++
		again := c.call(ctx, b, &o)
		if !again || o.Attempts == maxAttempts {
			o.CompletedAt = time.Now().UTC().Format(time.RFC3339Nano)
			value, err := json.Marshal(o)
			return value, errors.Join(err, ctx.Err())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(firstPause << (o.Attempts - 1)):
		}
	}
}

// call makes one call and puts its result into o. It reports whether another one
// may do better.
func (c *closer) call(ctx context.Context, b *buffers, o *outcome) (again bool) {
	var nonce [32]byte
	b.out = c.key.Append(b.out[:0], []v2.Field{
		{Name: []byte("appid"), Value: []byte(o.AppID)}, {Name: []byte("mch_id"), Value: []byte(o.MchID)},
		{Name: []byte("nonce_str"), Value: v2.AppendNonce(nonce[:0])}, {Name: []byte("out_trade_no"), Value: []byte(o.OutTradeNo)},
	})
	var err error
	if b.in, err = c.post(ctx, b.out, b.in[:0]); err != nil {
		o.Outcome, o.Message = "failed", err.Error()
		return true
	}
	var room [16]v2.Field
	fields, err := c.key.Read(b.in, room[:0])
	if err != nil {
		o.Outcome, o.Message = "failed", err.Error()
		return false
	}
	code := string(v2.Get(fields, "err_code"))
	switch {
	case string(v2.Get(fields, "result_code")) == "SUCCESS", code == "ORDERCLOSED":
		o.Outcome = "closed"
	case code == "ORDERPAID":
		o.Outcome = "paid"
	default:
		o.Outcome = "failed"
	}
	o.Code, o.Message = code, string(v2.Get(fields, "err_code_des"))
	return code == "SYSTEMERROR" || code == "FREQUENCY_LIMITED"
}
