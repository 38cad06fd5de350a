package group

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAssign(t *testing.T) {
	both := []string{"requests", "retries"}
	for _, c := range []struct {
		sentence string
		members  []subscriber
		counts   map[string]int
		want     map[string]map[string][]int
	}{
		{"one member has everything", []subscriber{{id: "a", topics: both}}, map[string]int{"requests": 2, "retries": 1},
			map[string]map[string][]int{"a": {"requests": {0, 1}, "retries": {0}}}},
		{"partitions of one number go to one member", []subscriber{{id: "a", topics: both}, {id: "b", topics: both}}, map[string]int{"requests": 3, "retries": 3},
			map[string]map[string][]int{"a": {"requests": {0}, "retries": {0}}, "b": {"requests": {1, 2}, "retries": {1, 2}}}},
		{"the instance id decides the order, not the member id", []subscriber{{id: "1", instanceID: "z", topics: both}, {id: "2", instanceID: "y", topics: both}}, map[string]int{"requests": 2},
			map[string]map[string][]int{"2": {"requests": {0}}, "1": {"requests": {1}}}},
		{"a member that does not subscribe to a topic gets none of it", []subscriber{{id: "a", topics: both}, {id: "b", topics: []string{"requests"}}}, map[string]int{"requests": 2, "retries": 2},
			map[string]map[string][]int{"a": {"requests": {0}, "retries": {0, 1}}, "b": {"requests": {1}}}},
		{"more members than partitions leave some without", []subscriber{{id: "a", topics: both}, {id: "b", topics: both}}, map[string]int{"requests": 1},
			map[string]map[string][]int{"a": {}, "b": {"requests": {0}}}},
		{"a topic named twice counts once", []subscriber{{id: "a", topics: []string{"requests", "requests"}}}, map[string]int{"requests": 1},
			map[string]map[string][]int{"a": {"requests": {0}}}},
		{"a topic that nobody wants is left alone", []subscriber{{id: "a", topics: both}}, map[string]int{"other": 3},
			map[string]map[string][]int{"a": {}}},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			if got := assign(c.members, c.counts); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestEveryPartitionIsAssignedOnceAndFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var members []subscriber
		for i := range rapid.IntRange(1, 9).Draw(t, "members") {
			members = append(members, subscriber{id: string(rune('a' + i)), topics: []string{"x", "y"}})
		}
		counts := map[string]int{"x": rapid.IntRange(0, 40).Draw(t, "x"), "y": rapid.IntRange(0, 40).Draw(t, "y")}
		shuffled := rapid.Permutation(members).Draw(t, "order")
		got := assign(shuffled, counts)
		if !reflect.DeepEqual(got, assign(members, counts)) {
			t.Fatal("the order of the members matters")
		}
		for topic, n := range counts {
			var all []int
			for id, assigned := range got {
				all = append(all, assigned[topic]...)
				if share := len(assigned[topic]); share < n/len(members) || share > n/len(members)+1 {
					t.Fatalf("%s got %d of %d partitions, with %d members", id, share, n, len(members))
				}
			}
			slices.Sort(all)
			if len(all) != n || len(slices.Compact(all)) != n {
				t.Fatalf("%d of %d partitions assigned", len(all), n)
			}
		}
	})
}
