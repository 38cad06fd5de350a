package group

import (
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// heartbeatRequest is the Heartbeat message as Kafka defines it
// (kafka.apache.org/protocol, "Heartbeat API"). kafka-go's own is not routed to
// the group's coordinator, and its version 4 is not what brokers read.
type heartbeatRequest struct {
	_ struct{} `kafka:"min=v4,max=v4,tag"`

	GroupID         string `kafka:"min=v0,max=v3|min=v4,max=v4,compact"`
	GenerationID    int32  `kafka:"min=v0,max=v4"`
	MemberID        string `kafka:"min=v0,max=v3|min=v4,max=v4,compact"`
	GroupInstanceID string `kafka:"min=v3,max=v3,nullable|min=v4,max=v4,nullable,compact"`
}

func (*heartbeatRequest) ApiKey() protocol.ApiKey { return protocol.Heartbeat }
func (r *heartbeatRequest) Group() string         { return r.GroupID }

// TypeKey tells overrides of one message apart; kafka-go has none of this one.
func (*heartbeatRequest) TypeKey() protocol.OverrideTypeKey { return 0 }

// kafka-go keeps its messages in a table of the process that may only be
// written before the first connection reads it; here that is certain. The
// request stands beside kafka-go's own, which stays what it is for others.
func init() {
	r := &heartbeatRequest{}
	protocol.RegisterOverride(r, &heartbeat.Response{}, r.TypeKey())
}

// heartbeatCode reads the error code of a response. No response can be
// overridden, and kafka-go's has its fields in the wrong order since version 1:
// ErrorCode has the upper half of the throttle time, ThrottleTimeMs its lower
// half and the code. Version 0 has the code alone; it is not spoken by brokers
// that take the records we write.
func heartbeatCode(res protocol.Message) int16 {
	return int16(res.(*heartbeat.Response).ThrottleTimeMs)
}
