package gatewaysim

import (
	"net/http"
	"strconv"
	"time"
)

const contentType = "text/plain;charset=utf-8"

// conversation is one call under way. Its order and fault are set by begin.
type conversation struct {
	s *Simulator
	w http.ResponseWriter
	r *http.Request

	call     Call
	kept     bool // the connection has served a call before
	req      *request
	order    *order
	fault    Fault
	late     *lateCreate // nil for every other call
	finished bool
}

// begin enters the call in the book and decides what will go wrong with it:
// what the order's behaviour does, else what the failure rates draw, else
// whether it is a create call that takes effect late.
func (c *conversation) begin(req *request) {
	c.req = req
	c.order, c.fault = c.s.book.begin(req, &c.call)
	if c.fault == (Fault{}) {
		c.fault = c.s.cfg.Failures.draw(c.s.draw(req.order, "failure", c.call.N))
	}
	if c.fault.Spoil == LoseKept {
		c.fault.Spoil = ""
		if c.kept {
			c.fault.Spoil = Lose
		}
	}
	if share := c.s.cfg.LateCreates; share > 0 && c.call.Op == UnifiedOrder && c.fault == (Fault{}) &&
		c.s.draw(req.order, "late create", c.call.N).float() < share {
		c.late = c.s.book.createLate(c.order, req, c.call.Start.Add(c.s.cfg.LateCreate))
	}
}

// finish takes the call off the list of those in progress. It comes before
// the last byte of the reply: a client may ask again the moment it has that,
// and would else be seen with two calls at once.
func (c *conversation) finish() {
	if c.finished {
		return
	}
	c.finished = true
	c.call.End = time.Now()
	c.s.book.end(c.order, &c.call)
	if c.s.cfg.Observe != nil {
		c.s.cfg.Observe(c.call)
	}
}

// wait reports false when the client has gone away, or the server is closed.
func (c *conversation) wait(d time.Duration) bool {
	if d <= 0 {
		return c.r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

// gaveUp ends a call whose client has gone away.
func (c *conversation) gaveUp() {
	c.call.GaveUp = true
	c.hangUp("no answer: the client gave up")
}

// hangUp closes the connection (of HTTP/2: the stream) without a reply.
func (c *conversation) hangUp(answer string) {
	c.call.Answer = answer
	c.finish()
	panic(http.ErrAbortHandler)
}

// refuse answers a request that was not accepted.
func (c *conversation) refuse(why *refusal) {
	c.call.Answer = why.code
	if why.req == nil {
		c.write(failReply(why.msg).xml())
		return
	}
	c.call.Order = why.req.order
	rep := c.newReply(why.req).fail(why.code)
	rep.sign(why.req.merchant.Key, why.req.signType)
	c.write(rep.xml())
}

// write sends a whole body as the real gateway does.
func (c *conversation) write(body []byte) {
	c.finish()
	c.header(len(body))
	c.w.Write(body) // an error means that the client is gone, who will ask again
}

func (c *conversation) header(length int) {
	c.w.Header()["Content-Type"] = []string{contentType}
	c.w.Header()["Content-Length"] = []string{strconv.Itoa(length)}
}

// badGateway is what a proxy in front of a dead server answers.
func (c *conversation) badGateway(answer string) {
	c.call.Answer = answer
	c.page(http.StatusBadGateway, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n")
}

func (c *conversation) page(status int, body string) {
	c.finish()
	c.w.Header().Set("Content-Type", "text/html")
	c.w.WriteHeader(status)
	c.w.Write([]byte(body))
}
