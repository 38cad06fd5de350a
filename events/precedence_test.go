package events

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// answer is the outcome of one record about T2, asked for as r-1.
func answer(result Result, replay int, offset int64) Outcome {
	r := Request{OutTradeNo: "T2", MchID: "1900000109", RequestID: "r-1", Replay: replay}
	o := NewOutcome(r, nil, Source{"closeorder.requests", 0, offset})
	o.Result, o.CompletedAt = result, noon
	return o
}

// precedence is a row of the table of [Supersedes].
type precedence struct {
	current, next Outcome
	want          bool
}

// precedences is the table, by sentences. testdata/events/precedence.json holds
// it for clients in other languages.
func precedences() map[string]precedence {
	other := func(o Outcome, change func(o *Outcome)) Outcome {
		change(&o)
		o.ID = OutcomeID(o.RequestID, o.Order(), o.Source, o.Replay)
		return o
	}
	failed, closed, paid := answer(Failed, 0, 1), answer(Closed, 1, 2), answer(Paid, 1, 2)
	unreadable := func(replay int, offset int64) Outcome {
		o := Outcome{Result: Failed, CompletedAt: noon, Replay: replay, Source: Source{"closeorder.requests", 0, offset}}
		o.ID = OutcomeID("", Order{}, o.Source, replay)
		return o
	}
	return map[string]precedence{
		"a failed gives way to the closed of its replay":                  {failed, closed, true},
		"a failed gives way to the paid of its replay":                    {failed, paid, true},
		"a failed gives way to the failed of its replay":                  {failed, answer(Failed, 1, 2), true},
		"a failed gives way to a replay that is two ahead":                {failed, answer(Closed, 2, 3), true},
		"a failed does not give way to an earlier replay":                 {answer(Failed, 2, 3), answer(Failed, 1, 2), false},
		"a failed gives way to the closed of the request asked again":     {failed, answer(Closed, 0, 7), true},
		"a failed gives way to the paid of the request asked again":       {failed, answer(Paid, 0, 7), true},
		"also when it was asked again after a replay had failed":          {answer(Failed, 2, 3), answer(Closed, 0, 7), true},
		"a failed does not give way to a failed with the same number":     {failed, answer(Failed, 0, 7), false},
		"a closed does not give way to the paid of another record":        {answer(Closed, 0, 1), answer(Paid, 0, 7), false},
		"a failed does not give way to its own repeat":                    {failed, failed, false},
		"nor to its repeat where the second run ended otherwise":          {failed, answer(Closed, 0, 1), false},
		"nor to another answer to its record under another id":            {failed, func() Outcome { o := answer(Closed, 0, 1); o.ID = "another"; return o }(), false},
		"nor to something with its id and a higher number":                {failed, func() Outcome { o := closed; o.ID = failed.ID; return o }(), false},
		"a closed is final, whatever a replay says":                       {closed, answer(Paid, 2, 3), false},
		"a closed is final, also against a failed":                        {closed, answer(Failed, 2, 3), false},
		"a closed does not give way to a late failed with a lower number": {closed, failed, false},
		"a paid is final, whatever a replay says":                         {paid, answer(Closed, 2, 3), false},
		"a paid is final, also against a failed":                          {paid, answer(Failed, 2, 3), false},
		"another order's outcome supersedes nothing":                      {failed, other(closed, func(o *Outcome) { o.OutTradeNo = "T3" }), false},
		"the same number at another merchant is another order":            {failed, other(closed, func(o *Outcome) { o.MchID = "1900000110" }), false},
		"the same number at another sub merchant is another order":        {failed, other(closed, func(o *Outcome) { o.SubMchID = "1900000211" }), false},
		"another request about the same order supersedes nothing":         {failed, other(closed, func(o *Outcome) { o.RequestID = "r-2" }), false},
		"appid does not make it another request":                          {failed, other(closed, func(o *Outcome) { o.AppID = "wx" }), true},
		"unreadable records are no replays of each other":                 {unreadable(0, 1), unreadable(1, 2), false},
		"an unreadable record does not give way to its own repeat":        {unreadable(0, 1), unreadable(0, 1), false},
		"the same offset of another partition is another record":          {failed, other(answer(Closed, 0, 1), func(o *Outcome) { o.Source.Partition = 1 }), true},
		"the same offset of another topic is another record":              {failed, other(answer(Closed, 0, 1), func(o *Outcome) { o.Source.Topic = "orders" }), true},
		"a higher replay number in the same place is another record":      {failed, answer(Closed, 1, 1), true},
		"a request without an order goes by its name":                     {other(failed, func(o *Outcome) { o.OutTradeNo = "" }), other(answer(Failed, 1, 2), func(o *Outcome) { o.OutTradeNo = "" }), true},
		"an order without a request goes by its number":                   {other(failed, func(o *Outcome) { o.RequestID = "" }), other(answer(Failed, 1, 2), func(o *Outcome) { o.RequestID = "" }), true},
	}
}

func TestSupersedes(t *testing.T) {
	for sentence, c := range precedences() {
		t.Run(sentence, func(t *testing.T) {
			if got := Supersedes(c.current, c.next); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSameRequest(t *testing.T) {
	a := answer(Failed, 0, 1)
	for sentence, c := range map[string]struct {
		b    Outcome
		want bool
	}{
		"itself":                       {a, true},
		"its replay":                   {answer(Closed, 3, 99), true},
		"a repeat by another worker":   {answer(Paid, 0, 1), true},
		"the same request sent twice":  {answer(Failed, 0, 2), true},
		"a request without a name":     {Outcome{}, false},
		"another request of the order": {Outcome{OutTradeNo: a.OutTradeNo, MchID: a.MchID, RequestID: "r-2"}, false},
	} {
		if SameRequest(a, c.b) != c.want || SameRequest(c.b, a) != c.want {
			t.Errorf("%s: want %v", sentence, c.want)
		}
	}
}

// history draws what the worker may write about one request: one outcome per
// record, any number of times. The first record of a replay number is there
// because the number before it failed; the same number again is the request
// asked again, which may be before or after its replays. All records of a
// closed order say closed, all of a paid one paid, or failed where something
// else went wrong.
func history(random *rand.Rand) (set []Outcome, final Result, highest int) {
	proof := []Result{Closed, Paid}[random.IntN(2)]
	final, highest = Failed, random.IntN(4)
	for replay := range highest + 1 {
		for record := range 1 + random.IntN(3) {
			result := Failed
			if random.IntN(3) == 0 {
				result, final = proof, proof
			}
			o := answer(result, replay, int64(10*replay+record))
			for range 1 + random.IntN(3) {
				set = append(set, o)
			}
		}
	}
	return set, final, highest
}

// read folds outcomes as a reader does.
func read(outcomes []Outcome) Outcome {
	current := outcomes[0]
	for _, next := range outcomes[1:] {
		if Supersedes(current, next) {
			current = next
		}
	}
	return current
}

func TestAllOrdersEndInTheSameOutcome(t *testing.T) {
	finals := 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 0))
		set, want, highest := history(random)
		if want != Failed {
			finals++
		}
		for range 10 {
			random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			got := read(set)
			if got.Result != want || want == Failed && got.Replay != highest {
				t.Fatalf("seed %d: ends with %s of replay %d, want %s, failed ones of replay %d", seed, got.Result, got.Replay, want, highest)
			}
		}
	}
	if finals < 500 || finals > 2900 {
		t.Errorf("%d of 3000 histories have a final outcome: too few of one kind", finals)
	}
}

// What holds of any outcomes whatever, contradictions included.
func TestWhatAReaderMayRelyOn(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		var set []Outcome
		for range 2 + random.IntN(8) {
			o := answer([]Result{Closed, Paid, Failed, Failed}[random.IntN(4)], random.IntN(3), random.Int64N(3))
			if random.IntN(8) == 0 {
				o.RequestID = "r-2"
			}
			set = append(set, o)
		}
		current := set[0]
		for _, next := range set[1:] {
			if !Supersedes(current, next) {
				continue
			}
			switch {
			case current.Final():
				t.Fatalf("seed %d: a final outcome was superseded", seed)
			case !next.Final() && next.Replay <= current.Replay:
				t.Fatalf("seed %d: a failed superseded, and its replay number did not grow", seed)
			case next.ID == current.ID:
				t.Fatalf("seed %d: an answer to the same record superseded", seed)
			case Supersedes(next, current):
				t.Fatalf("seed %d: two outcomes supersede each other", seed)
			}
			current = next
		}
		again := read(set)
		doubled := slices.Concat(set, set)
		if !reflect.DeepEqual(again, current) {
			t.Fatalf("seed %d: two readers disagree", seed)
		}
		if first := set[0]; first.Final() && !reflect.DeepEqual(read(doubled), first) {
			t.Fatalf("seed %d: a final outcome did not survive a second reading", seed)
		}
	}
}

func TestSupersedesIsTransitive(t *testing.T) {
	var all []Outcome
	for replay := range 4 {
		for record, result := range []Result{Closed, Paid, Failed, Failed} {
			all = append(all, answer(result, replay, int64(10*replay+record)))
		}
	}
	for _, a := range all {
		if Supersedes(a, a) {
			t.Errorf("%s of replay %d supersedes itself", a.Result, a.Replay)
		}
		for _, b := range all {
			for _, c := range all {
				if Supersedes(a, b) && Supersedes(b, c) && !Supersedes(a, c) {
					t.Error(fmt.Sprint(a.Result, a.Replay, b.Result, b.Replay, c.Result, c.Replay))
				}
			}
		}
	}
}
