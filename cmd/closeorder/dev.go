package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/closeorder/closeorder/signing"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

type devOptions struct {
	kafkaPort, gatewayPort int
	anyGatewayPort         bool // when gatewayPort is taken
	consolePort            int
	anyConsolePort         bool // when consolePort is taken
	listen, advertise      string
	noWorker               bool
	dataDir                string
	requests               int // -1 for ever
	rate                   float64
	exit                   bool
	timeout                time.Duration
	exactlyOnce            bool
	minOrderAge            time.Duration
	json                   bool
	odds                   gatewayOdds
	log                    config.Log
}

func (a *app) devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dev", Short: "Everything in one process, nothing to install: try it with this", GroupID: "work", Args: noArgs,
		Long: `Runs an embedded Kafka broker, the gateway simulator, the worker, sample traffic,
a view of the outcomes and, without --exit, the console (see closeorder console) in
one process. Any Kafka client can use the broker while it runs. What an order does
follows from the beginning of its number: see closeorder simulate --help.

With --no-worker the worker is yours: one that is run beside it (closeorder run,
in the group closeorder), or one that you are writing. In a container, for compose
or Testcontainers, --listen 0.0.0.0 lets others in, and --advertise says under
which name: there is no login, so let in nobody else.

An order service can create orders at the gateway (unifiedorder): buyers pay them,
and signed notices tell so to their notify_url. Buyers leave sample orders alone.

At the end it reads the topics back and prints the balance: every request with
its one outcome. Exit code 1: it does not add up. With --exactly-once an outcome
that came again does not add up either.`,
		Example: `closeorder dev
closeorder dev --requests 300 --exit
closeorder dev --requests 300 --exit --exactly-once
closeorder dev --requests 0 --data-dir /tmp/closeorder
closeorder dev --requests 0 --buyers 0.8 --lost-replies 0.1 --late-creates 0.1
closeorder dev --requests 0 --no-worker --listen 0.0.0.0 --advertise kafka`,
	}
	var o devOptions
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&o.requests, "requests", -1, "how many sample requests to send; 0: none, -1: without end")
	flags.Float64Var(&o.rate, "rate", 0, "sample requests per second (default: 5 without end, else 100)")
	flags.BoolVar(&o.exit, "exit", false, "stop when all sample requests are answered")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "with --exit: give up after so long without an outcome")
	flags.BoolVar(&o.noWorker, "no-worker", false, "run no worker: the requests wait for yours")
	flags.IntVar(&o.kafkaPort, "kafka-port", 9092, "port of the broker; 0 is any free one")
	flags.IntVar(&o.gatewayPort, "gateway-port", 8080, "port of the gateway simulator; 0 is any free one, and so is a default that is taken")
	flags.IntVar(&o.consolePort, "console-port", 8090, "port of the console, on 127.0.0.1 alone, not with --exit; 0 is any free one, and so is a default that is taken")
	flags.StringVar(&o.listen, "listen", "127.0.0.1", "`ADDRESS` to listen on; others than 127.0.0.1 let other machines in")
	flags.StringVar(&o.advertise, "advertise", "", "`HOST[:PORT]` that the broker tells its clients to connect to (default: the address of --listen)")
	flags.StringVar(&o.dataDir, "data-dir", "", "`FOLDER` that keeps the topics, not the gateway's orders, over restarts (default: memory)")
	flags.BoolVar(&o.exactlyOnce, "exactly-once", false, "the worker answers in transactions (processing_guarantee exactly_once)")
	flags.DurationVar(&o.minOrderAge, "min-order-age", 5*time.Second, "the worker closes no order that is younger by its order_created_at (min_order_age)")
	o.odds.flags(flags, .5, "created orders")
	flags.BoolVar(&o.json, "json", false, "print outcomes and balance as JSON lines")
	flags.StringVar(&o.log.Level, "log-level", "warn", "of the worker: debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.anyGatewayPort = !flags.Changed("gateway-port")
		o.anyConsolePort = !flags.Changed("console-port")
		if err := o.check(flags.Changed("min-order-age")); err != nil {
			return err
		}
		return a.dev(cmd.Context(), o)
	}
	return cmd
}

func (o *devOptions) check(minOrderAgeGiven bool) error {
	var wrong misuse
	wrong.must(!o.noWorker || !minOrderAgeGiven, "--min-order-age is of the worker, and --no-worker runs none: set min_order_age of yours")
	wrong.must(net.ParseIP(o.listen) != nil, "--listen must be an IP address to listen on, such as 127.0.0.1, or 0.0.0.0 for all")
	if ip := net.ParseIP(o.listen); ip != nil && ip.IsUnspecified() {
		wrong.must(o.advertise != "", "--listen %s needs --advertise with a host that clients can connect to", o.listen)
	}
	wrong.must(o.requests >= -1, "--requests must be -1, 0 or more")
	wrong.must(!o.exit || o.requests >= 1, "--exit needs --requests with a number of at least 1")
	wrong.must(isRate(o.rate), "--rate must be 0 or more")
	wrong.must(o.timeout > 0, "--timeout must be more than 0")
	wrong.must(isPort(o.kafkaPort), "--kafka-port must be 0 to 65535")
	wrong.must(isPort(o.consolePort), "--console-port must be 0 to 65535")
	wrong.must(isPort(o.gatewayPort), "--gateway-port must be 0 to 65535")
	wrong.must(o.minOrderAge >= 0 && o.minOrderAge <= 24*time.Hour, "--min-order-age must be 0 to 24h")
	o.odds.check(&wrong)
	_, err := logrus.ParseLevel(o.log.Level)
	wrong.must(err == nil, "--log-level must be debug, info, warn or error")
	if err := wrong.err(); err != nil {
		return err
	}
	if o.rate == 0 {
		o.rate = 100
		if o.requests < 0 {
			o.rate = 5
		}
	}
	return nil
}

// dev runs it all. What is started first is stopped last.
func (a *app) dev(ctx context.Context, o devOptions) (err error) {
	log := a.logger(o.log)
	b, err := broker.Start(broker.Config{Host: o.listen, Port: o.kafkaPort, Advertise: o.advertise, DataDir: o.dataDir, Errorf: log.Errorf})
	if err != nil {
		return usagef("%v", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	gateway := gatewaysim.Config{
		Seed:    uint64(time.Now().UnixNano()),
		Latency: gatewaysim.Latency{Min: 10 * time.Millisecond, Jitter: 20 * time.Millisecond},
		Slow:    2 * time.Second,
	}
	o.odds.set(&gateway)
	gateway.Buyers.CreatedOnly = true
	sim, err := gatewaysim.New(gateway)
	if err != nil {
		return err
	}
	ln, err := listenGateway(o)
	if err != nil {
		return err
	}
	gatewayCtx, stopGateway := context.WithCancel(context.WithoutCancel(ctx))
	gatewayDone := make(chan error, 1)
	go func() { gatewayDone <- sim.Serve(gatewayCtx, ln) }()
	defer func() {
		stopGateway()
		err = errors.Join(err, <-gatewayDone)
	}()

	cfg := devConfig(b.Addr(), "http://"+nearby(ln.Addr()))
	cfg.MinOrderAge = o.minOrderAge
	if o.exactlyOnce {
		cfg.ProcessingGuarantee = config.ExactlyOnce
	}
	c, err := a.clusterBy(cfg, b.Dial)
	if err != nil {
		return err
	}
	defer c.close()
	show := &show{app: a, options: o, cluster: c}
	if err := show.begin(ctx); err != nil {
		return err
	}
	pages := ""
	if !o.exit { // or nobody would look
		url, stop, err := a.devConsole(ctx, c, o, log)
		if err != nil {
			return err
		}
		defer stop()
		pages = url
	}
	if o.noWorker {
		a.welcome(o, cfg, ln.Addr(), "", pages)
		return show.run(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	}
	_, port, err := net.SplitHostPort(cfg.AdminAddr)
	if err != nil {
		return err
	}
	cfg.AdminAddr = net.JoinHostPort(o.listen, port)
	look, err := listenAdmin(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer look.close()
	deps := worker.Deps{Log: log, Admin: look.reachable(ctx, cfg.Kafka.Brokers)}
	if o.advertise != "" { // an address that may lead nowhere from here
		deps.DialKafka = b.Dial
	}
	seen := measure(cfg, &deps)
	w, err := worker.New(cfg, deps)
	if err != nil {
		return err
	}
	a.welcome(o, cfg, ln.Addr(), look.url(), pages)
	defer look.serve(ctx, w, seen.watch(w))()
	return show.run(ctx, w.Run)
}

func listenGateway(o devOptions) (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(o.listen, strconv.Itoa(o.gatewayPort)))
	if err != nil && o.anyGatewayPort {
		ln, err = net.Listen("tcp", net.JoinHostPort(o.listen, "0"))
	}
	if err != nil {
		return nil, usagef("gateway simulator: %v; choose another port with --gateway-port (0 for any free one)", err)
	}
	return ln, nil
}

// nearby is a listener's address as this process can connect to it.
func nearby(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// devConfig is the configuration of a worker that is tried out: time-outs
// that a person can wait for, and a budget so short that some requests are
// put off, which is worth seeing.
func devConfig(brokers, gateway string) config.Config {
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{brokers}
	cfg.Kafka.SessionTimeout = 6 * time.Second
	cfg.Kafka.RebalanceTimeout = 10 * time.Second
	cfg.ShutdownGrace = 5 * time.Second
	cfg.Gateway.URLs = []string{gateway}
	cfg.Gateway.AttemptTimeout = 4 * time.Second
	cfg.Gateway.Budget = 5 * time.Second
	for _, m := range gatewaysim.DefaultMerchants() {
		cfg.Merchants = append(cfg.Merchants, closer.Merchant{
			MchID: m.MchID, AppID: m.AppID, Keys: []signing.Key{m.Key}, SignType: m.SignType, Institution: m.Institution,
		})
	}
	return cfg
}

// welcome says what runs where, and what to try: where clients reach it, which
// need not be where it listens. look is empty where no worker runs, pages where there is
// no console.
func (a *app) welcome(o devOptions, cfg config.Config, gateway net.Addr, look, pages string) {
	out := a.stdout
	if o.json {
		out = a.stderr
	}
	self, brokers := "closeorder", ""
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		self = "go run ./cmd/closeorder"
	}
	if cfg.Kafka.Brokers[0] != "127.0.0.1:9092" {
		brokers = " --kafka-brokers " + cfg.Kafka.Brokers[0]
	}
	what := "a Kafka broker, a payment gateway and a worker in this process"
	if o.noWorker {
		what = "a Kafka broker and a payment gateway in this process, and no worker"
	}
	// A name that a container has for others is the gateway's, too.
	gatewayURL := cfg.Gateway.URLs[0]
	if host, _, err := net.SplitHostPort(cfg.Kafka.Brokers[0]); err == nil && o.advertise != "" {
		if _, port, err := net.SplitHostPort(gateway.String()); err == nil {
			gatewayURL = "http://" + net.JoinHostPort(host, port)
		}
	}
	p := a.paint(out)
	fmt.Fprintf(out, "%s\n", p.in(bold, "closeorder dev: "+what))
	if pages != "" {
		fmt.Fprintf(out, "  Console  %s   %s\n", p.in(bold, pages), "watch orders being closed, paid and failed; find one; replay what failed")
	}
	fmt.Fprintf(out, "  Kafka    %s   topics %s, %s, %s\n", cfg.Kafka.Brokers[0], cfg.Topics.Requests, cfg.Topics.Outcomes, cfg.Topics.DeadLetters)
	if o.exactlyOnce {
		fmt.Fprintf(out, "           outcomes are written in transactions: read them with isolation.level=read_committed, as kcat does\n")
	}
	fmt.Fprintf(out, "  Gateway  %s   merchants 1900000109, 1900000110, 1900000111\n", gatewayURL)
	if look != "" {
		fmt.Fprintf(out, "  Worker   %s/statusz   what it does now\n", look)
	} else {
		fmt.Fprintf(out, "  Worker   yours: kafka.brokers %s, kafka.group %s, gateway.urls %s\n", cfg.Kafka.Brokers[0], cfg.Kafka.Group, gatewayURL)
	}
	fmt.Fprintf(out, "Try in another terminal:\n")
	fmt.Fprintf(out, "  %s request%s --mch-id 1900000109 --out-trade-no T1 --wait\n", self, brokers)
	fmt.Fprintf(out, "  %s request%s --mch-id 1900000109 --out-trade-no PAID1 --wait\n", self, brokers)
	fmt.Fprintf(out, "  echo '{\"mch_id\":\"1900000109\",\"out_trade_no\":\"T2\"}' | kcat -P -b %s -t %s\n", cfg.Kafka.Brokers[0], cfg.Topics.Requests)
	fmt.Fprintf(out, "  kcat -C -b %s -t %s -o beginning\n", cfg.Kafka.Brokers[0], cfg.Topics.Outcomes)
	fmt.Fprintf(out, "Stop with Ctrl-C.\n\n")
}
