//go:build apachekafka

package brokertest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// TestAGroupIsDescribed whatever protocol it is run by, while it changes.
func TestAGroupIsDescribed(t *testing.T) {
	s := newStand(t, 2, nil)
	client := kafka.Open(kafka.Config{Brokers: cluster.Addrs()})
	defer client.Close()
	describe := func() kafka.Group {
		t.Helper()
		ctx, cancel := s.context()
		defer cancel()
		g, err := client.DescribeGroup(ctx, s.cfg.Kafka.Group)
		s.must(err)
		return g
	}
	if g := describe(); g.Protocol != "" || g.State != "" || len(g.Members) > 0 {
		t.Errorf("a group that nobody has used is %+v", g)
	}
	w := s.worker(func(c *config.Config) { c.Kafka.InstanceID = "one" })
	s.awaitGroup(1)
	g := describe()
	if g.Protocol != kafka.Classic || g.State != "Stable" || len(g.Members) != 1 {
		t.Fatalf("a worker's group is %+v", g)
	}
	if m := g.Members[0]; m.ClientID != s.cfg.Kafka.ClientID || m.InstanceID != "one" || !strings.HasPrefix(m.ID, "one-") || m.Host != "/127.0.0.1" {
		t.Errorf("its member is %+v", m)
	}
	s.send(requests("T", 10)...)
	s.awaitAnswers(10)
	s.awaitCommitted()
	var java readByJava
	leave := s.joinJava("consumer", &java)
	s.awaitGroup(2)
	if g := describe(); g.Protocol != kafka.Consumer {
		t.Errorf("with a member of the new protocol it is %+v", g)
	}
	// What is committed is read in a group of that protocol, too.
	report, snapshot := s.balanced(), s.snapshot(time.Time{})
	snapshot.NoteGroup(t.Context(), report)
	if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "KIP-848") {
		t.Errorf("an audit notes %q of it", notes)
	}
	leave()
	s.must(w.end())
	s.eventually("the group to be classic again", func(context.Context) (bool, error) {
		return describe().Protocol == kafka.Classic, nil
	})
}
