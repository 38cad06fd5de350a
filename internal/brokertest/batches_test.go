//go:build apachekafka

package brokertest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// TestLargeBatchesOfEveryCodec: a hundred records in one batch, from the Java
// client and from franz-go, idempotent and in transactions, of which some are
// aborted: those are served to a worker that reads uncommitted alone.
func TestLargeBatchesOfEveryCodec(t *testing.T) {
	for isolation, served := range map[string]int{config.ReadCommitted: 2, config.ReadUncommitted: 3} {
		t.Run(isolation, func(t *testing.T) { largeBatches(t, isolation, served) })
	}
}

// largeBatches has that many of the Java client's batches of a codec served.
func largeBatches(t *testing.T, isolation string, served int) {
	s := newStand(t, 1, nil)
	s.cfg.Kafka.Isolation = isolation
	const each = 100
	ctx, cancel := s.context()
	defer cancel()
	_, err := cluster.Tool(ctx, "testdata/Producer.java", append([]string{cluster.Bootstrap(), s.cfg.Topics.Requests, strconv.Itoa(each)}, codecs...)...)
	s.must(err)
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.DefaultProduceTopic(s.cfg.Topics.Requests),
			kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(time.Second))
		s.must(err)
		s.must(client.ProduceSync(ctx, requests(fmt.Sprint("F", codecs[i]), each)...).FirstErr())
		client.Close()
	}
	ends, err := s.admin.ListEndOffsets(ctx, s.cfg.Topics.Requests)
	s.must(err)
	markers := -int64((3 + 1) * each * len(codecs))
	ends.Each(func(o kadm.ListedOffset) { markers += o.Offset })
	if markers <= 0 {
		t.Errorf("%d markers of transactions among the records", markers)
	}
	s.worker(nil)
	for _, o := range s.awaitAnswers((served + 1) * each * len(codecs)) {
		if o.Result != events.Closed {
			t.Errorf("%s is %s: %s", o.OutTradeNo, o.Result, o.Message)
		}
		if isolation == config.ReadCommitted && strings.Contains(o.OutTradeNo, "-aborted-") {
			t.Errorf("%s was aborted, and is served", o.OutTradeNo)
		}
	}
	s.awaitCommitted() // markers at the end, too
	s.balanced()
}

// TestACompactedTopicWithTombstones: a requests topic of cleanup.policy=compact
// loses requests; what is left of it is served, and a tombstone is refused.
func TestACompactedTopicWithTombstones(t *testing.T) {
	s := newStand(t, 1, map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": "1000", "max.compaction.lag.ms": "1000", "delete.retention.ms": "600000",
	})
	const n = 200
	for i := range n {
		key := fmt.Sprint("C", i)
		s.send(request(key, ""), request(key, `,"reason":"again"`))
		if i%10 == 0 {
			s.send(&kgo.Record{Key: []byte(key)})
		}
	}
	time.Sleep(1100 * time.Millisecond) // the broker rolls a segment when a record comes later than this
	s.send(request("LAST", ""))
	left := 0
	s.eventually("compaction", func(ctx context.Context) (bool, error) {
		all, err := s.read(ctx, s.cfg.Topics.Requests)
		left = len(all)
		return left <= n+1, err
	})
	s.worker(nil)
	refused := 0
	for _, o := range s.awaitAnswers(left) {
		switch {
		case o.Code == events.CodeInvalidRequest:
			refused++
		case o.Result != events.Closed:
			t.Errorf("%s is %s %s: %s", o.OutTradeNo, o.Result, o.Code, o.Message)
		}
	}
	if refused != n/10 {
		t.Errorf("%d were refused, want the %d tombstones", refused, n/10)
	}
	s.awaitCommitted()
	s.balanced()
}

// TestRequestsNearTheLimitOfTheTopic: a request just below max.message.bytes is
// read and answered, also where its retry record and its dead letter are more
// than their topics take, compressed or not.
func TestRequestsNearTheLimitOfTheTopic(t *testing.T) {
	const limit = 20_000
	s := newStand(t, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
	ctx, cancel := s.context()
	defer cancel()
	value := strconv.Itoa(limit / 2)
	altered, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}},
		append(s.cfg.Topics.Retries(), s.cfg.Topics.Outcomes, s.cfg.Topics.DeadLetters)...)
	s.must(err)
	for _, a := range altered {
		s.must(a.Err)
	}
	plain, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.DefaultProduceTopic(s.cfg.Topics.Requests), kgo.ProducerBatchCompression(kgo.NoCompression()))
	s.must(err)
	defer plain.Close()
	noise := make([]byte, limit)
	rand.NewChaCha8([32]byte{}).Read(noise)
	padding := base64.StdEncoding.EncodeToString(noise) // compression takes a quarter of it
	// As large as the broker takes.
	largest := func(outTradeNo string) {
		t.Helper()
		for size := limit - 100; ; size-- {
			err := plain.ProduceSync(ctx, request(outTradeNo, `,"padding":"`+padding[:size]+`"`)).FirstErr()
			switch {
			case err == nil && size == limit-100:
				t.Fatal("the first try was to be too large")
			case err == nil:
				return
			case !errors.Is(err, kerr.MessageTooLarge):
				t.Fatal(err)
			}
		}
	}
	s.worker(nil)
	largest("T-large")
	largest("PAID-large")
	largest("SYSERR-large")
	largest("DEAD-large")
	s.send(request("T-small", ""))
	want := map[string]string{"T-large": "closed SUCCESS", "PAID-large": "paid ORDERPAID", "SYSERR-large": "failed RECORD_TOO_LARGE", "DEAD-large": "failed PARAM_ERROR", "T-small": "closed SUCCESS"}
	for _, o := range s.awaitAnswers(len(want)) {
		if got := fmt.Sprint(o.Result, " ", o.Code); got != want[o.OutTradeNo] {
			t.Errorf("%s: %s (%s), want %s", o.OutTradeNo, got, o.Message, want[o.OutTradeNo])
		}
	}
	dead, err := s.read(ctx, s.cfg.Topics.DeadLetters)
	s.must(err)
	if len(dead) != 2 {
		t.Errorf("%d dead letters, want 2", len(dead))
	}
	for _, r := range dead {
		if d, err := records.DecodeDeadLetter(message(r)); err != nil || d.ValueOmitted == "" {
			t.Errorf("dead letter %s: %+v, %v: its value fits into no record", r.Key, d, err)
		}
	}
	s.awaitCommitted()
	s.balanced()
}

// TestARequestLargerThanAFetch: a record of 3 MiB, where fetches bring 1 MiB, is
// read, and refused for its size with the name of its order; those before and
// behind it are served.
func TestARequestLargerThanAFetch(t *testing.T) {
	const limit = 4 << 20
	s := newStand(t, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.DefaultProduceTopic(s.cfg.Topics.Requests),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(limit))
	s.must(err)
	defer client.Close()
	ctx, cancel := s.context()
	defer cancel()
	padding := `,"padding":"` + strings.Repeat("x", 3<<20) + `"`
	s.must(client.ProduceSync(ctx, request("A", ""), request("B", padding), request("C", padding), request("D", "")).FirstErr())
	s.worker(nil)
	want := map[string]string{"A": "closed SUCCESS", "B": "failed INVALID_REQUEST", "C": "failed INVALID_REQUEST", "D": "closed SUCCESS"}
	for _, o := range s.awaitAnswers(len(want)) {
		if got := fmt.Sprint(o.Result, " ", o.Code); got != want[o.OutTradeNo] {
			t.Errorf("%s: %s (%s), want %s", o.OutTradeNo, got, o.Message, want[o.OutTradeNo])
		}
	}
	s.awaitCommitted()
	s.balanced()
}
