package world

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Observer reads all topics and the commits of the workers' group, from
// outside: no fault of the network reaches it.
type Observer struct {
	world  *World
	client *kgo.Client
	admin  *kadm.Client
	next   map[string]map[int32]int64 // the offset to read next

	records map[string][]Record
	looks   []Look
}

// Record is one record of a topic.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// At is the record's timestamp, to the millisecond.
	At time.Time
	Message
}

// Source is the place of the record.
func (r Record) Source() events.Source {
	return events.Source{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// Commit is what the workers' group has committed for a partition.
type Commit struct {
	Offset   int64
	Metadata string
}

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int
}

// Look is what the group had committed at a moment. The records that the
// commits speak of are in the topics at that moment: they are read after the
// commits.
type Look struct {
	At      time.Time
	Commits map[Place]Commit
	// Ends are the ends of the topics a moment later.
	Ends map[Place]int64
}

const observerName = "observer"

// Observe starts an observer.
func (w *World) Observe() (*Observer, error) {
	host := w.Network.Boot(observerName)
	host.Exempt()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(w.Kafka.Addrs()...),
		kgo.Dialer(host.DialContext),
		kgo.ClientID(observerName),
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("world: observer: %w", err)
	}
	w.closers = append(w.closers, func() error { client.Close(); return nil })
	return &Observer{
		world: w, client: client, admin: kadm.NewClient(client),
		next: make(map[string]map[int32]int64), records: make(map[string][]Record),
	}, nil
}

// Look reads the commits, and then all topics up to where they end now.
func (o *Observer) Look(ctx context.Context) error {
	look := Look{At: time.Now(), Commits: make(map[Place]Commit), Ends: make(map[Place]int64)}
	if info := o.world.Kafka.Cluster().GroupInfo(o.world.Config.Kafka.Group); info != nil {
		for topic, ps := range info.Commits {
			for p, c := range ps {
				look.Commits[Place{topic, int(p)}] = Commit{c.Offset, c.Metadata}
			}
		}
	}
	topics := make([]string, 0, len(o.world.Topics))
	for _, t := range o.world.Topics {
		topics = append(topics, t.Name)
	}
	ends, err := o.admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("world: observer: %w", err)
	}
	if err := ends.Error(); err != nil {
		return fmt.Errorf("world: observer: %w", err)
	}
	want := make(map[string]map[int32]kgo.Offset)
	missing := 0
	ends.Each(func(l kadm.ListedOffset) {
		look.Ends[Place{l.Topic, int(l.Partition)}] = l.Offset
		at := o.next[l.Topic][l.Partition]
		if at >= l.Offset {
			return
		}
		if want[l.Topic] == nil {
			want[l.Topic] = make(map[int32]kgo.Offset)
		}
		want[l.Topic][l.Partition] = kgo.NewOffset().At(at)
		missing++
	})
	if missing > 0 {
		if err := o.read(ctx, want, look.Ends, missing); err != nil {
			return err
		}
	}
	o.looks = append(o.looks, look)
	return nil
}

// read reads the wanted partitions up to their ends.
func (o *Observer) read(ctx context.Context, want map[string]map[int32]kgo.Offset, ends map[Place]int64, missing int) error {
	o.client.AddConsumePartitions(want)
	defer o.client.PurgeTopicsFromConsuming(topicsOf(want)...)
	for missing > 0 {
		fetches := o.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("world: observer: %w", err)
		}
		// Errors of partitions heal: the client tries again.
		fetches.EachRecord(func(r *kgo.Record) {
			end := ends[Place{r.Topic, int(r.Partition)}]
			if o.next[r.Topic] == nil {
				o.next[r.Topic] = make(map[int32]int64)
			}
			if r.Offset < o.next[r.Topic][r.Partition] {
				return
			}
			o.next[r.Topic][r.Partition] = r.Offset + 1
			o.records[r.Topic] = append(o.records[r.Topic], recordOf(r))
			if r.Offset == end-1 {
				missing--
			}
		})
	}
	return nil
}

func topicsOf(want map[string]map[int32]kgo.Offset) []string {
	var names []string
	for name := range maps.Keys(want) {
		names = append(names, name)
	}
	return names
}

func recordOf(r *kgo.Record) Record {
	out := Record{
		Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, At: r.Timestamp,
		Message: Message{Key: r.Key, Value: r.Value},
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, events.Header{Key: h.Key, Value: h.Value})
	}
	return out
}

// Records returns what was read of a topic: each partition in the order of
// its offsets.
func (o *Observer) Records(topic string) []Record { return o.records[topic] }

// Looks returns all looks, oldest first.
func (o *Observer) Looks() []Look { return o.looks }
