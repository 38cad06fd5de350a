package consumer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/sirupsen/logrus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Each fence is tested by itself, on a real broker: in the whole worker they
// stand one behind the other, and one alone could be broken unseen.

func openTestClient(t *testing.T) (*kafka.Client, *kadm.Client) {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	c := kafka.Open(kafka.Config{Brokers: b.Addrs()}, "t")
	t.Cleanup(func() { c.Close(); client.Close(); b.Close() })
	return c, kadm.NewClient(client)
}

// always is a membership that holds.
func always(time.Time) bool { return true }

func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// begun is an owned partition with one finished offset.
func begun(id int) *partition {
	p := newPartition(context.Background(), topicPartition{"t", id})
	p.begin(0, nil)
	t := &request{partition: p, offset: 0, size: 1}
	if _, err := p.open(t); err != nil {
		panic(err)
	}
	p.finish(t)
	return p
}

func TestNothingIsCommittedForARevokedPartition(t *testing.T) {
	client, admin := openTestClient(t)
	c := newCommitter(client, "g", silent())
	c.under(&group.Generation{Membership: kafka.Membership{Group: "g", Generation: -1}}) // a commit from outside of the group, so that only our fence is left
	kept, lost := begun(0), begun(1)
	lost.revoke(errors.New("reassigned"))
	c.markDirty(kept)
	c.markDirty(lost)
	if err := c.flush(t.Context(), []*partition{kept, lost}); err != nil {
		t.Fatal(err)
	}
	offsets, err := admin.FetchOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("t", 0); !ok || o.At != 1 {
		t.Errorf("the partition that is owned: committed %+v, want 1", o)
	}
	if o, ok := offsets.Lookup("t", 1); ok && o.At >= 0 {
		t.Errorf("the partition that was lost: committed %+v", o)
	}
}

func TestNothingIsCommittedBetweenGenerations(t *testing.T) {
	client, admin := openTestClient(t)
	c := newCommitter(client, "g", silent())
	p := begun(0)
	c.markDirty(p)
	if err := c.flush(t.Context(), []*partition{p}); err != nil {
		t.Fatal(err)
	}
	offsets, _ := admin.FetchOffsets(t.Context(), "g")
	if o, ok := offsets.Lookup("t", 0); ok && o.At >= 0 {
		t.Errorf("committed %+v", o)
	}
}

func TestNothingIsPublishedBehindAFence(t *testing.T) {
	client, admin := openTestClient(t)
	p := newPublisher(client, always, silent())
	defer p.close()
	ended, end := context.WithCancel(context.Background())
	end()
	answers := make(chan error, 2)
	for _, fence := range []context.Context{ended, context.Background()} {
		p.publish(publication{topic: "t", msg: events.Message{Key: []byte("k"), Value: []byte("v")}, fence: fence, done: func(err error) { answers <- err }})
	}
	if err := <-answers; !errors.Is(err, errFencedOff) {
		t.Errorf("the fenced record: %v", err)
	}
	if err := <-answers; err != nil {
		t.Errorf("the other record: %v", err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != 1 {
		t.Errorf("%d records in the topic, want 1", total)
	}
}

// A batch that is sent in parts is fenced part by part, and each record is
// answered once.
func TestNothingIsPublishedBehindAFenceThatFallsWhileABatchIsHalved(t *testing.T) {
	client, admin := openTestClient(t)
	p := newPublisher(client, always, silent())
	defer p.close()
	owned, lose := context.WithCancel(t.Context())
	defer lose()
	answers := make([][]error, 3)
	batch := make([]publication, 3)
	for i := range batch {
		batch[i] = publication{topic: "t", fence: t.Context(), done: func(err error) {
			answers[i] = append(answers[i], err)
			lose()
		}}
	}
	batch[1].msg.Value = noise(2 << 20) // more than the broker takes
	batch[2].fence = owned
	b := &batcher{publisher: p, topicPartition: topicPartition{"t", 0}}
	b.send(t.Context(), batch, nil)
	for i, want := range []error{nil, kafka.RecordTooLarge, errFencedOff} {
		if len(answers[i]) != 1 || !errors.Is(answers[i][0], want) {
			t.Errorf("record %d: answered %v, want %v once", i, answers[i], want)
		}
	}
	ends, err := admin.ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := ends.Lookup("t", 0); !ok || o.Offset != 1 {
		t.Errorf("%d records in the topic, want 1", o.Offset)
	}
}

// noise is what no compression makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestAPublicationThatIsFencedOffLeavesItsOffsetOpen(t *testing.T) {
	client, _ := openTestClient(t)
	w := &Worker{cfg: Config{Log: silent()}, publisher: newPublisher(client, always, silent()), committer: newCommitter(client, "g", silent())}
	defer w.publisher.close()
	w.lanes = newLanes(1, nil, nil, silent())
	p := newPartition(context.Background(), topicPartition{"t", 0})
	p.begin(0, nil)
	request := &request{partition: p, offset: 0, size: 1}
	if _, err := p.open(request); err != nil {
		t.Fatal(err)
	}
	p.revoke(errors.New("reassigned"))
	w.lanes.publishing(p)
	w.write(request, tidings{}, record{topic: "t"}, record{topic: "t"})
	if !w.lanes.drain(t.Context(), []*partition{p}) {
		t.Fatal("not drained")
	}
	if watermark, _, _ := p.position(); watermark != 0 {
		t.Errorf("watermark %d: the offset counts as finished", watermark)
	}
}

// While the membership is in doubt another member may publish for the same
// partition: nothing goes out, and nothing is dropped.
func TestNothingIsPublishedWhileTheMembershipIsInDoubt(t *testing.T) {
	client, admin := openTestClient(t)
	written := func() (n int64) {
		ends, err := admin.ListEndOffsets(t.Context(), "t")
		if err != nil {
			t.Error(err)
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	asked := 0
	alive := func(time.Time) bool {
		if asked++; written() != 0 {
			t.Error("published before the membership holds")
		}
		return asked > 3
	}
	p := newPublisher(client, alive, silent())
	defer p.close()
	done := make(chan error, 1)
	p.publish(publication{topic: "t", to: 0, msg: events.Message{Value: []byte("x")}, fence: t.Context(), done: func(err error) { done <- err }})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if asked != 4 || written() != 1 {
		t.Errorf("asked %d times, %d records", asked, written())
	}
}

// Also what queued up behind a batch that could not be sent is answered, and
// whoever is told may call the publisher again.
func TestAPublisherThatIsClosedAnswersAllThatItHas(t *testing.T) {
	client, _ := openTestClient(t)
	p := newPublisher(client, func(time.Time) bool { return false }, silent())
	const n = 3 * kafka.BatchRecords
	answered := make(chan error, 2*n)
	for i := range n {
		pub := publication{topic: "t", to: i, fence: t.Context(), msg: events.Message{Value: []byte("v")}}
		pub.done = func(err error) {
			answered <- err
			pub.done = func(err error) { answered <- err }
			p.publish(pub)
		}
		p.publish(pub)
	}
	p.close()
	for i := range 2 * n {
		if err := <-answered; !errors.Is(err, errFencedOff) {
			t.Fatalf("answer %d is %v", i, err)
		}
	}
}
