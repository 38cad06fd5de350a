package group

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The coordinator alone knows the member; kafka-go's request goes to any broker.
func TestHeartbeatsGoToTheCoordinator(t *testing.T) {
	var request protocol.Message = &heartbeatRequest{GroupID: "g"}
	if to, routed := request.(protocol.GroupMessage); !routed || to.Group() != "g" {
		t.Error("a heartbeat is not routed to the coordinator of its group")
	}
}

// kmsg is made from Kafka's own definition of its messages.
func TestHeartbeatsAreWhatKafkaReads(t *testing.T) {
	for version := range int16(5) {
		for _, instance := range []string{"", "i"} {
			want := kmsg.HeartbeatRequest{Version: version, Group: "g", Generation: 7, MemberID: "m"}
			if instance != "" {
				want.InstanceID = &instance
			}
			var b bytes.Buffer
			if err := protocol.WriteRequest(&b, version, 1, "", &heartbeatRequest{GroupID: "g", GenerationID: 7, MemberID: "m", GroupInstanceID: instance}); err != nil {
				t.Fatal(err)
			}
			if body := want.AppendTo(nil); !bytes.HasSuffix(b.Bytes(), body) {
				t.Errorf("version %d, instance %q: %x does not end with %x", version, instance, b.Bytes(), body)
			}
		}
	}
}

// When this fails, kafka-go has mended its response: heartbeatCode is to return
// its ErrorCode.
func TestTheCodeOfAHeartbeatIsReadFromWhereKafkaGoPutsIt(t *testing.T) {
	for version := int16(1); version <= 4; version++ {
		for _, throttle := range []int32{0, 25, 70_000} {
			res := kmsg.HeartbeatResponse{Version: version, ThrottleMillis: throttle, ErrorCode: 82}
			b := binary.BigEndian.AppendUint32(nil, 1) // correlation id
			if version >= 4 {
				b = append(b, 0) // no tags
			}
			b = res.AppendTo(b)
			_, read, err := protocol.ReadResponse(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)), protocol.Heartbeat, version)
			if err != nil {
				t.Fatal(err)
			}
			if got := heartbeatCode(read); got != 82 {
				t.Errorf("version %d, throttled for %d ms: code %d, want 82", version, throttle, got)
			}
			if got := read.(*heartbeat.Response).ErrorCode; got == 82 {
				t.Errorf("version %d: kafka-go has the code in its ErrorCode now", version)
			}
		}
	}
}
