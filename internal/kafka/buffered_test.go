package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	virtual "github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// backlog is a topic t in virtual time whose partitions hold records, and a
// client that may hold bound bytes of them.
func backlog(t *testing.T, bound int64, codec kgo.CompressionCodec, perPartition ...[]*kgo.Record) (end func(), client *kafka.Client, producer *kgo.Client, cluster *kfake.Cluster) {
	network := virtual.NewNetwork()
	k, err := virtual.StartKafka(network, 1, []broker.Topic{{Name: "t", Partitions: len(perPartition), Configs: map[string]string{"max.message.bytes": "9000000"}}})
	if err != nil {
		t.Fatal(err)
	}
	host := network.Boot("reader")
	producer, err = kgo.NewClient(kgo.SeedBrokers(k.Addrs()...), kgo.Dialer(host.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(8<<20), kgo.MaxBufferedBytes(100<<20), kgo.BrokerMaxWriteBytes(50<<20), kgo.ProducerBatchCompression(codec))
	if err != nil {
		t.Fatal(err)
	}
	for p, records := range perPartition {
		for _, r := range records {
			r.Topic, r.Partition = "t", int32(p)
		}
		if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client = kafka.Open(kafka.Config{Brokers: k.Addrs(), Dial: host.DialContext, MaxBuffered: bound})
	return func() {
		producer.Close()
		client.Close()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}, client, producer, k.Cluster()
}

// values are n records of a size, of which each compresses a little.
func values(n, size int) (records []*kgo.Record) {
	for i := range n {
		value := bytes.Repeat(fmt.Appendf(nil, "%d %d;", i, i*i), size/4)
		records = append(records, &kgo.Record{Value: value[:size]})
	}
	return records
}

// Readers of many partitions take what they can get and then stand still. What
// is held for them stays within the bound, whatever the size of a batch, and all
// of them come to their end when they go on.
func TestWhatIsHeldStaysWithinTheBound(t *testing.T) {
	const each = 100 // bytes that a reader needs for a record
	for sentence, tt := range map[string]struct {
		bound      int64
		codec      kgo.CompressionCodec
		partitions int
		records    int
		size       int
	}{
		"small records in large batches":             {2 << 20, kgo.NoCompression(), 30, 3000, 200},
		"small records in large batches, compressed": {2 << 20, kgo.SnappyCompression(), 30, 3000, 200},
		"large records": {2 << 20, kgo.NoCompression(), 30, 40, 50_000},
		"batches larger than all that may be held":       {1 << 20, kgo.NoCompression(), 6, 4000, 1000},
		"compressed batches larger than all that may be": {1 << 20, kgo.ZstdCompression(), 6, 4000, 1000},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				perPartition := make([][]*kgo.Record, tt.partitions)
				for p := range perPartition {
					perPartition[p] = values(tt.records, tt.size)
				}
				end, client, _, _ := backlog(t, tt.bound, tt.codec, perPartition...)
				defer end()
				// One record of each, and one batch with what it unpacks to, may pass the bound.
				batch := int64(tt.records * (tt.size + 50))
				beyond := int64(tt.partitions)*int64(tt.size+each+100) + 2*min(batch, 8<<20)
				still, goOn := context.WithCancel(t.Context())
				var readers sync.WaitGroup
				for p := range tt.partitions {
					readers.Go(func() {
						share := client.Memory().Share(each)
						defer share.Close()
						source := client.Source("t", p, 0)
						source.Share = share
						defer source.Close()
						var open []int64
						for read, ctx := 0, still; read < tt.records; {
							records, next, err := source.Next(ctx)
							if err != nil && ctx == still && ctx.Err() != nil { // it could get no more
								for _, n := range open {
									share.Release(n)
								}
								open, ctx = nil, t.Context()
								continue
							}
							if err != nil {
								t.Errorf("partition %d: %v", p, err)
								return
							}
							for _, r := range records {
								if r.Offset != int64(read) {
									t.Errorf("partition %d: offset %d came where %d was to", p, r.Offset, read)
									return
								}
								read++
								n := int64(each + kafka.Size(r.Message))
								share.Hold(n)
								open = append(open, n)
							}
							if ctx != still {
								for _, n := range open {
									share.Release(n)
								}
								open = nil
							}
							if next != int64(read) {
								t.Errorf("partition %d goes on at %d behind %d", p, next, read)
							}
						}
					})
				}
				time.Sleep(time.Minute)
				held, most := client.Buffered()
				if held > most+beyond {
					t.Errorf("%d bytes are held, %d more than may be", held, held-most)
				}
				if held < most/4 {
					t.Errorf("%d bytes of %d are held: nothing was tested", held, most)
				}
				goOn()
				readers.Wait()
				if held, _ := client.Buffered(); held != 0 {
					t.Errorf("%d bytes are held when all is read", held)
				}
			})
		})
	}
}

// A reader that stays away loses what waits for it to one that finds no room, and
// misses nothing.
func TestWhatWaitsForAReaderThatIsAwayMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, _, _ := backlog(t, 1<<20, kgo.NoCompression(), values(4000, 200), values(4000, 200), values(4000, 200))
		defer end()
		var sources []*kafka.Source
		var shares []*kafka.Share
		for p := range 3 {
			s := client.Source("t", p, 0)
			defer s.Close()
			s.Share = client.Memory().Share(0)
			sources, shares = append(sources, s), append(shares, s.Share)
		}
		read := make([]int, 3)
		some := func(p int) {
			records, _, err := sources[p].Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Offset != int64(read[p]) || !strings.HasPrefix(string(r.Value), fmt.Sprint(read[p], " ")) {
					t.Fatalf("partition %d: offset %d came where %d was to", p, r.Offset, read[p])
				}
				read[p]++
				n := int64(kafka.Size(r.Message))
				shares[p].Hold(n)
				shares[p].Release(n)
			}
		}
		some(0)
		some(1)
		if len(read) != 3 || read[0] == 0 || read[0] == 4000 || read[1] == 4000 {
			t.Fatalf("%v were read: nothing waits for the others", read)
		}
		for read[2] < 4000 {
			some(2)
		}
		for p := range 2 {
			for read[p] < 4000 {
				some(p)
			}
		}
	})
}

// A batch that is larger than all that may be held waits for a reader that is away:
// what others have is not fetched and thrown away, over and over, until there is
// room for it.
func TestWhatFindsNoRoomIsNotFetchedOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, client, producer, cluster := backlog(t, 1<<20, kgo.NoCompression(), values(1, 900_000), values(40, 240))
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		small := client.Source("t", 1, 0)
		defer small.Close()
		if records, _, err := small.Next(ctx); len(records) != 40 || err != nil {
			t.Fatalf("%d records: %v", len(records), err)
		}
		large := client.Source("t", 0, 0)
		defer large.Close()
		time.Sleep(200 * time.Millisecond)
		if held, _ := client.Buffered(); held < 900_000 {
			t.Fatalf("%d bytes are held", held)
		}
		more := values(40, 240)
		for _, r := range more {
			r.Topic, r.Partition = "t", 1
		}
		if err := producer.ProduceSync(ctx, more...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		var fetches atomic.Int64
		cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if fetches.Add(1) == 100 {
				cancel() // time stands still for as long as nobody waits
				large.Close()
			}
			return nil, nil, false
		})
		records, _, err := small.Next(ctx)
		if len(records) != 40 || err != nil || fetches.Load() > 20 {
			t.Errorf("%d records after %d fetches: %v", len(records), fetches.Load(), err)
		}
	})
}
