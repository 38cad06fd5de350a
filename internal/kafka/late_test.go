package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kmsg is made from Kafka's own definition of its messages.
func TestAMessageOfALaterAPIIsWhatKafkaReadsAndWrites(t *testing.T) {
	for version := range int16(2) {
		theirs := &kmsg.ConsumerGroupDescribeRequest{Version: version, Groups: []string{"g"}}
		want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, theirs, 7)
		f, err := encode(&groupDescribeRequest{Groups: []string{"g"}}, version, "me")
		if err != nil {
			t.Fatal(err)
		}
		f.number(7)
		if got := f.buffer.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("version %d: the request is %x, want %x", version, got, want)
		}
		if f.api != consumerGroupDescribe {
			t.Errorf("it is taken for %v", f.api)
		}
		f.free()

		answer := &kmsg.ConsumerGroupDescribeResponse{Version: version, ThrottleMillis: 5, Groups: []kmsg.ConsumerGroupDescribeResponseGroup{{
			Group: "g", State: "Stable", Epoch: 3, AssignmentEpoch: 3, AssignorName: "uniform",
			Members: []kmsg.ConsumerGroupDescribeResponseGroupMember{
				{MemberID: "m", InstanceID: new("i"), MemberEpoch: 3, ClientID: "c", ClientHost: "/h", SubscribedTopics: []string{"x"}, MemberType: 1,
					Assignment: kmsg.Assignment{TopicPartitions: []kmsg.AssignmentTopicPartition{{TopicID: [16]byte{1}, Topic: "x", Partitions: []int32{0, 2}}}}},
				{MemberID: "n"},
			},
		}, {ErrorCode: 69, ErrorMessage: new("no"), Group: "h"}}}
		body := answer.AppendTo([]byte{0, 0, 0, 7, 0}) // correlation id, no tags
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		read, err := decode(bufio.NewReader(bytes.NewReader(frame)), consumerGroupDescribe, version)
		if err != nil {
			t.Fatal(err)
		}
		got := read.(*groupDescribeResponse)
		if wait := throttled(got, version); wait.Milliseconds() != 5 {
			t.Errorf("version %d: throttled for %v", version, wait)
		}
		var codes []int16
		if eachCode(got, func(code int16) { codes = append(codes, code) }); !reflect.DeepEqual(codes, []int16{69}) {
			t.Errorf("its error codes are %v", codes)
		}
		g := got.Groups[0]
		if g.GroupID != "g" || g.GroupState != "Stable" || g.AssignorName != "uniform" || len(g.Members) != 2 || got.Groups[1].ErrorMessage != "no" {
			t.Fatalf("version %d: %+v", version, got)
		}
		is := GroupMember{ID: "m", InstanceID: "i", ClientID: "c", Host: "/h", Assigned: map[string][]int{"x": {0, 2}}, Protocol: Consumer}
		if version == 0 {
			is.Protocol = ""
		}
		if m := g.Members[0].member(g.Members[0].MemberType > 0); !reflect.DeepEqual(m, is) {
			t.Errorf("version %d: a member is %+v, want %+v", version, m, is)
		}
	}
}
