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
	p.tx = newTransaction(p, nil, 10*time.Second, make(chan struct{}, 1), silent())
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

// Nobody knows whether a transaction was committed, and the group has gone on
// meanwhile: nothing of it is written again under the new generation, however
// soon, as it was committed.
func TestWhatMayBeCommittedIsNotWrittenAgainInTheNextGeneration(t *testing.T) {
	b, err := broker.Start(broker.Config{Topics: []broker.Topic{{Name: "t", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs()}, "t")
	t.Cleanup(func() { client.Close(); b.Close() })
	p, c := newPublisher(client, always, silent()), newCommitter(client, "g", silent())
	tx := newTransaction(p, client.Transactions("g-a", 10*time.Second), 10*time.Second, c.wake, silent())
	p.tx = tx
	c.in(tx, time.Millisecond)
	generation := func() *group.Generation {
		return &group.Generation{Membership: kafka.Membership{Group: "g", Generation: -1}}
	}
	c.under(generation())
	if err := c.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends := 0
	for i, err := range []*kerr.Error{kerr.RequestTimedOut, kerr.ProducerFenced} {
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: err, Count: 1, When: func(kmsg.Request) bool {
			if ends != i {
				return false
			}
			ends++
			c.under(generation())
			return true
		}})
	}
	answers := make(chan error, 9)
	of := begun(0)
	r := &request{partition: of, offset: 1, size: 1}
	if _, err := of.open(r); err != nil {
		t.Fatal(err)
	}
	unit := &deliveries{together: make([]*delivery, 1)}
	p.publish(publication{topic: "t", msg: events.Message{Key: []byte("k"), Value: []byte("v")}, request: r, of: unit, fence: of.owned, done: func(err error) { answers <- err }})
	for range 3 {
		if err := c.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if ends != 2 {
		t.Fatalf("%d ends", ends)
	}
	p.close()
	if err := <-answers; !errors.Is(err, errFencedOff) || len(answers) > 0 {
		t.Errorf("answered with %v, and %d more", err, len(answers))
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if n := reader.PollFetches(t.Context()).NumRecords(); n != 1 {
		t.Errorf("written %d times", n)
	}
}
