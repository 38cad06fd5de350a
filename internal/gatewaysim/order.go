package gatewaysim

import (
	"slices"
	"strings"
	"time"
)

// Order names one order in the book. SubMchID is empty in direct mode.
type Order struct{ MchID, SubMchID, OutTradeNo string }

// State is what the gateway knows of an order. The zero State is none at all.
type State uint8

const (
	// Unknown: the order was never submitted, or its create has not arrived.
	Unknown State = iota + 1
	NotPay
	// UserPaying: the buyer is paying at this moment.
	UserPaying
	Paid
	// Refunded was paid before.
	Refunded
	Closed
	Revoked
	// PayError: a payment failed, and the buyer may try again.
	PayError
)

var stateNames = [...]string{
	Unknown: "unknown", NotPay: "notpay", UserPaying: "userpaying",
	Paid: "paid", Refunded: "refunded", Closed: "closed", Revoked: "revoked", PayError: "payerror",
}

func (s State) String() string { return stateNames[s] }

// Payable says that a buyer can pay the order in this state.
func (s State) Payable() bool { return s == NotPay || s == UserPaying || s == PayError }

// WasPaid says that the buyer has paid.
func (s State) WasPaid() bool { return s == Paid || s == Refunded }

// What is a kind of [Event].
type What uint8

const (
	// Found: first asked for; nobody created it before.
	Found What = iota + 1
	Created
	// CreateRefused: the number exists already.
	CreateRefused
	PayStarted
	// PayGivenUp: the buyer did not pay after all.
	PayGivenUp
	PaidByBuyer
	// PayRefused: the buyer tried to pay what was closed, paid or unknown.
	PayRefused
	CloseAccepted
	SetByHand
)

var whatNames = [...]string{
	Found: "found", Created: "created", CreateRefused: "create refused", PayStarted: "payment started", PayGivenUp: "payment given up",
	PaidByBuyer: "paid", PayRefused: "payment refused", CloseAccepted: "close accepted", SetByHand: "set by hand",
}

func (w What) String() string { return whatNames[w] }

// Event is something that happened to an order, and its state from then on.
type Event struct {
	At    time.Time
	What  What
	State State
}

// Op is an operation of the gateway.
type Op string

const (
	CloseOrder   Op = "closeorder"
	OrderQuery   Op = "orderquery"
	UnifiedOrder Op = "unifiedorder"
)

// operationOf finds the operation of a path, under any prefix: the official
// sandbox has its calls under /sandboxnew.
func operationOf(path string) (Op, bool) {
	for _, op := range [...]Op{CloseOrder, OrderQuery, UnifiedOrder} {
		if strings.HasSuffix(path, "/pay/"+string(op)) {
			return op, true
		}
	}
	return "", false
}

// Call is one call as the gateway saw it.
type Call struct {
	// Order is empty where the request was refused before it could be known.
	Order
	Op Op
	// N counts the calls of the order, from 1; 0 for a refused request.
	N int
	// Host is the Host header of the request, Remote the client's address.
	Host, Remote string
	// Start is when the request came in. End is when the reply began to go
	// out (a dripping one: when it ended), or when the client gave up; zero
	// while the call is in progress.
	Start, End time.Time
	// Answer is SUCCESS, an err_code, a trade_state, "FAIL: " and a
	// return_msg, or in words what was done instead of answering.
	Answer string
	// GaveUp: the client went away before the reply.
	GaveUp bool
}

// Entry is all that the book knows of one order at the moment of asking.
type Entry struct {
	Order
	// Behaviour is the prefix that the order follows, empty for none.
	Behaviour string
	State     State
	// Payable: a buyer could pay it now.
	Payable bool
	// CreateInFlight: the order is unknown now, and a create is on its way
	// that will make it payable.
	CreateInFlight bool
	// Purchase is the attach of the create call that took effect: what the
	// shop calls the purchase that the order is a number of.
	Purchase string
	// TotalFee is in fen.
	TotalFee int64
	// TransactionID is set where the buyer has paid.
	TransactionID string
	// Noticed: the shop took a notice of the payment.
	Noticed bool

	// Closes, Queries and Creates count accepted calls. InProgress counts
	// those that go on now; MaxInProgress was their greatest number at once.
	// A call that its client gave up ends when the server sees the connection
	// close: on a network that hides this, compare Start and Remote of Calls.
	Closes, Queries, Creates  int
	InProgress, MaxInProgress int
	// RepeatedNonces counts calls whose nonce_str was that of the call before.
	RepeatedNonces int

	// Events is everything that ever happened to it, oldest first. The first
	// tells its state when it was first seen.
	Events []Event
	// Calls are the newest calls, oldest first; CallsForgotten were dropped
	// before them (Config.History).
	Calls          []Call
	CallsForgotten int
}

// StateAt is the state at the moment t. Before the first event an order that
// was found is taken to have been as it was found, any other was unknown.
func (e Entry) StateAt(t time.Time) State {
	state := Unknown
	if len(e.Events) > 0 && e.Events[0].What == Found {
		state = e.Events[0].State
	}
	for _, ev := range e.Events {
		if ev.At.After(t) {
			break
		}
		state = ev.State
	}
	return state
}

// PaidAfter reports whether the buyer paid later than t.
func (e Entry) PaidAfter(t time.Time) bool {
	return slices.ContainsFunc(e.Events, func(ev Event) bool { return ev.What == PaidByBuyer && ev.At.After(t) })
}
