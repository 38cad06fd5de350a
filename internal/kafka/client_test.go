package kafka_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dialed counts the connections that are open.
type dialed struct {
	mu   sync.Mutex
	open int
}

type countedConn struct {
	net.Conn
	dialed *dialed
	once   sync.Once
}

func (d *dialed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	return &countedConn{Conn: conn, dialed: d}, nil
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.dialed.mu.Lock()
		c.dialed.open--
		c.dialed.mu.Unlock()
	})
	return c.Conn.Close()
}

func openClient(t *testing.T, topics ...broker.Topic) (*kafka.Client, *broker.Broker, *dialed) {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	d := &dialed{}
	client := kafka.Open(kafka.Config{Brokers: b.Addrs(), Dial: d.dial})
	t.Cleanup(func() {
		client.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.open != 0 {
			t.Errorf("%d connections are left", d.open)
		}
	})
	return client, b, d
}

// What is written is what is read, with nil told apart from empty.
func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	client, _, _ := openClient(t, broker.Topic{Name: "t", Partitions: 2})
	messages := []events.Message{
		{Key: []byte("k"), Value: []byte("v"), Headers: []events.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}}},
		{Key: []byte{}, Value: []byte{}},
		{},
	}
	for i, compression := range []kafka.Compression{kafka.Uncompressed, kafka.Gzip} {
		if base, err := client.Produce(t.Context(), "t", 1, messages, compression); err != nil || base != int64(3*i) {
			t.Fatalf("%v: base offset %d, %v", compression, base, err)
		}
	}
	records, next, err := client.Fetch(t.Context(), "t", 1, 1, 1<<20, time.Second)
	if err != nil || len(records) != 5 || next != 6 {
		t.Fatalf("%d records, go on at %d, %v", len(records), next, err)
	}
	for _, r := range records {
		want := messages[r.Offset%3]
		if r.Source() != (events.Source{Topic: "t", Partition: 1, Offset: r.Offset}) || time.Since(r.Time) > time.Minute {
			t.Errorf("a record of %v at %+v", r.Time, r.Source())
		}
		if string(r.Key) != string(want.Key) || (r.Key == nil) != (want.Key == nil) || (r.Value == nil) != (want.Value == nil) || len(r.Headers) != len(want.Headers) {
			t.Errorf("offset %d: %+v, want %+v", r.Offset, r.Message, want)
		}
	}
	if h := records[2].Headers; len(h) != 2 || string(h[0].Value) != "1" || h[1].Value != nil {
		t.Errorf("headers %+v", h)
	}
}

func TestOffsetsOfALog(t *testing.T) {
	client, _, _ := openClient(t, broker.Topic{Name: "t", Partitions: 1})
	if _, err := client.Produce(t.Context(), "t", 0, []events.Message{{}, {}}, kafka.Uncompressed); err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct{ at, want int64 }{
		"the start":                        {kafka.LogStart, 0},
		"the end":                          {kafka.LogEnd, 2},
		"the first of a time":              {1, 0},
		"a time after which there is none": {time.Now().Add(time.Hour).UnixMilli(), -1},
	} {
		if got, err := client.Offset(t.Context(), "t", 0, c.at); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", sentence, got, err, c.want)
		}
	}
	if _, err := client.Offset(t.Context(), "t", 7, kafka.LogEnd); !kafka.NoPartition(err) {
		t.Errorf("a partition that there is not: %v", err)
	}
	if _, _, err := client.Fetch(t.Context(), "t", 0, 9, 1<<20, time.Second); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("an offset beyond the end: %v", err)
	}
}

func TestTopicsThatAreMissingAreAllNamed(t *testing.T) {
	client, _, _ := openClient(t, broker.Topic{Name: "t", Partitions: 3}, broker.Topic{Name: "u", Partitions: 1})
	counts, err := client.Partitions(t.Context(), "u", "t")
	if err != nil || len(counts) != 2 || counts["t"] != 3 || counts["u"] != 1 {
		t.Errorf("%v, %v", counts, err)
	}
	for want, topics := range map[string][]string{
		"topic b does not exist; create it with: closeorder topics create":     {"t", "b"},
		"topics b, a do not exist; create them with: closeorder topics create": {"b", "t", "a"},
	} {
		var missing *kafka.MissingTopicsError
		if _, err := client.Partitions(t.Context(), topics...); !errors.As(err, &missing) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWhatAGroupHasCommittedIsTold(t *testing.T) {
	client, b, _ := openClient(t, broker.Topic{Name: "t", Partitions: 3}, broker.Topic{Name: "u", Partitions: 1})
	all := map[string][]int{"t": {0, 1, 2}, "u": {0}}
	if got, err := client.Committed(t.Context(), "g", all); err != nil || len(got["t"])+len(got["u"]) != 0 {
		t.Errorf("a group that nobody knows: %v, %v", got, err)
	}
	outside := kafka.Membership{Group: "g", Generation: -1} // a commit from outside of the group
	commits := []kafka.Commit{
		{Topic: "t", Partition: 0, Committed: kafka.Committed{Offset: 5, Metadata: "m"}},
		{Topic: "u", Partition: 0, Committed: kafka.Committed{Offset: 7}},
		{Topic: "t", Partition: 2, Committed: kafka.Committed{Offset: 0}},
	}
	failed, err := client.Commit(t.Context(), outside, commits)
	if err = errors.Join(append(failed, err)...); err != nil || len(failed) != 3 {
		t.Fatal(err)
	}
	got, err := client.Committed(t.Context(), "g", all)
	if err != nil || len(got["t"]) != 2 || got["t"][0] != commits[0].Committed || got["t"][2] != commits[2].Committed || got["u"][0] != commits[1].Committed {
		t.Errorf("%v, %v", got, err)
	}
	failed, err = client.Commit(t.Context(), kafka.Membership{Group: "g", Generation: 3, MemberID: "somebody"}, commits)
	if err != nil || len(failed) != 3 || failed[1] == nil || errors.Is(failed[1], kafka.FencedInstance) {
		t.Errorf("a commit of a membership that there is not: %v, %v", failed, err)
	}

	// One of three is refused, and one is not spoken of.
	b.Cluster().ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic = "t"
		for partition, code := range map[int32]int16{0: 0, 2: int16(kafka.MetadataTooLarge)} {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = partition, code
			topic.Partitions = append(topic.Partitions, p)
		}
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	failed, err = client.Commit(t.Context(), outside, commits)
	if err != nil || failed[0] != nil || failed[1] == nil || !errors.Is(failed[2], kafka.MetadataTooLarge) {
		t.Errorf("each is answered with its own: %v, %v", failed, err)
	}
}

// A stop must not wait for a broker that does not answer.
func TestCloseEndsRequestsThatAreUnderWay(t *testing.T) {
	client, b, d := openClient(t, broker.Topic{Name: "t", Partitions: 1})
	asked := make(chan struct{})
	hold := make(chan struct{})
	defer close(hold)
	b.Cluster().ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().SleepControl(func() { close(asked); <-hold })
		return nil, nil, false
	})
	done := make(chan error, 1)
	go func() {
		_, err := client.Offset(t.Context(), "t", 0, kafka.LogEnd)
		done <- err
	}()
	<-asked
	client.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it succeeded")
		}
	case <-time.After(5 * time.Second):
		t.Error("it is still under way")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != 0 {
		t.Errorf("%d connections are left", d.open)
	}
}
