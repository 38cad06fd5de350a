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
}

// Kafka lets no member of KIP-848 into a group in which an assignment has user
// data, and members of other libraries are sent nothing that is not Kafka's.
func TestAssignmentsAreWhatKafkaReads(t *testing.T) {
	for _, sent := range []dealt{{}, {unsettled: true}, {ours: true}, {ours: true, unsettled: true}} {
		sent.assigned = map[string][]int{"x": {3}}
		var assigned kmsg.ConsumerMemberAssignment
		err := assigned.ReadFrom(sent.encode())
		if err != nil || len(assigned.Topics) != 1 || !slices.Equal(assigned.Topics[0].Partitions, []int32{3}) || len(assigned.UserData) > 0 {
			t.Errorf("%+v: %+v, %v", sent, assigned, err)
		}
		if assigned.Version != 0 && !sent.ours {
			t.Errorf("another library's member is sent version %d", assigned.Version)
		}
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
	for _, want := range []dealt{{}, {ours: true}, {ours: true, unsettled: true}} {
		want.assigned = map[string][]int{"x": {0, 5}, "y": {1}}
		if got, err := decodeAssignment(want.encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	theirs := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "x", Partitions: []int32{1}}}}
	if got, err := decodeAssignment(theirs.AppendTo(nil)); err != nil || !reflect.DeepEqual(got, dealt{assigned: map[string][]int{"x": {1}}}) {
		t.Errorf("another library's: %+v, %v", got, err)
	}
	// What coordinators give a member that the leader gave nothing.
	if got, err := decodeAssignment(nil); err != nil || got.ours || len(got.assigned) != 0 {
		t.Errorf("no bytes: %+v, %v", got, err)
	}
}

func FuzzGroupMessages(f *testing.F) {
	f.Add(subscription{topics: []string{"x"}, owned: map[string][]int{"x": {1}}}.encode())
	f.Add(dealt{assigned: map[string][]int{"x": {0, 1}}}.encode())
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSubscription(b); err == nil && len(s.topics) > len(b) {
			t.Errorf("%d topics in %d bytes", len(s.topics), len(b))
		}
		if one, err := decodeAssignment(b); err == nil {
			if again, err := decodeAssignment(one.encode()); err != nil || !reflect.DeepEqual(again, one) {
				t.Errorf("%+v came back as %+v, %v", one, again, err)
			}
		}
	})
}
