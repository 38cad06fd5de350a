package consumer

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/golden"
)

// The words of decide.go, as the document has them.
var (
	evidenceWords = map[evidence]string{unused: "nothing", answered: "answers", unanswered: "is probed"}
	findingWords  = map[finding]string{foundNothing: "", itIsTheOrder: "the order", itIsTheMerchant: "the merchant", itIsTheGateway: "the gateway", nobodyKnows: "nobody knows"}
	newsWords     = map[merchantNews]string{noNews: "nothing", isServed: "served", isHeard: "heard", isRefused: "refused", isSilent: "silent", isUnclear: "unclear"}
	turnWords     = map[turn]string{
		proven: "proven", hopeless: "hopeless", notDue: "not due", handedOver: "handed over", held: "held", away: "away",
		crowdedOut: "crowded out", cutShort: "cut short", uncalled: "uncalled", starved: "starved", tried: "tried",
	}
)

// What a verdict says of the gateway, of its merchant, and of its request.
func TestWhatAVerdictIsEvidenceOf(t *testing.T) {
	var rows [][]string
	said := make(map[string]bool)
	for _, c := range []struct {
		sentence string
		v        Verdict
		found    finding
		expired  bool
		blamed   bool
		gateway  evidence
		merchant merchantNews
		turn     turn
	}{
		{sentence: "closed", v: Verdict{Class: Closed, Calls: 1}, gateway: answered, merchant: isServed, turn: proven},
		{sentence: "paid", v: Verdict{Class: Paid, Calls: 2}, gateway: answered, merchant: isServed, turn: proven},
		{sentence: "closed, as the query about an expired request says", v: Verdict{Class: Closed, Calls: 1}, expired: true, gateway: answered, turn: proven},
		{sentence: "failed", v: Verdict{Class: Failed, Calls: 1}, gateway: answered, merchant: isServed, turn: hopeless},
		{sentence: "failed without a call", v: Verdict{Class: Failed}, gateway: unused, turn: hopeless},
		{sentence: "temporary", v: Verdict{Class: Temporary, Calls: 3}, gateway: answered, merchant: isServed, turn: tried},
		{sentence: "temporary, unsigned", v: Verdict{Class: Temporary, Calls: 3, Unsigned: true}, gateway: answered, turn: tried},
		{sentence: "temporary, about an expired request", v: Verdict{Class: Temporary, Calls: 3}, expired: true, gateway: answered, turn: tried},
		{sentence: "temporary, starved", v: Verdict{Class: Temporary, Calls: 1, Starved: true}, gateway: answered, merchant: isServed, turn: starved},
		{sentence: "temporary, without a call", v: Verdict{Class: Temporary}, gateway: unused, turn: uncalled},
		{sentence: "temporary, starved of its first call", v: Verdict{Class: Temporary, Starved: true}, gateway: unused, turn: uncalled},
		{sentence: "merchant refused", v: Verdict{Class: MerchantRefused, Calls: 1}, gateway: answered, merchant: isRefused, turn: away},
		{sentence: "merchant refused, without a call", v: Verdict{Class: MerchantRefused}, gateway: unused, merchant: isRefused, turn: away},
		{sentence: "merchant refused, where other orders are served", v: Verdict{Class: MerchantRefused, Calls: 1}, blamed: true, gateway: answered, turn: tried},
		{sentence: "no answer", v: Verdict{Class: NoAnswer, Calls: 2}, found: itIsTheOrder, gateway: unanswered, merchant: isHeard, turn: tried},
		{sentence: "no answer, starved", v: Verdict{Class: NoAnswer, Calls: 2, Starved: true}, found: itIsTheOrder, gateway: unanswered, merchant: isHeard, turn: starved},
		{sentence: "no answer", v: Verdict{Class: NoAnswer, Calls: 2}, found: itIsTheMerchant, gateway: unanswered, merchant: isSilent, turn: away},
		{sentence: "no answer, starved", v: Verdict{Class: NoAnswer, Calls: 2, Starved: true}, found: itIsTheMerchant, gateway: unanswered, merchant: isSilent, turn: away},
		{sentence: "no answer, about an expired request", v: Verdict{Class: NoAnswer, Calls: 2}, found: itIsTheMerchant, expired: true, gateway: unanswered, merchant: isSilent, turn: tried},
		{sentence: "no answer, starved, about an expired request", v: Verdict{Class: NoAnswer, Calls: 2, Starved: true}, found: itIsTheMerchant, expired: true, gateway: unanswered, merchant: isSilent, turn: starved},
		{sentence: "no answer", v: Verdict{Class: NoAnswer, Calls: 2}, found: itIsTheGateway, gateway: unanswered, turn: cutShort},
		{sentence: "no answer, starved", v: Verdict{Class: NoAnswer, Calls: 2, Starved: true}, found: itIsTheGateway, gateway: unanswered, turn: cutShort},
		{sentence: "no answer", v: Verdict{Class: NoAnswer, Calls: 2}, found: nobodyKnows, gateway: unanswered, merchant: isUnclear, turn: cutShort},
		{sentence: "no answer, and the probe was cut off", v: Verdict{Class: NoAnswer, Calls: 2}, gateway: unanswered, turn: cutShort},
		{sentence: "no answer, without a call", v: Verdict{Class: NoAnswer}, gateway: unused, turn: cutShort},
		{sentence: "no answer but one without proof", v: Verdict{Class: NoAnswer, Calls: 3, Unsigned: true}, gateway: answered, turn: tried},
		{sentence: "no answer but one without proof, starved", v: Verdict{Class: NoAnswer, Calls: 3, Unsigned: true, Starved: true}, gateway: answered, turn: starved},
		{sentence: "interrupted", v: Verdict{Class: Interrupted, Calls: 1}, gateway: unused, turn: cutShort},
	} {
		gateway := c.v.evidence()
		turn, merchant := read(c.v, c.found, c.expired, c.blamed)
		if gateway != c.gateway || merchant != c.merchant || turn != c.turn {
			t.Errorf("%s (%s): gateway %s, merchant %s, %s; want %s, %s, %s", c.sentence, findingWords[c.found],
				evidenceWords[gateway], newsWords[merchant], turnWords[turn], evidenceWords[c.gateway], newsWords[c.merchant], turnWords[c.turn])
		}
		rows = append(rows, []string{c.sentence, findingWords[c.found], evidenceWords[c.gateway], newsWords[c.merchant], turnWords[c.turn]})
		said["gateway "+evidenceWords[c.gateway]], said["merchant "+newsWords[c.merchant]], said["found "+findingWords[c.found]] = true, true, true
	}
	if want := len(evidenceWords) + len(newsWords) + len(findingWords); len(said) != want {
		t.Errorf("%d of %d words have a row", len(said), want)
	}
	inDocument(t, "evidence", []string{"verdict", "the probe speaks against", "the gateway", "the merchant is", "the turn was"}, rows)
}

// What a probe says, with what is known of others.
func TestFindingOf(t *testing.T) {
	for _, c := range []struct {
		alive, others, many bool
		want                finding
	}{
		{false, false, false, itIsTheGateway},
		{false, false, true, itIsTheGateway},
		{false, true, false, itIsTheMerchant},
		{false, true, true, itIsTheMerchant},
		{true, false, false, itIsTheOrder},
		{true, true, false, itIsTheOrder},
		{true, true, true, itIsTheOrder},
		{true, false, true, nobodyKnows},
	} {
		if got := findingOf(c.alive, c.others, c.many); got != c.want {
			t.Errorf("alive %v, others %v, many %v: %s, want %s", c.alive, c.others, c.many, findingWords[got], findingWords[c.want])
		}
	}
}

// The whole table, and each border of it.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	in := now.Add
	five := tiers{{"10s", 10 * time.Second}, {"1m", time.Minute}, {"5m", 5 * time.Minute}, {"30m", 30 * time.Minute}, {"2h", 2 * time.Hour}}
	busy := Verdict{Class: Temporary, Code: "SYSTEMERROR", Message: "busy", Calls: 1}
	after := func(v Verdict, d time.Duration) Verdict { v.RetryAfter = d; return v }
	refusal := Verdict{Class: MerchantRefused, Code: "NOAUTH", Scope: Scope{MchID: "m"}, Calls: 1}
	unworkable := Verdict{Class: Temporary, Code: "UNSIGNED_FAIL", Unworkable: true, Calls: 1}
	starving := Verdict{Class: Temporary, Code: "SUCCESS", Calls: 1, Starved: true}
	var rows [][]string
	said := make(map[any]bool)
	for _, c := range []struct {
		sentence string
		c        circumstances
		want     string
	}{
		{"closed or paid", circumstances{turn: proven, verdict: Verdict{Class: Closed, Code: "SUCCESS"}}, "outcome SUCCESS"},
		{"closed or paid, although it has expired", circumstances{turn: proven, verdict: Verdict{Class: Paid, Code: "ORDERPAID"}, expired: true, expires: in(-time.Hour)}, "outcome ORDERPAID"},

		{"refused for good, or no call can be made", circumstances{turn: hopeless, verdict: Verdict{Class: Failed, Code: "PARAM_ERROR"}}, "dead letter and outcome PARAM_ERROR"},
		{"it has expired", circumstances{turn: hopeless, verdict: Verdict{Class: Failed, Code: "NOTPAY"}, expired: true, expires: in(-time.Hour)}, "outcome EXPIRED"},

		{"in 5s", circumstances{turn: notDue, until: in(5 * time.Second), verdict: busy}, "retry record in 10s, due in 5s, free"},
		{"in 12s: no hop for what nobody measures", circumstances{turn: notDue, until: in(12 * time.Second), verdict: busy}, "retry record in 10s, due in 12s, free"},
		{"in 13s: two hops", circumstances{turn: notDue, until: in(13 * time.Second), verdict: busy}, "retry record in 10s, due in 10s, free"},
		{"in 29 min: several hops", circumstances{turn: notDue, until: in(29 * time.Minute), verdict: busy}, "retry record in 5m, due in 5m0s, free"},
		{"in a year", circumstances{turn: notDue, until: in(8760 * time.Hour), verdict: busy}, "retry record in 2h, due in 2h0m0s, free"},
		{"in an hour, and it expires in a minute: to say so then", circumstances{turn: notDue, until: in(time.Hour), expires: in(time.Minute), verdict: busy}, "retry record in 30m, due in 1m0s, free"},
		{"after its last retry: it has not lost that", circumstances{turn: notDue, until: in(time.Minute), retries: 5, verdict: busy}, "retry record in 1m, due in 1m0s, free"},

		{"its merchant's requests have waited for 3s", circumstances{turn: crowdedOut, verdict: after(busy, 3*time.Second), roomy: true, retries: 5}, "retry record in 10s, due in 3s, free"},
		{"for 70s", circumstances{turn: crowdedOut, verdict: after(busy, 70*time.Second)}, "retry record in 1m, due in 1m0s, free"},

		{"another order finds out about its merchant", circumstances{turn: handedOver}, "keeps its place for 10s"},
		{"and it expires in 3s", circumstances{turn: handedOver, expires: in(3 * time.Second)}, "keeps its place for 3s"},

		{"its merchant is held", circumstances{turn: held, verdict: Verdict{Class: MerchantRefused, Code: "MERCHANT_HELD", Scope: Scope{MchID: "m"}}, roomy: true}, "retry record in 10s, due in 10s, free, for m"},
		{"it is the prober, alone in its lane, and there is room", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, climbed: 3}, "keeps its place for 10s, for m"},
		{"so, after its last retry", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, retries: 5}, "keeps its place for 10s, for m"},
		{"so, and it expires in 3s", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, expires: in(3 * time.Second)}, "keeps its place for 3s, for m"},
		{"so, and it has just expired", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, expires: now}, "keeps its place for 1ms, for m"},
		{"so, up to half an hour", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, had: longestHold - 1}, "keeps its place for 10s, for m"},
		{"so, for half an hour already", circumstances{turn: away, verdict: refusal, prober: true, alone: true, roomy: true, had: longestHold}, "retry record in 10s, due in 10s, free, for m"},
		{"it is the prober, and another of its order waits behind it", circumstances{turn: away, verdict: refusal, prober: true, roomy: true}, "retry record in 10s, due in 10s, free, for m"},
		{"it is the prober, and its partition is full", circumstances{turn: away, verdict: refusal, prober: true, alone: true}, "retry record in 10s, due in 10s, free, for m"},
		{"with each hop it climbs", circumstances{turn: away, verdict: refusal, roomy: true, climbed: 2}, "retry record in 5m, due in 5m0s, free, for m"},
		{"up to half an hour", circumstances{turn: away, verdict: refusal, climbed: 9, roomy: true, had: time.Minute}, "retry record in 30m, due in 30m0s, free, for m"},
		{"at the top of short delays it waits in memory", circumstances{turn: away, verdict: refusal, climbed: 9, roomy: true, tiers: five[:2]}, "waits in memory for 1m0s, for m"},
		{"so, and it expires in 3s", circumstances{turn: away, verdict: refusal, climbed: 9, roomy: true, tiers: five[:2], expires: in(3 * time.Second)}, "waits in memory for 3s, for m"},
		{"so, for half an hour at the most", circumstances{turn: away, verdict: refusal, climbed: 9, roomy: true, tiers: five[:2], had: longestHold - time.Minute + 1}, "retry record in 1m, due in 1m0s, free, for m"},
		{"so, and there is no room", circumstances{turn: away, verdict: refusal, climbed: 9, tiers: five[:2]}, "retry record in 1m, due in 1m0s, free, for m"},
		{"it was woken, and its record is not due for 4 min", circumstances{turn: away, verdict: refusal, climbed: 3, left: 4 * time.Minute}, "waits in memory for 4m0s, for m"},
		{"its record was due a moment ago", circumstances{turn: away, verdict: refusal, climbed: 3, left: -1}, "retry record in 30m, due in 30m0s, free, for m"},
		{"a retry record would be due after it expires", circumstances{turn: away, verdict: refusal, climbed: 3, expires: in(time.Minute)}, "retry record in 30m, due in 1m0s, free, for m"},
		{"what is refused is an appid of the merchant alone", circumstances{turn: away, verdict: Verdict{Class: MerchantRefused, Scope: Scope{MchID: "m", AppID: "a"}}}, "retry record in 10s, due in 10s, free, for m appid a"},

		{"cut off, or nobody is answered", circumstances{turn: cutShort, verdict: Verdict{Class: NoAnswer, Code: "TIMEOUT"}, retries: 5}, "keeps its place"},

		{"no call could be made, and there is room", circumstances{turn: uncalled, verdict: after(busy, 7*time.Second), roomy: true}, "keeps its place for 7s"},
		{"so, for at least a second", circumstances{turn: uncalled, verdict: busy, roomy: true}, "keeps its place for 1s"},
		{"no call could be made, and there is no room", circumstances{turn: uncalled, verdict: after(busy, 7*time.Second), retries: 5}, "retry record in 10s, due in 7s, free"},

		{"the call that would have settled it could not be made", circumstances{turn: starved, verdict: starving, roomy: true, retries: 5}, "retry record in 10s, due in 1s, free"},
		{"so, and it is asked to wait for 90s", circumstances{turn: starved, verdict: after(starving, 90*time.Second)}, "retry record in 1m, due in 1m0s, free"},

		{"the first time", circumstances{turn: tried, verdict: busy}, "retry record in 10s, due in 10s, costs a try"},
		{"each further time the next delay", circumstances{turn: tried, verdict: busy, retries: 3}, "retry record in 30m, due in 30m0s, costs a try"},
		{"the last one", circumstances{turn: tried, verdict: busy, retries: 4}, "retry record in 2h, due in 2h0m0s, costs a try"},
		{"after the last", circumstances{turn: tried, verdict: busy, retries: 5}, "dead letter and outcome RETRIES_EXHAUSTED"},
		{"after the last, and it has expired", circumstances{turn: tried, verdict: busy, retries: 5, expired: true, expires: in(-time.Hour)}, "outcome EXPIRED"},
		{"it has expired, and is asked about again", circumstances{turn: tried, verdict: busy, expired: true, expires: in(-time.Hour)}, "retry record in 10s, due in 10s, costs a try"},
		{"it expires before the retry is due", circumstances{turn: tried, verdict: busy, retries: 1, expires: in(20 * time.Second)}, "retry record in 1m, due in 20s, costs a try"},
		{"it is asked to wait for 5s", circumstances{turn: tried, verdict: after(busy, 5*time.Second)}, "retry record in 10s, due in 10s, costs a try"},
		{"it is asked to wait for 20s", circumstances{turn: tried, verdict: after(busy, 20*time.Second)}, "retry record in 1m, due in 1m0s, costs a try"},
		{"it is asked to wait for 1 min", circumstances{turn: tried, verdict: after(busy, time.Minute)}, "retry record in 1m, due in 1m2s, costs a try"},
		{"it is asked to wait for a year", circumstances{turn: tried, verdict: after(busy, 8760*time.Hour)}, "retry record in 2h, due in 2h0m2s, costs a try"},
		{"it cannot work as it stands, as unsigned words say, the second time", circumstances{turn: tried, verdict: unworkable, retries: 1}, "retry record in 1m, due in 1m0s, costs a try"},
		{"so, the third time", circumstances{turn: tried, verdict: unworkable, retries: 2}, "dead letter and outcome RETRIES_EXHAUSTED"},
	} {
		c.c.now = now
		if c.c.tiers == nil {
			c.c.tiers = five
		}
		d := decide(c.c)
		if got := sayOf(d, c.c); got != c.want {
			t.Errorf("%s: %s\n\t got %s\n\twant %s", turnWords[c.c.turn], c.sentence, got, c.want)
		}
		said[c.c.turn], said[d.next] = true, true
		rows = append(rows, []string{turnWords[c.c.turn], c.sentence, c.want})
	}
	if want := len(turnWords) + int(waitForMerchant); len(said) != want {
		t.Errorf("%d of %d words have a row", len(said), want)
	}
	inDocument(t, "decisions", []string{"the turn was", "when", "then"}, rows)
}

// sayOf is a decision as the document has it.
func sayOf(d decision, c circumstances) string {
	var s string
	switch d.next {
	case conclude:
		s = "outcome " + d.verdict.Code
	case deadLetter:
		s = "dead letter and outcome " + d.verdict.Code
	case restInPlace:
		s = "keeps its place"
	case waitForMerchant:
		s = "waits in memory"
	case retryLater:
		s = fmt.Sprintf("retry record in %s, due in %v", d.tier.Topic, d.due.Sub(c.now))
		switch d.retries - c.retries {
		case 0:
			s += ", free"
		case 1:
			s += ", costs a try"
		}
	}
	if d.pause > 0 {
		s += fmt.Sprintf(" for %v", d.pause)
	}
	if d.scope.MchID != "" {
		s += ", for " + d.scope.MchID
	}
	if d.scope.AppID != "" {
		s += " appid " + d.scope.AppID
	}
	return s
}

// What an order service reads when a request ends without proof.
func TestDecideSaysWhyARequestFails(t *testing.T) {
	expires := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	c := circumstances{turn: tried, verdict: Verdict{Class: Temporary, Code: "SYSTEMERROR", Message: "busy", SafeToReissue: true}, retries: 1, tiers: tiers{{"10s", 10 * time.Second}}}
	d := decide(c)
	if d.verdict.Class != Failed || d.verdict.Code != events.CodeRetriesExhausted || d.verdict.Message != "no final answer after the last retry: SYSTEMERROR: busy" {
		t.Errorf("%+v", d.verdict)
	}
	c.expired, c.expires = true, expires
	d = decide(c)
	if d.verdict.Class != Failed || d.verdict.Code != events.CodeExpired ||
		d.verdict.Message != "expires_at 2026-11-27T12:00:00Z has passed; no final answer after the last retry: SYSTEMERROR: busy" {
		t.Errorf("%+v", d.verdict)
	}
}

// inDocument compares rows with a table of the document, which stands between two
// comments with its name.
func inDocument(t *testing.T, name string, header []string, rows [][]string) {
	t.Helper()
	const file = "../docs/decisions-of-a-request.md"
	var want strings.Builder
	for i, row := range append([][]string{header}, rows...) {
		fmt.Fprintf(&want, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			want.WriteString(strings.Repeat("|---", len(header)) + "|\n")
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), "<!-- "+name+", written by the test -->\n")
	got, after, ends := strings.Cut(rest, "<!-- end of "+name+" -->")
	if !begins || !ends {
		t.Fatalf("%s has no place for the table %q", file, name)
	}
	if got == want.String() {
		return
	}
	if *golden.Update {
		text := before + "<!-- " + name + ", written by the test -->\n" + want.String() + "<!-- end of " + name + " -->" + after
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, should := strings.Split(got, "\n"), strings.Split(want.String(), "\n")
	for _, line := range have {
		if !slices.Contains(should, line) {
			t.Errorf("%s has a row that the code has not: %s", file, line)
		}
	}
	for _, line := range should {
		if !slices.Contains(have, line) {
			t.Errorf("%s lacks the row: %s", file, line)
		}
	}
	t.Errorf("%s: table %q differs; go test ./consumer -run 'Decide|Evidence' -update writes it", file, name)
}
