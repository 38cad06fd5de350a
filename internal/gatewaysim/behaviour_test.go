package gatewaysim

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/golden"
)

const testdata = "../../testdata/gatewaysim/"

// Every behaviour does what its section in behaviours.txt says.
func TestEveryBehaviourDoesWhatItsTableSays(t *testing.T) {
	file := testdata + "behaviours.txt"
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	tried := make(map[string]bool)
	number := ""
	var steps []string
	flush := func() {
		if number != "" {
			tried[behaviourOf(number).Prefix] = true
			out.WriteString(play(t, number, steps))
		}
		number, steps = "", nil
	}
	for in := bufio.NewScanner(strings.NewReader(string(script))); in.Scan(); {
		text := in.Text()
		switch step, _, _ := strings.Cut(text, " ->"); {
		case strings.HasPrefix(text, "["):
			flush()
			number = strings.Trim(text, "[]")
			fmt.Fprintln(&out, text)
		case text == "" || strings.HasPrefix(text, "#"):
			flush()
			fmt.Fprintln(&out, text)
		default:
			steps = append(steps, strings.TrimSpace(step))
		}
	}
	flush()
	for _, b := range Behaviours() {
		if !tried[b.Prefix] {
			t.Errorf("behaviour %q has no section in %s", b.Prefix, file)
		}
	}
	golden.Check(t, file, out.String())
}

// play takes the steps on one order in virtual time, and returns them with
// what came of each.
func play(t *testing.T, number string, steps []string) string {
	var out strings.Builder
	if len(steps) == 0 {
		t.Errorf("section [%s] has no steps", number)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, Config{Seed: 1})
		c, stop := serveVirtual(t, s)
		defer stop()
		for _, step := range steps {
			began := time.Now()
			result := ""
			switch {
			case step == "close":
				result = c.close(number)
			case step == "query":
				result = c.query(number)
			case step == "close*":
				result = c.as(DefaultMerchants()[1]).close(number)
			case step == "query*":
				result = c.as(DefaultMerchants()[1]).query(number)
			case step == "create":
				result = c.create(number)
			case step == "book":
				result = bookLine(s, Order{MchID: c.merchant.MchID, OutTradeNo: number})
			case strings.HasPrefix(step, "wait "):
				d, err := time.ParseDuration(step[5:])
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(d)
				fmt.Fprintln(&out, step)
				continue
			default:
				t.Fatalf("[%s]: unknown step %q", number, step)
			}
			if d := time.Since(began); d != 0 {
				result += " (" + d.String() + ")"
			}
			fmt.Fprintf(&out, "%-6s -> %s\n", step, result)
		}
	})
	return out.String()
}

func bookLine(s *Simulator, key Order) string {
	e, ok := s.Lookup(key)
	if !ok {
		return "not in it"
	}
	text := e.State.String()
	if e.Payable {
		text += ", payable"
	}
	if e.CreateInFlight {
		text += ", create in flight"
	}
	var events []string
	for _, ev := range e.Events {
		events = append(events, ev.What.String())
	}
	return text + ": " + strings.Join(events, ", ")
}

// The table that simulate --help prints.
func TestTheTableOfBehavioursIsAsDocumented(t *testing.T) {
	var out strings.Builder
	for _, b := range Behaviours() {
		if b.What == "" || b.Outcome == "" {
			t.Errorf("behaviour %q is not described", b.Prefix)
		}
		if b.Prefix != strings.ToUpper(b.Prefix) {
			t.Errorf("prefix %q is not in upper case", b.Prefix)
		}
		fmt.Fprintf(&out, "%-13s %-75s %s\n", b.Prefix, b.What, b.Outcome)
	}
	golden.Check(t, testdata+"table.txt", out.String())
}
