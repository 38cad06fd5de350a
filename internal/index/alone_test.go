package index_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/database"
	"github.com/closeorder/closeorder/internal/index"
	"github.com/closeorder/closeorder/internal/kafka"
)

// What makes the test binary a process that indexes, so that it can be measured and
// killed: the brokers, the folder, and what to do.
const (
	brokersEnv = "CLOSEORDER_INDEX_BROKERS"
	folderEnv  = "CLOSEORDER_INDEX_FOLDER"
	doEnv      = "CLOSEORDER_INDEX_DO"
)

func TestMain(m *testing.M) {
	brokers := os.Getenv(brokersEnv)
	if brokers == "" {
		os.Exit(m.Run())
	}
	if err := alone(context.Background(), brokers, os.Getenv(folderEnv), os.Getenv(doEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func alone(ctx context.Context, brokers, folder, do string) error {
	client := kafka.Open(kafka.Config{Brokers: strings.Split(brokers, ",")}, topics.All()...)
	defer client.Close()
	db, err := database.Open(ctx, folder)
	if err != nil {
		return err
	}
	defer db.Close()
	began := time.Now()
	x, err := index.Open(ctx, index.Config{Reader: &kafka.Reader{Client: client}, Topics: topics, DB: db, Log: quiet()})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- x.Run(running) }()
	if do == "follow" { // until it is killed
		for version := uint64(0); ; {
			if version, err = x.Changed(ctx, version); err != nil {
				return err
			}
			fmt.Println(version)
		}
	}
	version := uint64(0)
	for {
		if p, err := x.Progress(ctx); err != nil || p.CaughtUp {
			if err != nil {
				return err
			}
			break
		}
		select {
		case err := <-ended:
			return errors.Join(err, errors.New("it ended before it had caught up"))
		default:
		}
		if version, err = x.Changed(ctx, version); err != nil {
			return err
		}
	}
	got := measured{Took: time.Since(began)}
	if err := got.search(ctx, x); err != nil {
		return err
	}
	if got.Progress, err = x.Progress(ctx); err != nil {
		return err
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err == nil { // on Linux
		if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
			fmt.Sscan(rest, &got.Memory)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// measured is what a process says that has caught up.
type measured struct {
	Progress                                                         index.Progress
	Took, Half, Worst, Places, WorstPlaces, Groups, Letters, Minutes time.Duration
	Memory                                                           int64 // the most that it had, in KiB
}

func (m *measured) search(ctx context.Context, x *index.Index) error {
	r := rand.New(rand.NewPCG(7, 8))
	var took, places []time.Duration
	for range 1000 {
		number := numberOf(r.IntN(int(m.requests(ctx, x))))
		began := time.Now()
		found, err := x.Search(ctx, number, 50)
		took = append(took, time.Since(began))
		if err != nil || len(found) == 0 || found[0].OutTradeNo != number {
			return fmt.Errorf("%s: %v, %w", number, found, err)
		}
		began = time.Now()
		if _, err := x.Places(ctx, events.Order{OutTradeNo: number}); err != nil {
			return err
		}
		places = append(places, time.Since(began))
	}
	slices.Sort(took)
	slices.Sort(places)
	m.Half, m.Worst, m.Places, m.WorstPlaces = took[500], took[999], places[500], places[999]
	for to, ask := range map[*time.Duration]func() error{
		&m.Groups:  func() error { _, err := x.Groups(ctx, index.LetterFilter{}, index.ByBoth, 100); return err },
		&m.Letters: func() error { _, err := x.Letters(ctx, index.LetterFilter{Open: true}, 50, 0); return err },
		&m.Minutes: func() error { _, err := x.Minutes(ctx, noon, noon.Add(3*time.Hour)); return err },
	} {
		began := time.Now()
		if err := ask(); err != nil {
			return err
		}
		*to = time.Since(began)
	}
	return nil
}

func (m *measured) requests(ctx context.Context, x *index.Index) int64 {
	if m.Progress.Requests == 0 {
		m.Progress, _ = x.Progress(ctx)
	}
	return m.Progress.Requests
}

// numberOf is the number of the i-th order that fill asks for.
func numberOf(i int) string { return fmt.Sprintf("T2026030112%09d", i*7919%1_000_003) }
