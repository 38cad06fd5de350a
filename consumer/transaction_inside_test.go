package consumer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// still is a publisher with an open transaction from which nothing is sent: how
// many partitions its topics have is not known.
func still(topics ...string) *publisher {
	p := newPublisher(nil, always, silent())
	for _, topic := range topics {
		p.topics[topic] = &topicQueue{resolving: true}
	}
	p.tx = newTransaction(p, nil, "g", 1<<20, 10*time.Second, make(chan struct{}, 1), silent())
	p.tx.ready = true
	return p
}

// unit are the records of one decision.
func unit(name, order string, topics ...string) (pubs []publication) {
	r := &request{msg: events.Message{Key: []byte(name)}}
	r.req.OutTradeNo = order
	of := &deliveries{}
	for _, topic := range topics {
		of.together = append(of.together, &delivery{})
		pubs = append(pubs, publication{topic: topic, msg: events.Message{Value: []byte(name)}, request: r, of: of, fence: context.Background(), done: func(error) {}})
	}
	return pubs
}

// namesOf are those of units, in their order.
func namesOf(pubs []publication) (all []string) {
	for _, pub := range pubs {
		all = append(all, string(pub.msg.Value))
	}
	return slices.Compact(all)
}

// What was set aside beside an aborted transaction is behind what stood in it: an
// order has its outcomes in the order of its requests (G4).
func TestWhatIsSetAsideStaysBehindWhatIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := still("outcomes", "dead")
		tx := p.tx
		tx.trouble[topicPartition{"dead", -1}] = &troublesome{until: time.Now().Add(time.Minute), pause: time.Minute}
		if err := tx.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.publish(unit("A1", "A", "outcomes")...)
		p.publish(unit("A2", "A", "outcomes", "dead")...)
		p.publish(unit("A3", "A", "outcomes")...)
		p.publish(unit("B1", "B", "outcomes")...)
		for _, step := range []struct {
			sentence   string
			in, behind []string
		}{
			{"in trouble", []string{"A1", "B1"}, []string{"A2", "A3"}},
			{"still, in the next one", []string{"A1", "B1"}, []string{"A2", "A3"}},
			{"its time has come", []string{"A1", "B1", "A2", "A3"}, nil},
		} {
			if in, behind := namesOf(tx.records), namesOf(tx.aside); !slices.Equal(in, step.in) || !slices.Equal(behind, step.behind) {
				t.Fatalf("%s: %v are in, %v aside; want %v and %v", step.sentence, in, behind, step.in, step.behind)
			}
			tx.spoil(errors.New("fenced"))
			tx.end(false)
			tx.admits = false
			if step.sentence == "still, in the next one" {
				time.Sleep(time.Minute)
			}
			if err := tx.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// transacting is a committer with a transaction, on a real broker, under a
// generation that it does not fence: only our own fences are left.
type transacting struct {
	t *testing.T
	*committer
	publisher *publisher
	broker    *broker.Broker
}

func newTransacting(t *testing.T) *transacting {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()}, "t")
	t.Cleanup(func() { client.Close(); b.Close() })
	c := &transacting{t: t, committer: newCommitter(client, "g", silent()), publisher: newPublisher(client, always, silent()), broker: b}
	c.publisher.tx = newTransaction(c.publisher, client.Transactions("g-a", 10*time.Second), "g", 1<<20, 10*time.Second, c.wake, silent())
	c.in(c.publisher.tx, time.Millisecond, nil)
	c.regenerate()
	if _, err := c.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// regenerate goes on with another generation.
func (c *transacting) regenerate() {
	c.under(&group.Generation{Membership: kafka.Membership{Group: "g", Generation: -1}})
}

// meets has a broker answer a request so once, or as ever with nil, and do
// something before.
func (c *transacting) meets(key kmsg.Key, err *kerr.Error, do func()) {
	met := false
	c.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: 1, When: func(kmsg.Request) bool {
		if !met {
			met = true
			do()
			return err != nil
		}
		return false
	}})
}

// publish writes what a request of a partition leads to.
func (c *transacting) publish(p *partition, name string) (answer chan error) {
	c.t.Helper()
	r := &request{partition: p, offset: 1, size: 1}
	if _, err := p.open(r); err != nil {
		c.t.Fatal(err)
	}
	answer = make(chan error, 9)
	c.publisher.publish(publication{
		topic: "t", to: p.id, msg: events.Message{Key: []byte(name), Value: []byte(name)}, request: r,
		of: &deliveries{together: make([]*delivery, 1)}, fence: p.owned, done: func(err error) { answer <- err },
	})
	return answer
}

// read returns what stands in the topic in the end.
func (c *transacting) read(isolation kgo.IsolationLevel) (values []string) {
	c.t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords())
	if err != nil {
		c.t.Fatal(err)
	}
	defer reader.Close()
	ends, err := kadm.NewClient(reader).ListEndOffsets(c.t.Context(), "t")
	if err != nil {
		c.t.Fatal(err)
	}
	for at := make(map[int32]int64); ; {
		behind := false
		ends.Each(func(end kadm.ListedOffset) { behind = behind || at[end.Partition] < end.Offset })
		if !behind {
			return values
		}
		reader.PollFetches(c.t.Context()).EachRecord(func(r *kgo.Record) {
			if at[r.Partition] = r.Offset + 1; !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
}

// Nobody knows whether a transaction was committed, and the group has gone on
// meanwhile: nothing of it is written again under the new generation, however
// soon, as it was committed.
func TestWhatMayBeCommittedIsNotWrittenAgainInTheNextGeneration(t *testing.T) {
	c := newTransacting(t)
	c.meets(kmsg.EndTxn, kerr.RequestTimedOut, func() {
		c.regenerate()
		c.meets(kmsg.EndTxn, kerr.ProducerFenced, c.regenerate)
	})
	answer := c.publish(begun(0), "a")
	for range 3 {
		if _, err := c.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.publisher.close()
	if err := <-answer; !errors.Is(err, errFencedOff) || len(answer) > 0 {
		t.Errorf("answered with %v, and %d more", err, len(answer))
	}
	if got := c.read(kgo.ReadUncommitted()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("written: %v", got)
	}
}

// A partition goes while a record of it stands in the transaction, and the group
// has not said so yet: nobody sees the record, its offset is not committed, and
// what stands beside it is seen once.
func TestNothingOfATransactionIsSeenWhosePartitionGoes(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		when     func(c *transacting, lose func())
	}{
		{"before its offset is told", func(_ *transacting, lose func()) { lose() }},
		{"as its offset is told", func(c *transacting, lose func()) { c.meets(kmsg.TxnOffsetCommit, nil, lose) }},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			c := newTransacting(t)
			lost, kept := begun(0), begun(1)
			answers := []chan error{c.publish(lost, "lost"), c.publish(kept, "kept")}
			tx := c.publisher.tx
			if _, interrupted, err := tx.cut(t.Context()); interrupted || err != nil { // both are written
				t.Fatal(interrupted, err)
			}
			tx.goOn()
			tt.when(c, func() { lost.revoke(errReassigned) })
			if _, err := c.commit(t.Context()); err == nil {
				t.Error("it was committed")
			}
			if _, err := c.commit(t.Context()); err != nil {
				t.Error(err)
			}
			c.publisher.close()
			if err := <-answers[0]; !errors.Is(err, errFencedOff) {
				t.Errorf("what was lost is answered with %v", err)
			}
			if err := <-answers[1]; err != nil {
				t.Errorf("what was kept is answered with %v", err)
			}
			if got := c.read(kgo.ReadCommitted()); !slices.Equal(got, []string{"kept"}) {
				t.Errorf("seen: %v", got)
			}
			committed, err := c.positions(t.Context(), map[string][]int{"t": {0, 1}})
			if err != nil {
				t.Fatal(err)
			}
			if at, ok := committed["t"][0]; ok || committed["t"][1].Offset != 2 {
				t.Errorf("committed %v (%v) of what was lost, %v of what was kept", at, ok, committed["t"][1])
			}
		})
	}
}

// What comes while a transaction is being ended is in the next one: it is not
// answered with this one, in which it may never have been written.
func TestWhatComesWhileATransactionIsEndedWaitsForTheNext(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			c := newTransacting(t)
			first, second := begun(0), begun(1)
			var late chan error
			c.meets(key, nil, func() { late = c.publish(second, "late") })
			answer := c.publish(first, "first")
			if _, err := c.commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != nil || len(late) != 0 {
				t.Errorf("the first is answered with %v, and the late one %d times", err, len(late))
			}
			committed, err := c.positions(t.Context(), map[string][]int{"t": {0, 1}})
			if _, early := committed["t"][1]; err != nil || early || committed["t"][0].Offset != 2 {
				t.Errorf("committed %v, %v", committed, err)
			}
			if _, err := c.commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-late; err != nil {
				t.Errorf("the late one is answered with %v", err)
			}
			c.publisher.close()
			got := c.read(kgo.ReadCommitted())
			slices.Sort(got)
			if !slices.Equal(got, []string{"first", "late"}) {
				t.Errorf("seen: %v", got)
			}
		})
	}
}
