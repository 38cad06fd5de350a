package group

import (
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
)

// leaveCode reads the first error code of the answer to a LeaveGroup of one
// member: its own, or that of the request. kafka-go's fields are in the wrong
// order, as in the answer to a heartbeat: see heartbeatCode.
func leaveCode(res protocol.Message) int16 {
	left := res.(*leavegroup.Response)
	if code := int16(left.ThrottleTimeMS); code != 0 {
		return code
	}
	for _, member := range left.Members {
		if member.ErrorCode != 0 {
			return member.ErrorCode
		}
	}
	return 0
}
