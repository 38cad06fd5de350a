package group

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestASubscriptionComesBack(t *testing.T) {
	for sentence, want := range map[string]subscription{
		"of a new member":     {topics: []string{"x", "y"}, owned: map[string][]int{}, generation: -1, ours: true, record: []byte{}},
		"of one that goes on": {topics: []string{"x"}, owned: map[string][]int{"x": {0, 5}, "y": {1}}, generation: 7, ours: true, record: []byte("here")},
	} {
		if got, err := decodeSubscription(want.encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", sentence, got, err, want)
		}
	}
}

// kmsg is made from Kafka's own definition of its messages. Every field of the
// version is there: coordinators that run KIP-848 refuse what is not.
func TestSubscriptionsAreWhatKafkaReads(t *testing.T) {
	var read kmsg.ConsumerMemberMetadata
	if err := read.ReadFrom(subscription{topics: []string{"x", "y"}, owned: map[string][]int{"x": {0, 5}}, generation: 7}.encode()); err != nil {
		t.Fatal(err)
	}
	if read.Version != 2 || !slices.Equal(read.Topics, []string{"x", "y"}) || read.Generation != 7 ||
		len(read.OwnedPartitions) != 1 || read.OwnedPartitions[0].Topic != "x" || !slices.Equal(read.OwnedPartitions[0].Partitions, []int32{0, 5}) {
		t.Errorf("%+v", read)
	}
	// Where Java's assignor looks that knows version 1 alone.
	if got := binary.BigEndian.Uint32(read.UserData); got != 7 {
		t.Errorf("the user data begin with %d", got)
	}
	var assigned kmsg.ConsumerMemberAssignment
	if err := assigned.ReadFrom(encodeAssignment(map[string][]int{"x": {3}})); err != nil || len(assigned.Topics) != 1 || !slices.Equal(assigned.Topics[0].Partitions, []int32{3}) {
		t.Errorf("%+v, %v", assigned, err)
	}
}

func TestSubscriptionsOfOtherVersionsAreRead(t *testing.T) {
	theirs := kmsg.ConsumerMemberMetadata{Topics: []string{"x", "y"}, UserData: []byte("data"), Generation: 9,
		OwnedPartitions: []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "x", Partitions: []int32{7}}}, Rack: new("r")}
	for version := range int16(4) {
		theirs.Version = version
		want := subscription{topics: []string{"x", "y"}, generation: -1}
		if version >= 1 {
			want.owned = map[string][]int{"x": {7}}
		}
		if version >= 2 {
			want.generation = 9
		}
		if got, err := decodeSubscription(theirs.AppendTo(nil)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got %+v, %v", version, got, err)
		}
	}
	// kafka-go's Reader says 1, and ends where 0 does.
	theirs.Version = 0
	dishonest := theirs.AppendTo(nil)
	dishonest[1] = 1
	if got, err := decodeSubscription(dishonest); err != nil || len(got.topics) != 2 || got.owned != nil {
		t.Errorf("what a version promises and is not there: %+v, %v", got, err)
	}
	if _, err := decodeSubscription(dishonest[:7]); err == nil {
		t.Error("topics that break off are read")
	}
}

func TestAnAssignmentComesBack(t *testing.T) {
	want := map[string][]int{"x": {0, 5}, "y": {1}}
	if got, ours, err := decodeAssignment(encodeAssignment(want)); err != nil || !ours || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, ours %v, %v", got, ours, err)
	}
	theirs := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "x", Partitions: []int32{1}}}}
	if got, ours, err := decodeAssignment(theirs.AppendTo(nil)); err != nil || ours || !reflect.DeepEqual(got, map[string][]int{"x": {1}}) {
		t.Errorf("another library's: %v, ours %v, %v", got, ours, err)
	}
	// What coordinators give a member that the leader gave nothing.
	if got, ours, err := decodeAssignment(nil); err != nil || ours || len(got) != 0 {
		t.Errorf("no bytes: %v, ours %v, %v", got, ours, err)
	}
}

func FuzzGroupMessages(f *testing.F) {
	f.Add(subscription{topics: []string{"x"}, owned: map[string][]int{"x": {1}}}.encode())
	f.Add(encodeAssignment(map[string][]int{"x": {0, 1}}))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSubscription(b); err == nil && len(s.topics) > len(b) {
			t.Errorf("%d topics in %d bytes", len(s.topics), len(b))
		}
		if assigned, _, err := decodeAssignment(b); err == nil {
			if again, _, err := decodeAssignment(encodeAssignment(assigned)); err != nil || !reflect.DeepEqual(again, assigned) {
				t.Errorf("%v came back as %v, %v", assigned, again, err)
			}
		}
	})
}
