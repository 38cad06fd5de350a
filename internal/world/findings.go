package world

import (
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/events"
)

// Kind is what is wrong.
type Kind string

// What a finding can be, by the promise that it breaks.
const (
	// Hole (G1): committed as finished, or given all the time there is, and
	// neither answered nor waiting in a retry topic.
	Hole Kind = "hole"
	// BadCommit (G1): a commit beyond the end, or with metadata that cannot
	// be read.
	BadCommit Kind = "bad commit"

	// Contradiction (G2): two outcomes of one request that differ in what
	// they say.
	Contradiction Kind = "contradiction"
	// ManyIDs (G2): outcomes of one request with different event ids.
	ManyIDs Kind = "many ids"
	// SharedID (G2): one event id on the outcomes of different requests.
	SharedID Kind = "shared id"
	// Orphan (G2): an outcome, retry or dead letter of no request.
	Orphan Kind = "orphan"
	// Unreadable (G2): an outcome that is none.
	Unreadable Kind = "unreadable"
	// Misnamed (G2): an outcome that names another order than its request.
	Misnamed Kind = "misnamed"
	// Unpaired (G2): a dead letter without its failed outcome, or the other
	// way round.
	Unpaired Kind = "unpaired"
	// Altered (G2): a dead letter or a retry that is not byte for byte its
	// request.
	Altered Kind = "altered"
	// Repeat (G2), where work is done exactly once: an outcome, dead letter or
	// retry record a second time, or what leads to a second one: a request or
	// retry record that is not finished, though what it led to is committed.
	Repeat Kind = "repeat"
	// AbortedServed (G2): a call for a request of an aborted transaction, or
	// anything written for it: to its order service it never was.
	AbortedServed Kind = "aborted served"

	// WrongClosed (G3): an outcome says closed, the book does not.
	WrongClosed Kind = "wrong closed"
	// WrongPaid (G3): an outcome says paid, the book does not.
	WrongPaid Kind = "wrong paid"
	// Unsafe (G3): safe_to_reissue, and the order was payable after it.
	Unsafe Kind = "unsafe to reissue"

	// SideBySide (G4): two calls of one order at the same time.
	SideBySide Kind = "side by side"
	// OutOfOrder (G4): of two requests of one order in one partition the
	// later one was answered first.
	OutOfOrder Kind = "out of order"

	// DeadForOutage (G5): a request failed though it was not to blame.
	DeadForOutage Kind = "dead for an outage"
	// Early (G5): a call for a request before its time, be it that it was put
	// off or that it said so itself; or an expiry before its time.
	Early Kind = "early"
	// Redone (G6, G8): a call for an order all of whose requests were
	// finished and committed.
	Redone Kind = "redone"
	// NotOwner (G6): a call by a member that owned nothing of the order.
	NotOwner Kind = "not the owner"
	// Rewound (G6): a committed offset has gone back.
	Rewound Kind = "rewound"
	// TooMany (G7): more calls at the same time than allowed.
	TooMany Kind = "too many calls"
	// Uncommitted (G8): answered and not committed, after a clean stop.
	Uncommitted Kind = "uncommitted"
)

var promises = map[Kind]string{
	Hole: "G1", BadCommit: "G1",
	Contradiction: "G2", ManyIDs: "G2", SharedID: "G2", Orphan: "G2", Unreadable: "G2", Misnamed: "G2", Unpaired: "G2", Altered: "G2",
	Repeat: "G2", AbortedServed: "G2",
	WrongClosed: "G3", WrongPaid: "G3", Unsafe: "G3",
	SideBySide: "G4", OutOfOrder: "G4",
	DeadForOutage: "G5", Early: "G5", Redone: "G6", NotOwner: "G6", Rewound: "G6", TooMany: "G7", Uncommitted: "G8",
}

// Finding is one broken promise.
type Finding struct {
	Promise string // G1 to G8
	Kind    Kind
	// Order and Source say where; either may be empty where there is none.
	Order  events.Order
	Source events.Source
	Detail string
}

func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.Promise, f.Kind)
	if f.Order != (events.Order{}) {
		fmt.Fprintf(&b, " order %s/%s/%s", f.Order.MchID, f.Order.SubMchID, f.Order.OutTradeNo)
	}
	if f.Source.Topic != "" {
		fmt.Fprintf(&b, " at %s[%d]@%d", f.Source.Topic, f.Source.Partition, f.Source.Offset)
	}
	return b.String() + ": " + f.Detail
}

// Report is what a check counted and found.
type Report struct {
	Requests int
	// Closed, Paid and Failed count requests by their outcome.
	Closed, Paid, Failed int
	// Waiting requests stand in a retry topic, Open ones are not finished at
	// all.
	Waiting, Open int
	// Duplicates are repeats of outcomes, with the same id. Overtaken are
	// those that say something else because the order had changed meanwhile.
	Duplicates  int
	Overtaken   int
	DeadLetters int
	Calls       int
	Findings    []Finding
}

// Balanced reports whether the counts add up.
func (r Report) Balanced() bool {
	return r.Requests == r.Closed+r.Paid+r.Failed+r.Waiting+r.Open
}

// Count returns the number of findings of a kind.
func (r Report) Count(k Kind) int {
	n := 0
	for _, f := range r.Findings {
		if f.Kind == k {
			n++
		}
	}
	return n
}

func (r Report) String() string {
	return fmt.Sprintf("%d requests = %d closed + %d paid + %d failed + %d waiting + %d open; %d duplicates (%d overtaken), %d dead letters, %d calls, %d holes, %d contradictions, %d findings",
		r.Requests, r.Closed, r.Paid, r.Failed, r.Waiting, r.Open, r.Duplicates+r.Overtaken, r.Overtaken, r.DeadLetters, r.Calls, r.Count(Hole), r.Count(Contradiction), len(r.Findings))
}
