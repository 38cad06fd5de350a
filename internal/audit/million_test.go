package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// auditorEnv makes the test binary an auditor of the brokers that it names,
// so that its memory can be told from the broker's.
const auditorEnv = "CLOSEORDER_AUDIT_BROKERS"

func TestMain(m *testing.M) {
	// For all tests, see TestAllTimesAreInUTC: once clients run it is too late.
	time.Local = time.FixedZone("", 8*3600)
	if addr := os.Getenv(auditorEnv); addr != "" {
		if err := auditAlone(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func auditAlone(addr string) error {
	client := kafka.Open(kafka.Config{Brokers: []string{addr}})
	defer client.Close()
	s, err := audit.Take(context.Background(), audit.Scope{Reader: &kafka.Reader{Client: client}, Group: group, Topics: topics})
	if err != nil {
		return err
	}
	r, err := s.Audit(context.Background(), audit.Options{Limit: 100})
	if err != nil {
		return err
	}
	// Not Maxrss of rusage: that of a new process begins with its parent's.
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("the benchmark needs Linux: %w", err)
	}
	var peak int64
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, err = fmt.Sscan(rest, &peak)
	}
	if peak == 0 {
		return fmt.Errorf("no VmHWM in /proc/self/status: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(alone{r, peak << 10})
}

// alone is what the auditor's process reports.
type alone struct {
	Report *audit.Report
	Bytes  int64 // the most memory that it had
}

// mostMemory is what an audit of a million requests may take.
const mostMemory = 512 << 20

// BenchmarkAMillionRequests audits a million requests with ten holes in a
// process of its own, and fails where that takes more memory than is
// promised. Run it with -benchtime=1x.
func BenchmarkAMillionRequests(b *testing.B) {
	const requests = 1_000_000
	addr := fill(b, requests)
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), auditorEnv+"="+addr)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		var got alone
		if err := json.Unmarshal(out, &got); err != nil {
			b.Fatal(err)
		}
		r := got.Report
		if r.Requests != requests || r.Holes != 10 || r.Closed != requests-10 {
			b.Fatalf("%+v", *r)
		}
		if got.Bytes > mostMemory {
			b.Errorf("%d MiB of memory, at most %d are promised", got.Bytes>>20, mostMemory>>20)
		}
		b.ReportMetric(float64(got.Bytes>>20), "MiB")
		b.ReportMetric(requests/(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds(), "requests/cpu-s")
	}
}

// fill starts a broker with n requests, answered but for ten, and committed.
func fill(b *testing.B, n int) string {
	const partitions = 12
	broker, err := broker.Start(broker.Config{Topics: []broker.Topic{
		{Name: "requests", Partitions: partitions}, {Name: "outcomes", Partitions: partitions},
		{Name: "dead", Partitions: 3}, {Name: "retries.10s", Partitions: 3}, {Name: "retries.1m", Partitions: 3},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { broker.Close() })
	c, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	send := func(topic string, partition int, m events.Message) {
		r := &kgo.Record{Topic: topic, Partition: int32(partition), Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		c.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				panic(err)
			}
		})
	}
	var commits kadm.Offsets
	next := make([]int64, partitions)
	for i := range n {
		req := events.Request{MchID: "1900000109", OutTradeNo: fmt.Sprintf("T2026030100%09d", i), Reason: "payment_timeout", RequestID: fmt.Sprintf("request-%026d", i)}
		m, err := events.EncodeRequest(req, "/shops/1", noon)
		if err != nil {
			b.Fatal(err)
		}
		p := i % partitions
		send("requests", p, m)
		at := events.Source{Topic: "requests", Partition: p, Offset: next[p]}
		next[p]++
		if i%(n/10) == 5 {
			continue
		}
		o := outcomeOf(m, at, events.Closed, noon)
		o.Gateway = &events.Gateway{Host: "api.mch.weixin.qq.com", ReturnCode: "SUCCESS", ReturnMsg: "OK", ResultCode: "SUCCESS"}
		out, err := events.EncodeOutcome(o)
		if err != nil {
			b.Fatal(err)
		}
		send("outcomes", home(out.Key, partitions), out)
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	for p, offset := range next {
		commits.AddOffset("requests", int32(p), offset, -1)
	}
	if err := kadm.NewClient(c).CommitAllOffsets(ctx, group, commits); err != nil {
		b.Fatal(err)
	}
	return broker.Addr()
}
