package group

import (
	"reflect"
	"testing"
)

func TestSubscriptionsOfLaterVersionsAreRead(t *testing.T) {
	b := encodeSubscription([]string{"x", "y"}, []byte("data"))
	b[1] = 3 // version 3 appends owned partitions, generation and rack
	b = append(b, 0, 0, 0, 1, 0, 1, 'x', 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 9, 0, 1, 'r')
	topics, err := decodeSubscription(b)
	if err != nil || !reflect.DeepEqual(topics, []string{"x", "y"}) {
		t.Errorf("got %v, %v", topics, err)
	}
}

func TestAnAssignmentComesBack(t *testing.T) {
	want := map[string][]int{"x": {0, 5}, "y": {1}}
	got, err := decodeAssignment(encodeAssignment(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	// What coordinators give a member that the leader gave nothing.
	if got, err := decodeAssignment(nil); err != nil || len(got) != 0 {
		t.Errorf("no bytes: %v, %v", got, err)
	}
}

func FuzzGroupMessages(f *testing.F) {
	f.Add(encodeSubscription([]string{"x"}, nil))
	f.Add(encodeAssignment(map[string][]int{"x": {0, 1}}))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if topics, err := decodeSubscription(b); err == nil && len(topics) > len(b) {
			t.Errorf("%d topics in %d bytes", len(topics), len(b))
		}
		if assigned, err := decodeAssignment(b); err == nil {
			if again, err := decodeAssignment(encodeAssignment(assigned)); err != nil || !reflect.DeepEqual(again, assigned) {
				t.Errorf("%v came back as %v, %v", assigned, again, err)
			}
		}
	})
}
