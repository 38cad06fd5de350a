package kafka

import "github.com/segmentio/kafka-go/protocol"

// kafka-go's table of APIs ends with those of Kafka 2.6, and has no room behind
// them. A message of a later one stands in the place of one that only brokers
// send to each other: its ApiKey is that place, which kafka-go goes by, and its
// lateAPI is what goes on the wire.
type lateMessage interface {
	protocol.Message
	lateAPI() protocol.ApiKey
}

// consumerGroupDescribe is the API ConsumerGroupDescribe (KIP-848).
const consumerGroupDescribe protocol.ApiKey = 69

// apiOf is the API of a message as brokers know it.
func apiOf(m protocol.Message) protocol.ApiKey {
	if late, ok := m.(lateMessage); ok {
		return late.lateAPI()
	}
	return m.ApiKey()
}

// placeOf is the place of an API in kafka-go's table.
func placeOf(api protocol.ApiKey) protocol.ApiKey {
	if api == consumerGroupDescribe {
		return protocol.ControlledShutdown
	}
	return api
}

func init() { protocol.Register(&groupDescribeRequest{}, &groupDescribeResponse{}) } //nolint:gochecknoinits // as in fetchwire.go

// groupDescribeRequest and what follows are Kafka's
// ConsumerGroupDescribeRequest.json and ConsumerGroupDescribeResponse.json.
type groupDescribeRequest struct {
	_                           struct{} `kafka:"min=v0,max=v1,tag"`
	Groups                      []string `kafka:"min=v0,max=v1,compact"`
	IncludeAuthorizedOperations bool     `kafka:"min=v0,max=v1"`
}

func (*groupDescribeRequest) ApiKey() protocol.ApiKey  { return placeOf(consumerGroupDescribe) }
func (*groupDescribeRequest) lateAPI() protocol.ApiKey { return consumerGroupDescribe }

// Group implements protocol.GroupMessage: its coordinator is asked.
func (r *groupDescribeRequest) Group() string { return r.Groups[0] }

type groupDescribeResponse struct {
	_              struct{}         `kafka:"min=v0,max=v1,tag"`
	ThrottleTimeMs int32            `kafka:"min=v0,max=v1"`
	Groups         []describedGroup `kafka:"min=v0,max=v1,compact"`
}

func (*groupDescribeResponse) ApiKey() protocol.ApiKey  { return placeOf(consumerGroupDescribe) }
func (*groupDescribeResponse) lateAPI() protocol.ApiKey { return consumerGroupDescribe }

type describedGroup struct {
	_                    struct{}          `kafka:"min=v0,max=v1,tag"`
	ErrorCode            int16             `kafka:"min=v0,max=v1"`
	ErrorMessage         string            `kafka:"min=v0,max=v1,compact,nullable"`
	GroupID              string            `kafka:"min=v0,max=v1,compact"`
	GroupState           string            `kafka:"min=v0,max=v1,compact"`
	GroupEpoch           int32             `kafka:"min=v0,max=v1"`
	AssignmentEpoch      int32             `kafka:"min=v0,max=v1"`
	AssignorName         string            `kafka:"min=v0,max=v1,compact"`
	Members              []describedMember `kafka:"min=v0,max=v1,compact"`
	AuthorizedOperations int32             `kafka:"min=v0,max=v1"`
}

type describedMember struct {
	_                    struct{}            `kafka:"min=v0,max=v1,tag"`
	MemberID             string              `kafka:"min=v0,max=v1,compact"`
	InstanceID           string              `kafka:"min=v0,max=v1,compact,nullable"`
	RackID               string              `kafka:"min=v0,max=v1,compact,nullable"`
	MemberEpoch          int32               `kafka:"min=v0,max=v1"`
	ClientID             string              `kafka:"min=v0,max=v1,compact"`
	ClientHost           string              `kafka:"min=v0,max=v1,compact"`
	SubscribedTopicNames []string            `kafka:"min=v0,max=v1,compact"`
	SubscribedTopicRegex string              `kafka:"min=v0,max=v1,compact,nullable"`
	Assignment           describedAssignment `kafka:"min=v0,max=v1"`
	TargetAssignment     describedAssignment `kafka:"min=v0,max=v1"`
	MemberType           int8                `kafka:"min=v1,max=v1"` // 0 classic, 1 of KIP-848
}

type describedAssignment struct {
	_               struct{}              `kafka:"min=v0,max=v1,tag"`
	TopicPartitions []describedPartitions `kafka:"min=v0,max=v1,compact"`
}

type describedPartitions struct {
	_          struct{} `kafka:"min=v0,max=v1,tag"`
	TopicHigh  int64    `kafka:"min=v0,max=v1"` // the two halves of the topic's id
	TopicLow   int64    `kafka:"min=v0,max=v1"`
	TopicName  string   `kafka:"min=v0,max=v1,compact"`
	Partitions []int32  `kafka:"min=v0,max=v1,compact"`
}
