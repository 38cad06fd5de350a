package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Observer reads topics and what a group has committed for them, of any
// Kafka cluster. It is not safe for concurrent use.
type Observer struct {
	group  string
	topics []string
	client *kgo.Client
	admin  *kadm.Client

	next    map[Place]int64 // the offset to read next
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

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int
}

// Commit is what the group has committed for a partition.
type Commit struct {
	Offset   int64
	Metadata string
}

// Look is what the group had committed at a moment, or just before. The
// records that the commits speak of are in the topics below Ends: those are read after the
// commits.
type Look struct {
	At      time.Time
	Commits map[Place]Commit
	Ends    map[Place]int64
	// Stopped: no worker ran, and none was killed since the last clean stop.
	Stopped bool
}

// NewObserver makes an observer of a group and of topics. opts must say at
// least where the brokers are.
func NewObserver(group string, topics []string, opts ...kgo.Opt) (*Observer, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("observer"),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("world: observer: %w", err)
	}
	return &Observer{
		group: group, topics: topics, client: client, admin: kadm.NewClient(client),
		next: make(map[Place]int64), records: make(map[string][]Record),
	}, nil
}

// Close ends the observer. What it has read stays.
func (o *Observer) Close() { o.client.Close() }

// Look reads the commits, and then all topics up to where they end now.
func (o *Observer) Look(ctx context.Context) (Look, error) {
	look := Look{Commits: make(map[Place]Commit), Ends: make(map[Place]int64)}
	commits, err := o.admin.FetchOffsets(ctx, o.group)
	for kerr.IsRetriable(err) && ctx.Err() == nil {
		time.Sleep(250 * time.Millisecond)
		commits, err = o.admin.FetchOffsets(ctx, o.group)
	}
	look.At = time.Now() // the coordinator may have taken its time
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return look, fmt.Errorf("world: observer: commits: %w", err)
	}
	commits.Each(func(c kadm.OffsetResponse) {
		if c.At >= 0 {
			look.Commits[Place{c.Topic, int(c.Partition)}] = Commit{c.At, c.Metadata}
		}
	})
	ends, err := o.admin.ListEndOffsets(ctx, o.topics...)
	for kerr.IsRetriable(cmp.Or(err, ends.Error())) && ctx.Err() == nil {
		time.Sleep(250 * time.Millisecond) // leaders move
		ends, err = o.admin.ListEndOffsets(ctx, o.topics...)
	}
	if err = errors.Join(err, ends.Error()); err != nil {
		return look, fmt.Errorf("world: observer: ends of topics: %w", err)
	}
	ends.Each(func(l kadm.ListedOffset) { look.Ends[Place{l.Topic, int(l.Partition)}] = l.Offset })
	if err := o.read(ctx, look.Ends); err != nil {
		return look, err
	}
	o.looks = append(o.looks, look)
	return look, nil
}

// read reads all partitions up to their ends.
func (o *Observer) read(ctx context.Context, ends map[Place]int64) error {
	want := make(map[string]map[int32]kgo.Offset)
	missing := make(map[Place]int64)
	for at, end := range ends {
		if o.next[at] >= end {
			continue
		}
		if want[at.Topic] == nil {
			want[at.Topic] = make(map[int32]kgo.Offset)
		}
		want[at.Topic][int32(at.Partition)] = kgo.NewOffset().At(o.next[at])
		missing[at] = end
	}
	if len(missing) == 0 {
		return nil
	}
	o.client.AddConsumePartitions(want)
	defer o.client.PurgeTopicsFromConsuming(slices.Collect(maps.Keys(want))...)
	for len(missing) > 0 {
		// Errors of single partitions heal: the client tries again.
		fetches := o.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("world: observer: read topics: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := Place{r.Topic, int(r.Partition)}
			if r.Offset < o.next[at] {
				return
			}
			o.next[at] = r.Offset + 1
			o.records[r.Topic] = append(o.records[r.Topic], recordOf(r))
			if o.next[at] >= missing[at] {
				delete(missing, at)
			}
		})
	}
	return nil
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
