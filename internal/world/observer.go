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
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Observer reads topics, as a reader with isolation.level=read_committed does,
// and what a group has committed for them, of any Kafka cluster. It is not safe
// for concurrent use.
type Observer struct {
	group  string
	topics []string
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client

	next    map[Place]int64 // the offset to read next
	stable  map[Place]int64 // the last stable offsets at the last look
	records map[string][]Record
	open    map[transaction][]int // records by their index whose transaction has no marker yet
	looks   []Look

	// answered are the requests that the records of one topic, of outcomes, answer,
	// by their index: each is read once, however often is asked what is open.
	answered []events.Source
}

// transaction is what one producer has open in one partition.
type transaction struct {
	place    Place
	producer int64
}

// Record is one record of a topic.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// At is the record's timestamp, to the millisecond.
	At time.Time
	// Transactional: it was written in a transaction. Marker is the offset of
	// the marker that committed it; 0 where that was not read, as it stands
	// behind what another transaction still holds up.
	Transactional bool
	Marker        int64
	aborted       bool // and came all the same
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
// records that the commits speak of are in the topics below Ends, those that had
// been written before the commits were read are below Before: both are high
// watermarks, which hold what is committed behind the open transaction of
// somebody else.
type Look struct {
	At      time.Time
	Commits map[Place]Commit
	Before  map[Place]int64
	Ends    map[Place]int64
	// Stopped: no worker ran, and none was killed since the last clean stop.
	Stopped bool
}

// NewObserver makes an observer of a group and of topics. opts must say at
// least where the brokers are.
func NewObserver(group string, topics []string, opts ...kgo.Opt) (*Observer, error) {
	opts = slices.Concat([]kgo.Opt{
		kgo.ClientID("observer"),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts)
	// Markers show where a transaction has ended, and a partition that ends
	// with one has an end that can be reached.
	client, err := kgo.NewClient(append(slices.Clip(opts), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("world: observer: %w", err)
	}
	return &Observer{
		group: group, topics: topics, opts: opts, client: client, admin: kadm.NewClient(client),
		next: make(map[Place]int64), records: make(map[string][]Record), open: make(map[transaction][]int),
	}, nil
}

// Close ends the observer. What it has read stays.
func (o *Observer) Close() { o.client.Close() }

// Look reads the commits, and then all topics up to their last stable offsets.
func (o *Observer) Look(ctx context.Context) (Look, error) {
	look := Look{Commits: make(map[Place]Commit)}
	var err error
	if look.Before, err = o.ends(ctx, o.admin.ListEndOffsets); err != nil {
		return look, err
	}
	commits, err := o.commits(ctx)
	look.At = time.Now() // the coordinator may have taken its time
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return look, fmt.Errorf("world: observer: commits: %w", err)
	}
	commits.Each(func(c kadm.OffsetResponse) {
		if c.At >= 0 {
			look.Commits[Place{c.Topic, int(c.Partition)}] = Commit{c.At, c.Metadata}
		}
	})
	if look.Ends, err = o.ends(ctx, o.admin.ListEndOffsets); err != nil {
		return look, err
	}
	if o.stable, err = o.ends(ctx, o.admin.ListCommittedOffsets); err != nil {
		return look, err
	}
	if err := read(ctx, o.client, o.next, o.stable, o.take); err != nil {
		return look, err
	}
	o.looks = append(o.looks, look)
	return look, nil
}

// stableTries is how often commits are asked for that no open transaction is
// about to change, a quarter of a second apart. A group of which several
// members commit all the time may never have a moment without, and a dead
// member's transaction lasts: then what stands is taken, from before it.
const stableTries = 4

// commits are the commits of the group, stable as far as that can be had: a
// coordinator may have said that a transaction is committed, and bring its
// offsets to where they are read from only after that (KIP-447).
func (o *Observer) commits(ctx context.Context) (kadm.OffsetResponses, error) {
	for tries := 0; ; {
		asked := ctx
		if tries < stableTries {
			asked = kadm.RequireStable(ctx)
		}
		commits, err := o.admin.FetchOffsets(asked, o.group)
		err = cmp.Or(err, commits.Error())
		if errors.Is(err, kerr.UnstableOffsetCommit) {
			tries++
		}
		if !kerr.IsRetriable(err) || ctx.Err() != nil {
			return commits, err
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// ends asks for the ends of all topics, of the kind that list asks for.
func (o *Observer) ends(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[Place]int64, error) {
	listed, err := list(ctx, o.topics...)
	for kerr.IsRetriable(cmp.Or(err, listed.Error())) && ctx.Err() == nil {
		time.Sleep(250 * time.Millisecond) // leaders move
		listed, err = list(ctx, o.topics...)
	}
	if err = errors.Join(err, listed.Error()); err != nil {
		return nil, fmt.Errorf("world: observer: ends of topics: %w", err)
	}
	ends := make(map[Place]int64)
	listed.Each(func(l kadm.ListedOffset) { ends[Place{l.Topic, int(l.Partition)}] = l.Offset })
	return ends, nil
}

// read reads all partitions from next up to ends, moves next, and passes on
// what comes.
func read(ctx context.Context, client *kgo.Client, next, ends map[Place]int64, take func(*kgo.Record)) error {
	want := make(map[string]map[int32]kgo.Offset)
	missing := make(map[Place]int64)
	for at, end := range ends {
		if next[at] >= end {
			continue
		}
		if want[at.Topic] == nil {
			want[at.Topic] = make(map[int32]kgo.Offset)
		}
		want[at.Topic][int32(at.Partition)] = kgo.NewOffset().At(next[at])
		missing[at] = end
	}
	if len(missing) == 0 {
		return nil
	}
	client.AddConsumePartitions(want)
	defer client.PurgeTopicsFromConsuming(slices.Collect(maps.Keys(want))...)
	for len(missing) > 0 {
		// Errors of single partitions heal: the client tries again.
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("world: observer: read topics: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := Place{r.Topic, int(r.Partition)}
			if r.Offset < next[at] {
				return
			}
			next[at] = r.Offset + 1
			take(r)
			if next[at] >= missing[at] {
				delete(missing, at)
			}
		})
	}
	return nil
}

// take keeps a record, or where the transaction of records that were kept has
// ended, and how. Of one that was aborted only its marker should come: but kfake
// forgets the list of them in an answer that is full (Fetch, max_bytes).
func (o *Observer) take(r *kgo.Record) {
	t := transaction{Place{r.Topic, int(r.Partition)}, r.ProducerID}
	if r.Attrs.IsControl() {
		var key kmsg.ControlRecordKey
		aborted := key.ReadFrom(r.Key) == nil && key.Type == kmsg.ControlRecordKeyTypeAbort
		for _, i := range o.open[t] {
			o.records[r.Topic][i].Marker, o.records[r.Topic][i].aborted = r.Offset, aborted
		}
		delete(o.open, t)
		return
	}
	kept := recordOf(r)
	if kept.Transactional = r.Attrs.IsTransactional(); kept.Transactional {
		o.open[t] = append(o.open[t], len(o.records[r.Topic]))
	}
	o.records[r.Topic] = append(o.records[r.Topic], kept)
}

// Aborted reads a topic from its beginning up to where the last look has read
// it, and returns the records of transactions that were aborted: what a reader
// with isolation.level=read_uncommitted sees, and Records does not have.
func (o *Observer) Aborted(ctx context.Context, topic string) ([]Record, error) {
	client, err := kgo.NewClient(append(slices.Clip(o.opts), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("world: observer: %w", err)
	}
	defer client.Close()
	type spot struct{ partition, offset int64 }
	committed := make(map[spot]bool)
	for _, r := range o.Records(topic) {
		committed[spot{int64(r.Partition), r.Offset}] = true
	}
	ends := make(map[Place]int64)
	for at, end := range o.stable {
		if at.Topic == topic {
			ends[at] = end
		}
	}
	var aborted []Record
	err = read(ctx, client, make(map[Place]int64), ends, func(r *kgo.Record) {
		end := ends[Place{r.Topic, int(r.Partition)}]
		if !r.Attrs.IsControl() && r.Offset < end && !committed[spot{int64(r.Partition), r.Offset}] {
			aborted = append(aborted, recordOf(r))
		}
	})
	return aborted, err
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
func (o *Observer) Records(topic string) []Record {
	all := o.records[topic]
	if !slices.ContainsFunc(all, func(r Record) bool { return r.aborted }) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return r.aborted })
}

// Looks returns all looks, oldest first.
func (o *Observer) Looks() []Look { return o.looks }
