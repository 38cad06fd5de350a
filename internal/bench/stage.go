package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/internal/bench/gateway"
	"github.com/closeorder/closeorder/internal/bench/v2"
)

// What every stage has.
const (
	requestsTopic = "requests"
	outcomesTopic = "outcomes"
	deadTopic     = "dead-letters"
	group         = "bench"
	partitions    = 8
	appID         = "wx8888888888888888"
)

// apiKey is that of all merchants.
const apiKey v2.Key = "0123456789abcdef0123456789abcdef"

// merchants are those that may call: what a flow is of.
var merchants = [3]string{"1900000109", "1900000110", "1900000111"}

// stage is a broker and a gateway that one run has for itself: nothing of the run
// before is left in a topic, a group or a cache.
type stage struct {
	dir             string // for the files of this run
	log             io.Writer
	broker, gateway *process

	address string // of the broker
	url     string // of the gateway
	roots   []byte // what to trust there, for https

	client *kgo.Client
	admin  *kadm.Client
}

// stage starts them. The caller closes it.
func (l *lab) stage(ctx context.Context, over string, topicPartitions int32, cfg gateway.Config) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "closeorder-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, log: l.log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	broker, out, err := startSelf(l.log, "broker", brokerSettings{
		Kind: l.broker, Topics: map[string]int32{requestsTopic: topicPartitions, outcomesTopic: topicPartitions, deadTopic: 1}, Dir: dir,
	})
	if err != nil {
		return nil, err
	}
	s.broker = broker
	b, err := hear[ready]("broker", out)
	if err != nil {
		return nil, err
	}
	cfg.Key = apiKey
	s.gateway, out, err = startSelf(l.log, "gateway", gatewaySettings{Config: cfg, TLS: over == tlsOver})
	if err != nil {
		return nil, err
	}
	g, err := hear[ready]("gateway", out)
	if err != nil {
		return nil, err
	}
	s.address, s.url, s.roots = b.Address, "http://"+g.Address, g.Roots
	if over == tlsOver {
		s.url = "https://" + g.Address
	}
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<20), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	s.admin = kadm.NewClient(s.client)
	return s, s.client.Ping(ctx)
}

func (s *stage) close() {
	if s.client != nil {
		s.client.Close()
	}
	s.gateway.stop()
	s.broker.stop()
	_ = os.RemoveAll(s.dir) // a folder that stays behind is no result
}

// write puts a file beside those of the run.
func (s *stage) write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// answered is the number of outcomes in the topic, repeats too.
func (s *stage) answered(ctx context.Context) int {
	offsets, err := s.admin.ListEndOffsets(ctx, outcomesTopic)
	if err != nil {
		return 0
	}
	n := 0
	offsets.Each(func(o kadm.ListedOffset) { n += int(max(o.Offset, 0)) })
	return n
}

func (s *stage) usage(worker *process) usage {
	return usage{
		at: time.Now(), worker: worker.cpu(), gateway: s.gateway.cpu(), broker: s.broker.cpu(), lab: ownCPU(), machine: machineCPU(),
	}
}

// merchantsFile is closeorder's.
func merchantsFile() string {
	var b strings.Builder
	b.WriteString("merchants:\n")
	for _, m := range merchants {
		fmt.Fprintf(&b, "  - {mch_id: %q, appid: %s, key_env: BENCH_KEY}\n", m, appID)
	}
	return b.String()
}
