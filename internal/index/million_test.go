package index_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What an index of a million requests may take.
const (
	mostTook   = 2 * time.Minute
	mostBytes  = 1 << 30
	mostSearch = 50 * time.Millisecond
)

// BenchmarkAMillionRequests fills the embedded broker with requests, their outcomes, 1 %
// dead letters and 5 % retries, indexes them in a process of its own, and asks that one
// for orders. REQUESTS says how many there are. Run it with -benchtime=1x.
func BenchmarkAMillionRequests(b *testing.B) {
	requests := 1_000_000
	if text := os.Getenv("REQUESTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatalf("REQUESTS is %q: %v", text, err)
		}
		requests = n
	}
	s := newShelf(b)
	s.fill(requests)
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), brokersEnv+"="+s.broker.Addr(), folderEnv+"="+b.TempDir())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		var got measured
		if err := json.Unmarshal(out, &got); err != nil {
			b.Fatal(err)
		}
		p := got.Progress
		cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.Logf("%d requests and %d dead letters in %v, %v of processors; %d MiB on disk, %d MiB of memory at most",
			p.Requests, p.DeadLetters, got.Took.Round(time.Millisecond), cpu.Round(time.Millisecond), p.Bytes>>20, got.Memory>>10)
		b.Logf("search: %v half of 1000, %v the worst; places of an order: %v, %v; groups %v, letters %v, three hours of minutes %v",
			got.Half, got.Worst, got.Places, got.WorstPlaces, got.Groups, got.Letters, got.Minutes)
		if p.Requests != int64(requests) || len(p.Gaps) > 0 {
			b.Fatalf("%+v", p)
		}
		parts := float64(max(requests, 1_000_000)) / 1_000_000
		if limit := time.Duration(float64(mostTook) * parts); got.Took > limit {
			b.Errorf("it took %v, at most %v are promised", got.Took, limit)
		}
		if limit := int64(mostBytes * parts); p.Bytes > limit {
			b.Errorf("it takes %d MiB, at most %d are promised", p.Bytes>>20, limit>>20)
		}
		if got.Worst > mostSearch {
			b.Errorf("a search took %v, at most %v are promised", got.Worst, mostSearch)
		}
	}
}

// fill writes requests and all that follows from them, as an order service and workers
// do.
func (s *shelf) fill(n int) {
	s.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	next := map[int]int64{}
	send := func(topic string, partition int, at time.Time, m events.Message) {
		r := &kgo.Record{Topic: topic, Partition: int32(partition % partitions[topic]), Key: m.Key, Value: m.Value, Timestamp: at}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		c.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				panic(err)
			}
		})
	}
	const perSecond = 100
	for i := range n {
		now := noon.Add(time.Duration(i) * time.Second / perSecond)
		q := events.Request{MchID: fmt.Sprintf("19000001%02d", i%20), OutTradeNo: numberOf(i), Reason: "payment_timeout", RequestID: fmt.Sprintf("0192f3c4-7a5b-7c3d-8e9f-%012d", i)}
		m, err := events.EncodeRequest(q, "/shops/1", now)
		if err != nil {
			s.t.Fatal(err)
		}
		p := i % partitions[topics.Requests]
		send(topics.Requests, p, now, m)
		at := events.Source{Topic: topics.Requests, Partition: p, Offset: next[p]}
		next[p]++
		if i%20 == 7 {
			send(topics.Retries()[0], p, now, records.EncodeRetry(records.Retry{Original: m, DueAt: now.Add(10 * time.Second), Code: "SYSTEMERROR", Source: at}))
			now = now.Add(10 * time.Second)
		}
		o := events.NewOutcome(q, m.Key, at)
		o.CompletedAt, o.Attempts = now.Add(time.Duration(20+i%400)*time.Millisecond), 1
		switch {
		case i%100 == 3:
			o.Result, o.Code, o.Message = events.Failed, "PARAM_ERROR", "the gateway refuses the request as it stands"
			send(topics.DeadLetters, p, o.CompletedAt, records.EncodeDeadLetter(records.DeadLetter{
				Original: m, ErrorCode: o.Code, ErrorMessage: o.Message, FailedAt: o.CompletedAt, Calls: 1, Source: at, SourceTimestamp: now,
			}))
		case i%10 == 5:
			o.Result, o.Code, o.ConfirmedBy = events.Paid, "ORDERPAID", events.ConfirmedByOrderQuery
			o.Gateway = &events.Gateway{Host: "https://api.mch.weixin.qq.com", TransactionID: fmt.Sprintf("4200002026030112%012d", i), TotalFee: 100}
		default:
			o.Result, o.Code, o.SafeToReissue, o.ConfirmedBy = events.Closed, "SUCCESS", true, events.ConfirmedByCloseOrder
			o.Gateway = &events.Gateway{Host: "https://api.mch.weixin.qq.com", ReturnCode: "SUCCESS", ReturnMsg: "OK", ResultCode: "SUCCESS"}
		}
		out, err := events.EncodeOutcome(o)
		if err != nil {
			s.t.Fatal(err)
		}
		send(topics.Outcomes, p, o.CompletedAt, out)
	}
	if err := c.Flush(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}
