package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/internal/bench/peers"
)

// program is a worker that is measured.
type program struct {
	name string
	// binary is that of closeorder, empty for a peer.
	binary string
	// oneByOne: it serves one request at a time, and is in few scenarios.
	oneByOne bool
	// exactlyOnce: closeorder with processing_guarantee exactly_once.
	exactlyOnce bool
	// admin is what becomes of closeorder's admin address: nothing, adminOff, or
	// adminScraped.
	admin string
}

// What a path of -binary may end with.
const (
	adminOff     = "+off"     // admin_addr is off: nothing is served there
	adminScraped = "+scraped" // /metrics is asked for each second, as a Prometheus does
)

// exactly is the name of a closeorder with processing_guarantee exactly_once.
func exactly(name string) string { return name + ", exactly once" }

// twin is the same binary with the other guarantee.
func (p program) twin() program {
	p.name, p.exactlyOnce = exactly(p.name), true
	return p
}

// reference is the peer that closeorder is held to.
const reference = "franz-go"

// closeorders reads "before=PATH,off=PATH+off,on=PATH+scraped" or a single path.
func closeorders(text string) ([]program, error) {
	var programs []program
	for entry := range strings.SplitSeq(text, ",") {
		name, path, named := strings.Cut(entry, "=")
		if !named {
			name, path = "closeorder", entry
		}
		admin := ""
		for _, word := range []string{adminOff, adminScraped} {
			if bare, is := strings.CutSuffix(path, word); is {
				path, admin = bare, word
			}
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, usageError{fmt.Sprintf("-binary %s: %v; make build makes bin/closeorder", text, err)}
		}
		programs = append(programs, program{name: name, binary: path, admin: admin})
	}
	return programs, nil
}

// peersNamed reads a list of peers, which may be empty.
func peersNamed(text string) ([]program, error) {
	var programs []program
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		if peers.Peers[name] == nil {
			return nil, usageError{fmt.Sprintf("-peers: there is no %q, only franz-go and kafka-go", name)}
		}
		programs = append(programs, program{name: name, oneByOne: name == "kafka-go"})
	}
	return programs, nil
}

// prepare does what has to be done once before a worker starts: closeorder's
// topics of retries.
func (p program) prepare(ctx context.Context, s *stage, sc scenario) error {
	if p.binary == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, p.binary, "topics", "create")
	env, err := p.env(s, sc)
	if err != nil {
		return err
	}
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s.log, s.log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s topics create: %w", p.name, err)
	}
	return nil
}

// start starts the worker.
func (p program) start(s *stage, sc scenario) (*process, error) {
	if p.binary == "" {
		worker, _, err := startSelf(s.log, "peer", peerSettings{Peer: p.name, Config: peers.Config{
			Brokers: []string{s.address}, Requests: requestsTopic, Outcomes: outcomesTopic, Group: group,
			Gateway: s.url, Roots: s.roots, Key: apiKey, MaxInFlight: sc.limit(),
		}})
		return worker, err
	}
	env, err := p.env(s, sc)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.binary, "run") //nolint:noctx // it is ended by stop
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s.log, s.log
	address := ""
	switch p.admin {
	case adminOff:
		cmd.Env = append(cmd.Env, "CLOSEORDER_ADMIN_ADDR=off")
	case adminScraped:
		if address, err = freeAddress(); err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "CLOSEORDER_ADMIN_ADDR="+address)
	}
	worker, err := startProcess(cmd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if address != "" {
		worker.scrapes = scrape("http://"+address+"/metrics", worker.ended)
	}
	return worker, nil
}

// env are the settings of closeorder: its defaults, but for terms that the peers
// have too. They know no rate for each merchant and no youngest order, their
// session is 10 s, and a limit of calls is one for the process.
func (p program) env(s *stage, sc scenario) ([]string, error) {
	file, err := s.write("merchants.yaml", merchantsFile())
	if err != nil {
		return nil, err
	}
	env := environ(
		"BENCH_KEY="+string(apiKey),
		"CLOSEORDER_MERCHANTS_FILE="+file,
		"CLOSEORDER_KAFKA_BROKERS="+s.address,
		"CLOSEORDER_KAFKA_GROUP="+group,
		"CLOSEORDER_KAFKA_SESSION_TIMEOUT=10s",
		"CLOSEORDER_TOPICS_REQUESTS="+requestsTopic,
		"CLOSEORDER_TOPICS_OUTCOMES="+outcomesTopic,
		"CLOSEORDER_TOPICS_DEAD_LETTERS="+deadTopic,
		"CLOSEORDER_GATEWAY_URLS="+s.url,
		"CLOSEORDER_GATEWAY_RATE=100000",
		"CLOSEORDER_GATEWAY_MAX_CONCURRENCY="+strconv.Itoa(max(512, sc.limit())),
		"CLOSEORDER_MAX_IN_FLIGHT="+strconv.Itoa(sc.limit()),
		"CLOSEORDER_MIN_ORDER_AGE=0",
		"CLOSEORDER_LOG_LEVEL=warn",
	)
	if p.exactlyOnce {
		env = append(env, "CLOSEORDER_PROCESSING_GUARANTEE=exactly_once")
		if sc.interval > 0 {
			env = append(env, "CLOSEORDER_TRANSACTION_INTERVAL="+sc.interval.String())
		}
	}
	if len(s.roots) > 0 {
		file, err := s.write("roots.pem", string(s.roots))
		if err != nil {
			return nil, err
		}
		env = append(env, "CLOSEORDER_GATEWAY_CA_FILE="+file)
	}
	return env, nil
}
