package group

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Who asks from outside finds each member, what it has, and where it can be asked;
// one of another library is named and no more.
func TestAGroupSaysWhereItsMembersAre(t *testing.T) {
	b := start(t)
	here, elsewhere := here(), here()
	here.Admin, elsewhere.Admin, elsewhere.Host = "127.0.0.1:9290", "10.0.0.7:9290", "elsewhere"
	const name = `"name":"@closeorder-x"`
	proof := knows{record: strings.Replace(string(here.record()), `"admin"`, name+`,"admin"`, 1)}
	if !strings.Contains(proof.record, name) {
		t.Fatal(proof.record)
	}
	var client *kafka.Client
	first, _ := runWith(t, b, func(cfg *Config) {
		client = cfg.Client
		cfg.Proof, cfg.Whereabouts = proof, []byte("not this")
	})
	first.expect(t, "[requests[0 1]]")
	second, _ := runWith(t, b, func(cfg *Config) {
		cfg.InstanceID, cfg.Proof, cfg.Whereabouts = "one", knows{record: "not this"}, elsewhere.record()
	})
	second.expectAfter(t, "[] of", "[requests[1]]")
	foreign, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("requests"), kgo.Balancers(kgo.RangeBalancer()), kgo.ClientID("analytics"))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	want := map[string]Fellow{
		"kafka-go":  {Ours: true, Admin: "127.0.0.1:9290", SameMachine: true},
		"one":       {Ours: true, Admin: "10.0.0.7:9290"},
		"analytics": {},
	}
	deadline := time.Now().Add(time.Minute)
	for {
		g, err := Describe(t.Context(), client, "g")
		if err != nil {
			t.Fatal(err)
		}
		got, owned := make(map[string]Fellow), 0
		for _, m := range g.Members {
			owned += len(m.Assigned["requests"])
			is := "kafka-go"
			switch {
			case m.InstanceID != "":
				is = m.InstanceID
			case m.ClientID == "analytics":
				is = m.ClientID
			}
			got[is] = Fellow{Ours: m.Ours, Admin: m.Admin, SameMachine: m.SameMachine}
		}
		if g.Told && owned == 2 && reflect.DeepEqual(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v\nis told as %+v\nwant %+v", g, got, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestWhatAGroupDoesNotTell(t *testing.T) {
	s := subscription{topics: []string{"requests"}, record: whereabouts{Host: "a", Admin: "10.0.0.7:9290"}.record()}
	d := dealt{assigned: map[string][]int{"requests": {1}}}
	member := func(metadata, assignment []byte) kafka.Group {
		return kafka.Group{Protocol: kafka.Classic, State: "Stable", Members: []kafka.GroupMember{{ID: "m", Metadata: metadata, Assignment: assignment}}}
	}
	told := member(s.encode(), d.encode())
	rebalancing, run := told, told
	rebalancing.State, run.Protocol = "PreparingRebalance", kafka.Consumer
	for sentence, c := range map[string]struct {
		group kafka.Group
		told  bool
		want  Fellow
	}{
		"all of a group that is stable":        {told, true, Fellow{ID: "m", Ours: true, Machine: "a", Admin: "10.0.0.7:9290", Assigned: d.assigned}},
		"nothing of one that rebalances":       {rebalancing, false, Fellow{ID: "m"}},
		"nothing of one of KIP-848":            {run, false, Fellow{ID: "m"}},
		"a member whose words cannot be read":  {member([]byte{1}, d.encode()), true, Fellow{ID: "m", Assigned: d.assigned}},
		"a member of ours that says no place":  {member(subscription{}.encode(), nil), true, Fellow{ID: "m", Ours: true, Assigned: map[string][]int{}}},
		"a member of ours with another record": {member(subscription{record: []byte("{")}.encode(), nil), true, Fellow{ID: "m", Ours: true, Assigned: map[string][]int{}}},
		"an assignment that cannot be read":    {member(s.encode(), []byte{1}), true, Fellow{ID: "m", Ours: true, Machine: "a", Admin: "10.0.0.7:9290"}},
	} {
		got := described(c.group, whereabouts{Host: "b"})
		if got.Told != c.told || len(got.Members) != 1 || !reflect.DeepEqual(got.Members[0], c.want) {
			t.Errorf("%s: %+v", sentence, got)
		}
	}
}
