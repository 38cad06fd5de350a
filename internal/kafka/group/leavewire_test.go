package group

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// When this fails, kafka-go has mended its response: leaveCode is to return its
// ErrorCode. kmsg is made from Kafka's own definition of its messages.
func TestTheCodeOfALeaveIsReadFromWhereKafkaGoPutsIt(t *testing.T) {
	for version := int16(1); version <= 4; version++ {
		for _, throttle := range []int32{0, 25, 70_000} {
			for sentence, res := range map[string]kmsg.LeaveGroupResponse{
				"of the request": {ErrorCode: 30},
				"of the member":  {Members: []kmsg.LeaveGroupResponseMember{{MemberID: "m", ErrorCode: 30}}},
			} {
				if version < 3 && len(res.Members) > 0 {
					continue // there are none
				}
				res.Version, res.ThrottleMillis = version, throttle
				b := binary.BigEndian.AppendUint32(nil, 1) // correlation id
				if version >= 4 {
					b = append(b, 0) // no tags
				}
				b = res.AppendTo(b)
				_, read, err := protocol.ReadResponse(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)), protocol.LeaveGroup, version)
				if err != nil {
					t.Fatal(err)
				}
				if got := leaveCode(read); got != 30 {
					t.Errorf("%s, version %d, throttled for %d ms: code %d, want 30", sentence, version, throttle, got)
				}
				if got := read.(*leavegroup.Response).ErrorCode; got == 30 {
					t.Errorf("version %d: kafka-go has the code in its ErrorCode now", version)
				}
			}
		}
	}
}
