// Shop is an order service that closes its numbers with closeorder, on
// PostgreSQL or SQLite. It is an example to copy: each step says why it is there.
//
//	checkout -> outbox -> relay -> Kafka: requests
//	                               Kafka: outcomes -> inbox -> rules -> new number, delivered, asked again, a person's list
//	gateway  -> notices -----------------------------> rules
//
// Its command sells purchases to the buyers of "closeorder dev", lets payments
// fail and time out, and prints what became of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/closeorder/closeorder/signing"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	requestsTopic = "closeorder.requests"
	outcomesTopic = "closeorder.outcomes"

	// The merchant that "closeorder dev" knows. Its key is no secret: it is the
	// one of WeChat Pay's public documents. Yours comes from where you keep
	// secrets, here from SHOP_API_KEY.
	merchant = "1900000109"
	appID    = "wx8888888888888888"
	demoKey  = "192006250b4c09247ec02edce69f6a2d"
)

// shop is what the steps work with.
type shop struct {
	name    string
	db      *database
	kafka   *kgo.Client // writes requests
	gateway *gateway
	log     *log.Logger
}

// errStopped is a Ctrl-C or SIGTERM.
var errStopped = errors.New("stopped before all was settled")

// logLines writes each line with the time, in UTC, behind what clears the terminal.
type logLines struct {
	out   io.Writer
	clear string
}

func (l logLines) Write(line []byte) (int, error) {
	_, err := fmt.Fprintf(l.out, "%sshop: %s %s", l.clear, time.Now().UTC().Format("15:04:05Z"), line)
	return len(line), err
}

type options struct {
	db, brokers, gateway, listen string
	purchases                    int
	json                         bool
}

func main() {
	var o options
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.StringVar(&o.db, "db", "", "postgres://... or a `FILE` of SQLite, made where it is not there (default: a temporary one)")
	flags.StringVar(&o.brokers, "brokers", "127.0.0.1:9092", "the Kafka `BROKERS`, with commas between")
	flags.StringVar(&o.gateway, "gateway", "http://127.0.0.1:8080", "the `URL` of the payment gateway")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`ADDRESS` that takes the gateway's notices")
	flags.IntVar(&o.purchases, "purchases", 50, "how many purchases the database is to have in the end")
	flags.BoolVar(&o.json, "json", false, "print the balance as JSON")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		os.Exit(2)
	case flags.NArg() > 0 || o.purchases < 1:
		fmt.Fprintln(os.Stderr, "shop: -purchases must be at least 1, and nothing may stand behind the flags")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	right, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "shop: %v\n", err)
	}
	if err != nil || !right {
		os.Exit(1)
	}
}

// run sells until all is settled, and reports whether the balance is right.
func run(ctx context.Context, o options) (right bool, err error) {
	key, err := signing.NewKey(keyText())
	if err != nil {
		return false, fmt.Errorf("SHOP_API_KEY: %w", err)
	}
	goesOn := "the same -db goes on with it"
	if o.db == "" {
		goesOn = "with -db it could go on"
		folder, err := os.MkdirTemp("", "shop")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(folder) //nolint:errcheck // what stays is a temporary file
		o.db = filepath.Join(folder, "shop.db")
	}
	db, err := openDatabase(ctx, o.db)
	if err != nil {
		return false, err
	}
	defer db.Close()
	name, err := db.shopName(ctx)
	if err != nil {
		return false, err
	}
	brokers := strings.Split(o.brokers, ",")
	producer, err := requestWriter(brokers)
	if err != nil {
		return false, err
	}
	defer producer.Close()
	ping, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := producer.Ping(ping); err != nil {
		return false, fmt.Errorf("no Kafka at %s (-brokers): %w; closeorder dev --requests 0 starts one", o.brokers, err)
	}
	reader, err := outcomeReader(brokers, "shop-"+name)
	if err != nil {
		return false, err
	}
	defer reader.CloseAllowingRebalance()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return false, fmt.Errorf("-listen: %w", err)
	}
	s := &shop{
		name: name, db: db, kafka: producer, log: log.New(logLines{out: os.Stderr}, "", 0),
		gateway: &gateway{url: o.gateway, appID: appID, key: key, notifyURL: "http://" + listener.Addr().String() + "/paid", client: &http.Client{Timeout: createTimeout}},
	}
	if right, err = s.run(ctx, o, reader, listener); errors.Is(err, errStopped) {
		err = fmt.Errorf("%w; %s", err, goesOn)
	}
	return right, err
}

func keyText() string {
	if text, given := os.LookupEnv("SHOP_API_KEY"); given {
		return text
	}
	return demoKey
}

// run runs all parts until the demo is over. Each part can die at any moment and
// be started again: what it needs to know stands in the database.
func (s *shop) run(ctx context.Context, o options, reader *kgo.Client, listener net.Listener) (right bool, err error) {
	progress := progressOn(os.Stderr)
	if progress != io.Discard {
		s.log.SetOutput(logLines{os.Stderr, "\r\x1b[K"}) // not behind the line of progress
	}
	parts, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	server := &http.Server{Handler: http.MaxBytesHandler(s, 64<<10), ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, ErrorLog: s.log}
	running.Go(func() { _ = server.Serve(listener) }) // ends with Close
	running.Go(func() { s.inbox(parts, reader) })
	running.Go(func() { s.every(parts, "outbox", s.relay) })
	for range 4 { // a slow create call does not hold up the others
		running.Go(func() { s.every(parts, "create calls", s.create) })
	}
	running.Go(func() { s.sellAll(parts, o.purchases) })
	running.Go(func() { s.every(parts, "buyers", s.loseHeart) })
	defer func() {
		stop()
		_ = server.Close() // a notice that is cut off comes again
		running.Wait()
	}()

	for done := false; !done; {
		if !pause(ctx, 500*time.Millisecond) {
			_, _ = io.WriteString(progress, "\n")
			return false, errStopped
		}
		if done, err = s.finished(ctx, o.purchases, progress); err != nil && ctx.Err() == nil {
			s.log.Printf("progress: %v", err)
		}
	}
	_, _ = io.WriteString(progress, "\n")
	b, err := s.takeBalance(ctx)
	if err != nil {
		return false, fmt.Errorf("balance: %w", err)
	}
	return b.right(), b.print(os.Stdout, o.json)
}

// every does something again and again until ctx ends, and at once as long as
// there was something to do. An error is told and it is tried again: what could
// not be done stands in the database still.
func (s *shop) every(ctx context.Context, what string, do func(context.Context) (int, error)) {
	for {
		n, err := do(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Printf("%s: %v", what, err)
		}
		if err == nil && n > 0 {
			continue
		}
		if !pause(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
