package rebalances

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/golden"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// planted is a run of ten seconds in quiet times and twenty of another scene, in
// which something happens at second 15. Eight partitions get ten requests a
// second each, and four processes answer them after 40 ms. change does to each
// request what is planted; n counts the requests of its partition.
func planted(change func(r *Request, n int)) Run {
	run := Run{
		Program: "this", IDs: "dynamic",
		Scenes: []Scene{
			{Name: "quiet times", From: at(0), To: at(10)},
			{
				Name: "one is killed", From: at(10), To: at(30), Events: []Event{{at(15), "d is killed"}},
				MayMove: 1, MayWait: 6 * time.Second,
			},
		},
		Ended: map[string]time.Time{"d": at(15)},
	}
	for n := range 300 {
		for p := range 8 {
			r := Request{Partition: p, Due: at(.1*float64(n) + .0125*float64(p)), Owner: string(rune('a' + p%4))}
			r.Published = r.Due
			r.Answered = r.Published.Add(40 * time.Millisecond)
			if change != nil {
				change(&r, n)
			}
			run.Requests = append(run.Requests, r)
		}
	}
	return run
}

// kill gives what d has at second 15 to e at second 20, and lets the others go on.
func kill(r *Request, _ int) {
	if r.Owner != "d" || r.Answered.Before(at(15)) {
		return
	}
	r.Owner = "e"
	if r.Published.Before(at(20.5)) { // it catches up in half a second
		r.Answered = at(20).Add(r.Published.Sub(at(15)) / 11)
	}
}

func between(t time.Time, from, to float64) bool { return !t.Before(at(from)) && t.Before(at(to)) }

func TestComplaints(t *testing.T) {
	tests := map[string]struct {
		change func(r *Request, n int)
		scene  func(*Scene)
		want   []string
	}{
		"nothing happens": {},
		"the partitions of the dead one wait, and nobody else": {change: kill},
		"the others stand still for as long": {
			change: func(r *Request, n int) {
				kill(r, n)
				if r.Owner != "e" && between(r.Answered, 15, 20) {
					r.Answered = at(20)
				}
			},
			want: []string{
				"p99 of what stays is 4838 ms, more than 2 times the 40 ms of quiet times",
				"in second 5 only 0.0 % of what stays was answered, want 90 % (the load was late by 0 ms in it)",
			},
		},
		"one in five of the others waits for a second": {
			change: func(r *Request, n int) {
				kill(r, n)
				if r.Owner != "e" && between(r.Published, 15, 16) && n%5 == 0 {
					r.Answered = r.Answered.Add(time.Second)
				}
			},
			want: []string{
				"p99 of what stays is 1040 ms, more than 2 times the 40 ms of quiet times",
				"in second 5 only 80.0 % of what stays was answered, want 90 % (the load was late by 0 ms in it)",
			},
		},
		"one partition moves that has to": {
			change: func(r *Request, _ int) {
				if r.Partition == 0 && !r.Answered.Before(at(16)) {
					r.Owner = "b"
				}
			},
		},
		"two move and one has to": {
			change: func(r *Request, _ int) {
				if r.Owner == "a" && !r.Answered.Before(at(16)) {
					r.Owner = "b"
				}
			},
			want: []string{"2 partitions went from one member that lives to another, 1 have to"},
		},
		"what the dead one left stands still for too long": {
			change: kill,
			scene:  func(s *Scene) { s.MayWait = 4 * time.Second },
			want:   []string{"a partition whose owner was gone stood still for 5.1 s, may 4s"},
		},
		"a request has no outcome": {
			change: func(r *Request, n int) {
				if r.Partition == 1 && n == 170 {
					r.Answered, r.Owner = time.Time{}, ""
				}
			},
			want: []string{"1 requests have no outcome"},
		},
		"the machine stands still, and the load with it": {
			change: func(r *Request, _ int) {
				if between(r.Published, 15, 15.3) {
					r.Published = at(15.3)
				}
				r.Answered = r.Published.Add(40 * time.Millisecond)
				if between(r.Answered, 15, 16.2) {
					r.Answered = r.Answered.Add(200 * time.Millisecond)
				}
			},
			want: []string{
				"p99 of what stays is 240 ms, more than 2 times the 40 ms of quiet times",
				"in second 5 only 80.0 % of what stays was answered, want 90 % (the load was late by 300 ms in it)",
			},
		},
		"two calls at a time": {
			scene: func(s *Scene) { s.SideBySide = 3 },
			want:  []string{"3 orders had two calls at a time"},
		},
		"nothing stays": {
			change: func(r *Request, n int) { r.Owner = fmt.Sprint(r.Owner, n/2) },
			scene:  func(s *Scene) { s.MayMove = 10_000 },
			want:   []string{"no partition stays where it is: nothing can be said of those that should"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			run := planted(test.change)
			if test.scene != nil {
				test.scene(&run.Scenes[1])
			}
			if got := Measure(run).Scenes[1].Complaints; !slices.Equal(got, test.want) {
				t.Errorf("complaints are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// stalls has nothing answered in a part of a second: the last one is left to the next.
func stalls(r *Request, from, to float64) {
	if between(r.Answered, from, to) {
		r.Answered = at(to)
	}
}

// A worker beside that nobody disturbed says what the machine did.
func TestComplaintsAboutWhatAWorkerBesideDid(t *testing.T) {
	for sentence, c := range map[string]struct {
		disturbed, beside func(*Request)
		want              []string
	}{
		"both stand still": {
			disturbed: func(r *Request) { stalls(r, 15.7, 16.1) }, beside: func(r *Request) { stalls(r, 15.7, 16.1) },
		},
		"only the other one stands still": {beside: func(r *Request) { stalls(r, 15.7, 16.1) }}, // and makes up for it in the next second
		"the other one does not": {
			disturbed: func(r *Request) { stalls(r, 15.7, 16.1) },
			want: []string{
				"p99 of what stays is 275 ms, more than 2 times the 40 ms of quiet times",
				"in second 5 only 70.0 % of the 100.0 % beside it of what stays was answered, want 90 % (the load was late by 0 ms in it)",
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			run := planted(func(r *Request, n int) {
				if kill(r, n); c.disturbed != nil && r.Owner != "e" {
					c.disturbed(r)
				}
			})
			for _, r := range planted(nil).Requests {
				if c.beside != nil {
					c.beside(&r)
				}
				run.Beside = append(run.Beside, r)
			}
			if got := Measure(run).Scenes[1].Complaints; !slices.Equal(got, c.want) {
				t.Errorf("complaints are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestHandoversAreFoundByWhoAnswers has d's partitions go to e, and one of a's
// to b.
func TestHandoversAreFoundByWhoAnswers(t *testing.T) {
	f := Measure(planted(func(r *Request, n int) {
		kill(r, n)
		if r.Partition == 4 && !r.Published.Before(at(17)) {
			r.Owner = "b"
		}
	})).Scenes[1]
	want := []Handover{
		{Partition: 7, Class: Orphaned, From: "d", To: "e", Begin: 4.928, First: 9.999, End: 10.463},
		{Partition: 3, Class: Orphaned, From: "d", To: "e", Begin: 4.978, First: 10.003, End: 10.458},
		{Partition: 4, Class: Moves, From: "a", To: "b", Begin: 6.990, First: 7.090, End: 7.190},
	}
	if !slices.Equal(f.Handovers, want) {
		t.Errorf("handovers are\n%+v\nwant\n%+v", f.Handovers, want)
	}
	if s := f.Summary; s.Moved != 1 || s.Left != 2 || s.Orphaned.Max < 4900 || s.Stays.Max > 40 {
		t.Errorf("summary is %+v", s)
	}
}

func TestSeconds(t *testing.T) {
	f := Measure(planted(kill)).Scenes[1]
	if len(f.Seconds) != 20 {
		t.Fatalf("%d seconds", len(f.Seconds))
	}
	before, during := f.Seconds[2], f.Seconds[7]
	if before.Published != 80 || before.Answered != 80 || before.ByOwner["d"] != 20 || before.ByClass[Stays].Partitions != 8 {
		t.Errorf("second 2 is %+v", before)
	}
	if during.Published != 80 || during.Answered != 60 || during.ByOwner["d"]+during.ByOwner["e"] != 0 {
		t.Errorf("second 7 is %+v", during)
	}
	if s := during.ByClass[Orphaned]; s.Partitions != 2 || s.Published != 20 || s.Answered != 0 || s.Requests != 20 || s.P50 < 2000 {
		t.Errorf("what d has left in second 7 is %+v", s)
	}
}

func TestTableAndPlot(t *testing.T) {
	results := []Result{Measure(planted(kill)), Measure(planted(nil))}
	results[1].Program, results[1].Scenes[1].Name = "that", "a < b & c"
	run := planted(kill)
	run.Program, run.Beside = "beside another", planted(nil).Requests
	results = append(results, Measure(run))
	golden.Check(t, "testdata/table.md", Table(results))
	var svg strings.Builder
	if err := WritePlot(&svg, results); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/plot.svg", svg.String())
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	if err := WritePlot(io.Discard, nil); err == nil {
		t.Error("nothing was plotted without an error")
	}
}
