//go:build apachekafka

package brokertest

import (
	"context"
	"fmt"
	"slices"
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
	g = describe()
	if g.Protocol != kafka.Consumer || g.State == "" || g.Assignor != "uniform" || len(g.Members) != 2 {
		t.Fatalf("with a member of the new protocol it is %+v", g)
	}
	for _, m := range g.Members {
		is, instance := kafka.Consumer, ""
		if m.ClientID == s.cfg.Kafka.ClientID {
			is, instance = kafka.Classic, "one"
		}
		if m.Protocol != is || m.InstanceID != instance || m.Host != "/127.0.0.1" || m.ID == "" {
			t.Errorf("a member is %+v", m)
		}
	}
	s.eventually("each partition to be somebody's", func(context.Context) (bool, error) {
		var all, retries []int
		for _, m := range describe().Members {
			all = append(all, m.Assigned[s.cfg.Topics.Requests]...)
			retries = append(retries, m.Assigned[s.cfg.Topics.Retries()[0]]...)
		}
		slices.Sort(all)
		slices.Sort(retries)
		if both := []int{0, 1}; !slices.Equal(all, both) || !slices.Equal(retries, both) {
			return false, fmt.Errorf("requests %v and retries %v are assigned", all, retries)
		}
		return true, nil
	})
	// What is committed is read in a group of that protocol, too.
	report, snapshot := s.balanced(), s.snapshot(time.Time{})
	snapshot.NoteGroup(t.Context(), report)
	if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "KIP-848") || !strings.Contains(notes, "(it is java at 127.0.0.1)") {
		t.Errorf("an audit notes %q of it", notes)
	}
	leave()
	s.must(w.end())
	s.eventually("the group to be classic again", func(context.Context) (bool, error) {
		return describe().Protocol == kafka.Classic, nil
	})
}
