package group

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// member is one that subscribes to topics; owns are its claims since a generation.
func member(id string, topics ...string) subscriber {
	return subscriber{id: id, subscription: subscription{topics: topics, generation: -1}}
}

func (s subscriber) owns(generation int32, topic string, ids ...int) subscriber {
	s.owned = maps.Clone(s.owned)
	if s.owned == nil {
		s.owned = make(map[string][]int)
	}
	s.owned[topic], s.generation = ids, generation
	return s
}

func (s subscriber) static(instanceID string) subscriber {
	s.instanceID = instanceID
	return s
}

func TestAssign(t *testing.T) {
	for _, c := range []struct {
		sentence string
		members  []subscriber
		counts   map[string]int
		want     assignment
	}{
		{"one member has everything", []subscriber{member("a", "q", "r")}, map[string]int{"q": 2, "r": 1},
			assignment{"a": {"q": {0, 1}, "r": {0}}}},
		{"partitions of one number go to one member", []subscriber{member("a", "q", "r"), member("b", "q", "r")}, map[string]int{"q": 3, "r": 3},
			assignment{"a": {"q": {0, 1}, "r": {0, 1}}, "b": {"q": {2}, "r": {2}}}},
		{"the instance id decides the order, not the member id", []subscriber{member("1", "q").static("z"), member("2", "q").static("y")}, map[string]int{"q": 2},
			assignment{"2": {"q": {0}}, "1": {"q": {1}}}},
		{"a member that does not subscribe to a topic gets none of it", []subscriber{member("a", "q", "r"), member("b", "q")}, map[string]int{"q": 2, "r": 2},
			assignment{"a": {"q": {0}, "r": {0, 1}}, "b": {"q": {1}}}},
		{"a row stays together beside a member that reads one topic of it, and the rest of its own is shared",
			[]subscriber{member("a", "q", "r", "s"), member("b", "q", "r", "s"), member("other", "q")}, map[string]int{"q": 6, "r": 6, "s": 6},
			assignment{"a": {"q": {0, 1}, "r": {0, 1, 4}, "s": {0, 1, 4}}, "b": {"q": {2, 3}, "r": {2, 3, 5}, "s": {2, 3, 5}}, "other": {"q": {4, 5}}}},
		{"also where another has the retries still: that one gives them up",
			[]subscriber{member("a", "q", "r").owns(1, "q", 0, 1).owns(1, "r", 2, 3), member("b", "q", "r").owns(1, "q", 2, 3).owns(1, "r", 0, 1), member("other", "q").owns(1, "q", 4, 5)}, map[string]int{"q": 6, "r": 6},
			assignment{"a": {"q": {0, 1}, "r": {4}}, "b": {"q": {2, 3}, "r": {5}}, "other": {"q": {4, 5}}}},
		{"what is left of the rows of a member that came stays with who had them",
			[]subscriber{member("a", "q", "r").owns(1, "q", 0).owns(1, "r", 0, 2), member("b", "q", "r").owns(1, "q", 1).owns(1, "r", 1, 3), member("other", "q").owns(1, "q", 2, 3)}, map[string]int{"q": 4, "r": 4},
			assignment{"a": {"q": {0}, "r": {0, 2}}, "b": {"q": {1}, "r": {1, 3}}, "other": {"q": {2, 3}}}},
		{"more members than partitions leave some without", []subscriber{member("a", "q"), member("b", "q")}, map[string]int{"q": 1},
			assignment{"a": {"q": {0}}, "b": {}}},
		{"a topic named twice counts once", []subscriber{member("a", "q", "q")}, map[string]int{"q": 1},
			assignment{"a": {"q": {0}}}},
		{"a topic that nobody wants is left alone", []subscriber{member("a", "q")}, map[string]int{"other": 3},
			assignment{"a": {}}},
		{"what a new member is to have is nobody's before its owner has given it up",
			[]subscriber{member("b", "q").owns(1, "q", 0, 1, 2, 3), member("a", "q")}, map[string]int{"q": 4},
			assignment{"b": {"q": {0, 1}}, "a": {}}},
		{"then it is the new member's",
			[]subscriber{member("b", "q").owns(2, "q", 0, 1), member("a", "q")}, map[string]int{"q": 4},
			assignment{"b": {"q": {0, 1}}, "a": {"q": {2, 3}}}},
		{"what nobody owns is dealt at once, the rest stays where it is",
			[]subscriber{member("a", "q").owns(1, "q", 1, 4), member("b", "q").owns(1, "q", 2, 5), member("new", "q")}, map[string]int{"q": 6},
			assignment{"a": {"q": {1, 4}}, "b": {"q": {2, 5}}, "new": {"q": {0, 3}}}},
		{"who has one more than others keeps it",
			[]subscriber{member("a", "q").owns(1, "q", 0), member("b", "q").owns(1, "q", 1, 2)}, map[string]int{"q": 3},
			assignment{"a": {"q": {0}}, "b": {"q": {1, 2}}}},
		{"a partition that two claim is the one's who has it since later",
			[]subscriber{member("a", "q").owns(7, "q", 0), member("b", "q").owns(6, "q", 0, 1)}, map[string]int{"q": 2},
			assignment{"a": {"q": {0}}, "b": {"q": {1}}}},
		{"with equal right it is nobody's",
			[]subscriber{member("a", "q").owns(7, "q", 0), member("b", "q").owns(7, "q", 0, 1)}, map[string]int{"q": 2},
			assignment{"a": {}, "b": {"q": {1}}}},
		{"a static member that was restarted gets back what it had",
			[]subscriber{member("1", "q").static("x").owns(3, "q", 0, 3), member("9", "q").static("y"), member("2", "q").static("z").owns(3, "q", 1, 4)}, map[string]int{"q": 6},
			assignment{"1": {"q": {0, 3}}, "9": {"q": {2, 5}}, "2": {"q": {1, 4}}}},
		{"a retry partition that another has is given up to who has the requests of its number",
			[]subscriber{member("a", "q", "r").owns(1, "q", 0), member("b", "q", "r").owns(1, "q", 1).owns(1, "r", 0, 1)}, map[string]int{"q": 2, "r": 2},
			assignment{"a": {"q": {0}}, "b": {"q": {1}, "r": {1}}}},
		{"a partition that is gone is dealt to nobody", []subscriber{member("a", "q").owns(1, "q", 0, 5)}, map[string]int{"q": 2},
			assignment{"a": {"q": {0, 1}}}},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			if got, _ := assign(c.members, c.counts); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// drawMembers draws a group of which some own rows, with every partition owned
// by one at the most, and some with claims that are older than others.
func drawMembers(t *rapid.T, topics []string, counts map[string]int) []subscriber {
	var members []subscriber
	for i := range rapid.IntRange(1, 9).Draw(t, "members") {
		members = append(members, member(string(rune('a'+i)), topics...))
	}
	for row := range slices.Max(slices.Collect(maps.Values(counts))) {
		owner := rapid.IntRange(-1, len(members)-1).Draw(t, "owner")
		if owner < 0 {
			continue
		}
		m := &members[owner]
		for _, topic := range topics {
			if row < counts[topic] {
				*m = m.owns(1, topic, append(slices.Clone(m.owned[topic]), row)...)
			}
		}
	}
	return members
}

func TestEveryPartitionIsAssignedOnceAndFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "x")
		counts := map[string]int{"x": n, "y": rapid.SampledFrom([]int{n, n + 1, 7}).Draw(t, "y")}
		topics := []string{"x", "y"}
		members := drawMembers(t, topics, counts)
		now, meant := assign(rapid.Permutation(members).Draw(t, "order"), counts)
		if again, _ := assign(members, counts); !reflect.DeepEqual(now, again) {
			t.Fatal("the order of the members matters")
		}
		owners := claims(members)
		for topic, n := range counts {
			var all []int
			larger := n % len(members)
			keeps, most := 0, 0
			for _, m := range members {
				has := meant[m.id][topic]
				all = append(all, has...)
				if share := len(has); share < n/len(members) || share > n/len(members)+1 {
					t.Fatalf("%s is to have %d of %d partitions, with %d members", m.id, share, n, len(members))
				}
				for _, p := range has {
					if slices.Contains(m.owned[topic], p) {
						keeps++
					}
					owner, claimed := owners[place{topic, p}]
					if given := slices.Contains(now[m.id][topic], p); given != (!claimed || owner == m.id) {
						t.Fatalf("%s[%d] is owned by %q, and given to %s: %v", topic, p, owner, m.id, given)
					}
				}
				most += min(len(m.owned[topic]), n/len(members))
				if len(m.owned[topic]) > n/len(members) && larger > 0 {
					larger--
					most++
				}
			}
			slices.Sort(all)
			if len(all) != n || len(slices.Compact(all)) != n {
				t.Fatalf("%d of %d partitions dealt", len(all), n)
			}
			// Rows of different kinds are dealt one kind after the other.
			if keeps < most {
				t.Fatalf("%d partitions of %s stay where they are, %d could", keeps, topic, most)
			}
		}
		if counts["x"] == counts["y"] && !reflect.DeepEqual(meantOf(meant, "x"), meantOf(meant, "y")) {
			t.Fatalf("topics with the same number of partitions are dealt differently: %v", meant)
		}
	})
}

// Whoever else is in the group, and reads which topics: the retries of a number
// go to who has its requests, if that one reads them (G4).
func TestARowIsOneMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := map[string]int{"requests": rapid.IntRange(1, 20).Draw(t, "partitions")}
		topics := []string{"requests", "retries.1", "retries.2"}
		counts["retries.1"], counts["retries.2"] = counts["requests"], counts["requests"]
		members := drawMembers(t, topics, counts)
		for i := range members[1:] {
			if rapid.Bool().Draw(t, "another's") {
				members[i+1].topics = rapid.SampledFrom([][]string{{"requests"}, {"requests", "retries.2"}}).Draw(t, "topics")
			}
		}
		_, meant := assign(members, counts)
		for number := range counts["requests"] {
			at := slices.IndexFunc(members, func(m subscriber) bool { return slices.Contains(meant[m.id]["requests"], number) })
			for _, topic := range members[at].topics {
				if !slices.Contains(meant[members[at].id][topic], number) {
					t.Fatalf("%s has requests[%d] and reads %s, and is not to have that of it: %v", members[at].id, number, topic, meant)
				}
			}
		}
	})
}

func meantOf(a assignment, topic string) map[string][]int {
	out := make(map[string][]int)
	for id, has := range a {
		out[id] = has[topic]
	}
	return out
}

// A rebalance ends: those who must give something up do, and once nobody owns
// what is another's, all is given, and nothing moves any more.
func TestARebalanceEndsAfterTwoRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := map[string]int{"x": rapid.IntRange(1, 40).Draw(t, "x")}
		members := drawMembers(t, []string{"x"}, counts)
		_, meant := assign(members, counts)
		for round := int32(2); round <= 3; round++ {
			now, _ := assign(members, counts)
			for i, m := range members {
				members[i].owned, members[i].generation = now[m.id], round
			}
		}
		now, _ := assign(members, counts)
		if !reflect.DeepEqual(now, meant) {
			t.Fatalf("after two rounds %v, want %v", now, meant)
		}
	})
}
