package gatewaysim

import "time"

// Fault changes one call. The zero Fault leaves it alone. Fields combine:
// {Delay: time.Minute, Spoil: Lose} takes a minute, takes effect and then
// loses the reply.
type Fault struct {
	// Delay before anything else.
	Delay time.Duration
	// Code is answered, signed, in place of what the book says, and the order
	// stays as it is: an err_code, or "SUCCESS" for a success that did
	// nothing.
	Code string
	// Applied lets the call take effect although Code is answered.
	Applied bool
	// TradeState is what a query answers in place of what the book says.
	TradeState State
	// ReturnMsg answers return_code=FAIL, unsigned, with this text; the order
	// stays as it is.
	ReturnMsg string
	// Attach is the merchant's own text in the reply to a query.
	Attach string
	// Spoil is done to the reply or to the connection.
	Spoil Spoil
}

// Spoil is a way to ruin a reply.
type Spoil string

// Ways to ruin the connection.
const (
	// Drop closes the connection before anything was done.
	Drop Spoil = "drop"
	// Lose takes effect and closes the connection without a reply.
	Lose Spoil = "lose"
	// LoseKept is Lose for a call on a connection that has served one before,
	// and nothing for any other.
	LoseKept Spoil = "lose where kept"
	// Stall takes effect and never answers: it waits for the client to give up.
	Stall Spoil = "stall"
	// Reset takes effect, sends half of the reply and resets the connection.
	Reset Spoil = "reset"
	// Drip takes effect and sends one byte of the reply every [DripInterval].
	Drip Spoil = "drip"
)

// Ways to answer with something else than a reply; nothing is done.
const (
	// BadGateway is status 502 with an HTML body.
	BadGateway Spoil = "bad gateway"
	// HTML is status 200 with an HTML body, as captive portals send it.
	HTML Spoil = "html"
	// Empty is status 200 without a body.
	Empty Spoil = "empty"
)

// Ways to ruin what the reply says. The rest of the reply is as it should be,
// and except for Forged and Unsigned the signature is valid for one reading
// of it.
const (
	Forged         Spoil = "forged"           // signed with a key that is not the merchant's
	Unsigned       Spoil = "unsigned"         // return_code=SUCCESS without sign
	UnsignedFail   Spoil = "unsigned fail"    // return_code=FAIL without sign, with all the rest of a success
	OtherMch       Spoil = "other merchant"   // another mch_id
	OtherNo        Spoil = "other order"      // another out_trade_no (queries only)
	OtherAlgorithm Spoil = "other algorithm"  // MD5 to an HMAC-SHA256 request and the other way round
	DupField       Spoil = "duplicate field"  // result_code twice, first FAIL, then SUCCESS
	Nested         Spoil = "nested elements"  // an element inside result_code
	Doctype        Spoil = "doctype"          // a document type with an entity
	Trailing       Spoil = "trailing content" // a second document after the first
	OtherRoot      Spoil = "other root"       // not <xml>
	Huge           Spoil = "huge"             // 70 KiB
	BadXML         Spoil = "bad xml"          // cut off in the middle
	NotUTF8        Spoil = "not utf-8"        // return_msg in GBK
)

// DripInterval is the time between two bytes of a [Drip].
const DripInterval = time.Second

// before says that nothing must be done to the order.
func (f Fault) before() bool {
	switch f.Spoil {
	case Drop, BadGateway, HTML, Empty:
		return true
	}
	return false
}
