package group

import (
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// heartbeatRequest is kafka-go's, with what that lacks: the word that routes it
// to the group's coordinator. kafka-go writes it by the fields of its own type,
// which are the same.
type heartbeatRequest heartbeat.Request

func (*heartbeatRequest) ApiKey() protocol.ApiKey { return protocol.Heartbeat }
func (r *heartbeatRequest) Group() string         { return r.GroupID }

// heartbeatCode reads the error code of a response. kafka-go's has its fields
// in the wrong order since version 1: ErrorCode holds the upper half of the
// throttle time, ThrottleTimeMs its lower half and then the code. Version 0,
// which has the code alone, is spoken by no broker that takes our records: they
// have headers.
func heartbeatCode(res protocol.Message) int16 {
	return int16(res.(*heartbeat.Response).ThrottleTimeMs)
}
