//go:build apachekafka

package crashtest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/world"
)

// atLeastOnce and exactlyOnce are the guarantees as processing_guarantee has
// them.
const (
	atLeastOnce = "at_least_once"
	exactlyOnce = "exactly_once"
)

// TestExactlyOnceCrash kills workers at random and restarts the only broker
// twice, under more load than TestCrash has, with both guarantees and the same
// disturbances. A reader with isolation.level=read_committed gets each request
// answered: with exactly_once once, whatever died, with at_least_once some again.
func TestExactlyOnceCrash(t *testing.T) {
	const kills, perSecond = 20, 300
	_, seed := random(t)
	t.Logf("seed %d", seed)
	var table strings.Builder
	fmt.Fprintf(&table, "%-14s %9s %6s %9s %9s %8s %5s %10s", "guarantee", "requests", "kills", "outcomes", "repeats", "per kill", "lost", "held for")
	for _, guarantee := range []string{atLeastOnce, exactlyOnce} {
		t.Run(guarantee, func(t *testing.T) {
			began := time.Now()
			s := newStage(t, settings{
				kafka:   apachekafka.Config{Version: apachekafka.RestartVersion},
				gateway: realGateway(seed), partitions: 6,
				workers: []string{"worker-0", "worker-1", "worker-2"}, static: []string{"worker-0", "worker-1"},
				guarantee: guarantee, inFlight: 128,
			})
			s.startAll()
			stop, watched := make(chan struct{}), make(chan *holds, 1)
			go func() { watched <- s.watchHolds(stop) }()
			sent, done := s.crash(rand.New(rand.NewPCG(seed, 0x6372617368)), mixedTraffic(seed), kills, perSecond)
			report, e := s.conclude(sent, done, began)
			close(stop)
			held := <-watched
			if held.longest > 0 {
				t.Logf("readers were held for %s at most, until %s; around that:\n%s", seconds(held.longest), held.until.UTC().Format("15:04:05.000"),
					strings.Join(s.notesBetween(held.until.Add(-held.longest-2*time.Second), held.until), "\n"))
			}
			lost := sent - report.Requests + report.Waiting + report.Open + report.Count(world.Hole)
			if lost != 0 {
				t.Errorf("%d of %d requests are lost: %v", lost, sent, report)
			}
			repeats := report.Duplicates + report.Overtaken
			ids, err := s.javaReads(len(e.Outcomes))
			s.must(err)
			slices.Sort(ids)
			if n := len(slices.Compact(ids)); n != len(e.Outcomes)-repeats || n != sent {
				t.Errorf("Java reads %d ids among %d outcomes of %d requests, %d of them repeats", n, len(e.Outcomes), sent, repeats)
			}
			switch {
			case guarantee == exactlyOnce && repeats != 0:
				t.Errorf("%d outcomes are repeats", repeats)
			case guarantee == atLeastOnce && repeats == 0:
				t.Errorf("%d kills and no repeat: with such disturbances exactly_once shows nothing", done.kills)
			}
			fmt.Fprintf(&table, "\n%-14s %9d %6d %9d %9d %8.1f %5d %10s", guarantee, sent, done.kills, len(e.Outcomes), repeats,
				float64(repeats)/float64(done.kills), lost, seconds(held.longest))
		})
	}
	t.Logf("what a reader with isolation.level=read_committed sees:\n%s", table.String())
}

var eventID = regexp.MustCompile(`(?:^|,)ce_id:([^,\t]+)`)

// javaReads reads so many outcomes with the Java console consumer, read
// committed, and returns their ids. It waits until there are as many.
func (s *stage) javaReads(n int) (ids []string, err error) {
	ctx, cancel := s.context()
	defer cancel()
	out, err := s.kafka.Tool(ctx, apachekafka.ConsoleConsumer, "--bootstrap-server", s.kafka.Bootstrap(), "--topic", outcomes, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--command-property", "isolation.level=read_committed",
		"--formatter-property", "print.headers=true", "--formatter-property", "print.value=false")
	for line := range strings.Lines(out) {
		if id := eventID.FindStringSubmatch(line); id != nil {
			ids = append(ids, id[1])
		}
	}
	return ids, err
}
