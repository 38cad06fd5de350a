package closer

import (
	"fmt"
	"testing"
)

var (
	answeredSuccess  = decision{class: Closed, said: saidSuccess}
	answeredClosed   = decision{class: Closed, said: saidClosed}
	answeredNotExist = decision{class: Closed, said: saidNotExist}
	answeredPaid     = decision{class: Paid, said: saidPaid}
	answeredLater    = decision{class: Temporary, said: "SYSTEMERROR"}
	answeredLimit    = decision{class: Temporary, said: "FREQUENCYLIMITED", queryFirst: true}
	answeredRefused  = decision{class: Failed, said: "PARAMERROR"}
	answeredUnknown  = decision{class: Unknown, said: "X"}
	answeredNothing  = decision{class: NoAnswer}
	answeredMerchant = decision{class: MerchantRefused, said: "NOAUTH"}
)

func TestWeigh(t *testing.T) {
	const never, doubt, always = ConfirmNever, ConfirmDoubt, ConfirmAlways
	closedBy := func(by string, safe bool) ruling {
		return ruling{step: conclude, class: Closed, confirmedBy: by, safe: safe}
	}
	paidBy := func(by string) ruling { return ruling{step: conclude, class: Paid, confirmedBy: by} }
	var (
		byClose, byQuery = ConfirmedByCloseOrder, ConfirmedByOrderQuery
		refused          = ruling{step: conclude, class: Failed}
		held             = ruling{step: conclude, class: MerchantRefused}
		asks             = ruling{step: queryFirst}
		repeats          = ruling{step: again}
		waits            = ruling{step: later}
	)
	const lost, fine = true, false
	for sentence, tt := range map[string]struct {
		close   decision
		query   trade
		age     age
		confirm Confirm
		lost    bool
		want    ruling
	}{
		// What the close says alone.
		"SUCCESS on a settled order needs no query":                       {answeredSuccess, notQueried, settled, doubt, fine, closedBy(byClose, true)},
		"SUCCESS on a young order is asked about":                         {answeredSuccess, notQueried, young, doubt, fine, asks},
		"SUCCESS on an order of unknown age is asked about":               {answeredSuccess, notQueried, ageUnknown, doubt, fine, asks},
		"SUCCESS after a lost reply is asked about":                       {answeredSuccess, notQueried, settled, doubt, lost, asks},
		"SUCCESS is asked about with always":                              {answeredSuccess, notQueried, settled, always, fine, asks},
		"SUCCESS stands with never":                                       {answeredSuccess, notQueried, settled, never, lost, closedBy(byClose, true)},
		"SUCCESS on a young order stands with never, but is not safe":     {answeredSuccess, notQueried, young, never, fine, closedBy(byClose, false)},
		"SUCCESS at unknown age stands with never, but is not safe":       {answeredSuccess, notQueried, ageUnknown, never, fine, closedBy(byClose, false)},
		"ORDERCLOSED names an order that is closed, at any age":           {answeredClosed, notQueried, young, doubt, fine, closedBy(byClose, true)},
		"ORDERCLOSED after a lost reply is asked about":                   {answeredClosed, notQueried, young, doubt, lost, asks},
		"ORDERCLOSED is asked about with always":                          {answeredClosed, notQueried, settled, always, fine, asks},
		"ORDERNOTEXIST on a settled order needs no query":                 {answeredNotExist, notQueried, settled, doubt, fine, closedBy(byClose, true)},
		"ORDERNOTEXIST on a young order is asked about":                   {answeredNotExist, notQueried, young, doubt, fine, asks},
		"ORDERNOTEXIST at unknown age is asked about":                     {answeredNotExist, notQueried, ageUnknown, doubt, fine, asks},
		"ORDERNOTEXIST at unknown age stands with never, but is not safe": {answeredNotExist, notQueried, ageUnknown, never, fine, closedBy(byClose, false)},
		"ORDERPAID is paid, and a paid number is never safe":              {answeredPaid, notQueried, settled, doubt, fine, paidBy(byClose)},
		"ORDERPAID after a lost reply is asked about":                     {answeredPaid, notQueried, settled, doubt, lost, asks},
		"ORDERPAID is asked about with always, for its transaction":       {answeredPaid, notQueried, settled, always, fine, asks},
		"a refused request fails":                                         {answeredRefused, notQueried, settled, doubt, fine, refused},
		"a refused request after a lost reply is asked about":             {answeredRefused, notQueried, settled, doubt, lost, asks},
		"a refused request fails with never":                              {answeredRefused, notQueried, settled, never, lost, refused},
		"an unknown code is asked about":                                  {answeredUnknown, notQueried, settled, doubt, fine, asks},
		"an unknown code is tried again with never":                       {answeredUnknown, notQueried, settled, never, fine, repeats},
		"SYSTEMERROR is tried again":                                      {answeredLater, notQueried, settled, always, fine, repeats},
		"no answer is tried again":                                        {answeredNothing, notQueried, settled, doubt, lost, repeats},
		"a refused merchant is held":                                      {answeredMerchant, notQueried, settled, always, lost, held},

		// What a query changes.
		"CLOSED confirms SUCCESS on a young order, and makes it safe":   {answeredSuccess, tradeClosed, young, doubt, fine, closedBy(byQuery, true)},
		"CLOSED ends the doubt about a lost reply":                      {answeredNothing, tradeClosed, ageUnknown, doubt, lost, closedBy(byQuery, true)},
		"CLOSED ends a FREQUENCY_LIMITED":                               {answeredLater, tradeClosed, young, doubt, fine, closedBy(byQuery, true)},
		"CLOSED outweighs a refused request":                            {answeredRefused, tradeClosed, settled, doubt, lost, closedBy(byQuery, true)},
		"CLOSED against ORDERPAID is a contradiction":                   {answeredPaid, tradeClosed, settled, always, fine, repeats},
		"paid outweighs SUCCESS":                                        {answeredSuccess, tradePaid, settled, always, fine, paidBy(byQuery)},
		"paid outweighs ORDERCLOSED":                                    {answeredClosed, tradePaid, settled, always, fine, paidBy(byQuery)},
		"paid outweighs a refused request":                              {answeredRefused, tradePaid, settled, doubt, lost, paidBy(byQuery)},
		"paid confirms ORDERPAID":                                       {answeredPaid, tradePaid, settled, always, fine, paidBy(byQuery)},
		"paid ends an unknown code":                                     {answeredUnknown, tradePaid, settled, doubt, fine, paidBy(byQuery)},
		"open after SUCCESS is closed again":                            {answeredSuccess, tradeOpen, young, doubt, fine, repeats},
		"open after ORDERCLOSED concludes nothing":                      {answeredClosed, tradeOpen, settled, always, fine, repeats},
		"open after ORDERPAID concludes nothing":                        {answeredPaid, tradeOpen, settled, always, fine, repeats},
		"open after a refused request leaves it refused":                {answeredRefused, tradeOpen, settled, doubt, lost, refused},
		"open after no answer is closed again":                          {answeredNothing, tradeOpen, settled, doubt, lost, repeats},
		"unknown order after SUCCESS on a settled order: nothing there": {answeredSuccess, tradeUnknown, settled, always, fine, closedBy(byQuery, true)},
		"unknown order after SUCCESS on a young order: wait for it":     {answeredSuccess, tradeUnknown, young, doubt, fine, waits},
		"unknown order after ORDERNOTEXIST on a young one: wait for it": {answeredNotExist, tradeUnknown, young, doubt, fine, waits},
		"unknown order after SUCCESS at unknown age: closed, not safe":  {answeredSuccess, tradeUnknown, ageUnknown, doubt, fine, closedBy(byQuery, false)},
		"unknown order after ORDERNOTEXIST at unknown age: not safe":    {answeredNotExist, tradeUnknown, ageUnknown, doubt, fine, closedBy(byQuery, false)},
		"unknown order after ORDERCLOSED: safe when settled":            {answeredClosed, tradeUnknown, settled, always, fine, closedBy(byClose, true)},
		"unknown order after ORDERCLOSED: not safe when young":          {answeredClosed, tradeUnknown, young, always, fine, closedBy(byClose, false)},
		"unknown order after ORDERPAID concludes nothing":               {answeredPaid, tradeUnknown, settled, always, fine, repeats},
		"unknown order after no answer, settled: nothing to close":      {answeredNothing, tradeUnknown, settled, doubt, lost, closedBy(byQuery, true)},
		"unknown order after FREQUENCY_LIMITED is a contradiction":      {answeredLimit, tradeUnknown, settled, doubt, fine, repeats},
		"CLOSED after FREQUENCY_LIMITED is closed":                      {answeredLimit, tradeClosed, settled, doubt, fine, closedBy(byQuery, true)},
		"unknown order after no answer, unknown age: closed again":      {answeredNothing, tradeUnknown, ageUnknown, doubt, lost, repeats},
		"unknown order after no answer, young: closed again":            {answeredNothing, tradeUnknown, young, doubt, lost, repeats},
		"unknown order after a refused request leaves it refused":       {answeredRefused, tradeUnknown, settled, doubt, lost, refused},

		// Queries without an answer.
		"SUCCESS on a settled order stands without the query":         {answeredSuccess, unanswered, settled, doubt, lost, closedBy(byClose, true)},
		"SUCCESS on a young order does not stand without the query":   {answeredSuccess, unanswered, young, doubt, fine, repeats},
		"SUCCESS at unknown age does not stand without the query":     {answeredSuccess, unanswered, ageUnknown, doubt, fine, repeats},
		"ORDERCLOSED stands without the query":                        {answeredClosed, unanswered, ageUnknown, doubt, lost, closedBy(byClose, true)},
		"ORDERCLOSED does not stand without the query with always":    {answeredClosed, unanswered, settled, always, fine, repeats},
		"ORDERPAID stands without the query":                          {answeredPaid, unanswered, settled, doubt, lost, paidBy(byClose)},
		"ORDERPAID does not stand without the query with always":      {answeredPaid, unanswered, settled, always, fine, repeats},
		"a refused request stays refused without the query":           {answeredRefused, unanswered, settled, doubt, lost, refused},
		"an unknown code is tried again without the query":            {answeredUnknown, unanswered, settled, doubt, fine, repeats},
		"no answer to the close and none to the query: tried again":   {answeredNothing, unanswered, settled, doubt, lost, repeats},
		"a query before the first answer to a close, unanswered":      {decision{}, unanswered, settled, doubt, fine, repeats},
		"a query before the first answer to a close can find it paid": {decision{}, tradePaid, settled, doubt, fine, paidBy(byQuery)},

		// A query where nobody closes: see Closer.Query.
		"an order that is asked about alone can be found closed":        {decision{}, tradeClosed, young, doubt, fine, closedBy(byQuery, true)},
		"an order that is asked about alone can be found open":          {decision{}, tradeOpen, settled, doubt, fine, repeats},
		"unknown order, asked about alone, settled: nothing to close":   {decision{}, tradeUnknown, settled, doubt, fine, closedBy(byQuery, true)},
		"unknown order, asked about alone, young: wait for it":          {decision{}, tradeUnknown, young, doubt, fine, waits},
		"unknown order, asked about alone, unknown age: not safe":       {decision{}, tradeUnknown, ageUnknown, doubt, fine, closedBy(byQuery, false)},
		"ORDERNOTEXIST on a settled order stands without the query":     {answeredNotExist, unanswered, settled, doubt, lost, closedBy(byClose, true)},
		"ORDERNOTEXIST on a young order does not stand without it":      {answeredNotExist, unanswered, young, doubt, fine, repeats},
		"ORDERNOTEXIST at unknown age does not stand without the query": {answeredNotExist, unanswered, ageUnknown, doubt, fine, repeats},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := weigh(standing{close: tt.close, query: tt.query, age: tt.age, confirm: tt.confirm, lost: tt.lost})
			if got != tt.want {
				t.Errorf("weigh: got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// What holds for every standing there is, whatever the table says.
func TestWeighNeverPromisesTooMuch(t *testing.T) {
	decisions := []decision{{}, answeredSuccess, answeredClosed, answeredNotExist, answeredPaid,
		answeredLater, answeredLimit, answeredRefused, answeredUnknown, answeredNothing, answeredMerchant}
	for _, d := range decisions {
		for query := notQueried; query <= tradeUnknown; query++ {
			for age := ageUnknown; age <= settled; age++ {
				for _, confirm := range []Confirm{ConfirmNever, ConfirmDoubt, ConfirmAlways} {
					for _, lost := range []bool{false, true} {
						s := standing{close: d, query: query, age: age, confirm: confirm, lost: lost}
						r := weigh(s)
						name := fmt.Sprintf("%+v -> %+v", s, r)
						final := r.step == conclude && (r.class == Closed || r.class == Paid)
						was := s
						was.paid = true
						if w := weigh(was); w.step == conclude && w.class == Closed {
							t.Errorf("closed although an earlier close was answered with paid: %+v", was)
						}
						switch {
						case r.step != conclude && r != (ruling{step: r.step}):
							t.Errorf("promises without a conclusion: %s", name)
						case r.safe && (r.class != Closed || r.confirmedBy == ""):
							t.Errorf("safe without a confirmed close: %s", name)
						case final != (r.confirmedBy != ""):
							t.Errorf("a final verdict and a confirmation belong together: %s", name)
						case final && d.class != Closed && d.class != Paid && query < tradeClosed:
							t.Errorf("final without proof: %s", name)
						case final && r.class == Closed && (query == tradeOpen || query == tradePaid || d.class == Paid):
							t.Errorf("closed against a signed answer: %s", name)
						case r.safe && age != settled && d.said != saidClosed && query != tradeClosed:
							t.Errorf("safe although a create call may still arrive: %s", name)
						case final && confirm == ConfirmAlways && query <= unanswered:
							t.Errorf("always concluded without a query: %s", name)
						case r.step == queryFirst && (confirm == ConfirmNever || query != notQueried):
							t.Errorf("asks where it should not: %s", name)
						}
					}
				}
			}
		}
	}
}
