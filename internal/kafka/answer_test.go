package kafka

import (
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// ownFetch is an answer of a type that is not kafka-go's.
type ownFetch struct {
	ThrottleTimeMs int32
	Topics         []struct {
		Topic      string
		Partitions []struct {
			ErrorCode int16
			RecordSet []byte
		}
	}
}

func (*ownFetch) ApiKey() protocol.ApiKey { return protocol.Fetch }

func TestWhatAnAnswerSays(t *testing.T) {
	own := &ownFetch{ThrottleTimeMs: 5}
	own.Topics = make([]struct {
		Topic      string
		Partitions []struct {
			ErrorCode int16
			RecordSet []byte
		}
	}, 1)
	own.Topics[0].Partitions = make([]struct {
		ErrorCode int16
		RecordSet []byte
	}, 2)
	own.Topics[0].Partitions[1].ErrorCode = 74
	for _, c := range []struct {
		sentence              string
		answer                protocol.Message
		version               int16
		codes                 []int16
		wait                  time.Duration
		moved, notCoordinator bool
	}{
		{"all is well", &produce.Response{Topics: []produce.ResponseTopic{{Partitions: []produce.ResponsePartition{{}, {}}}}}, 8, nil, 0, false, false},
		{"one of two partitions is led elsewhere", &produce.Response{Topics: []produce.ResponseTopic{{Partitions: []produce.ResponsePartition{{}, {ErrorCode: 6}}}}}, 8, []int16{6}, 0, true, false},
		{"a record was refused", &produce.Response{Topics: []produce.ResponseTopic{{Partitions: []produce.ResponsePartition{{ErrorCode: 87}}}}}, 8, []int16{87}, 0, false, false},
		{"the session of a fetch is unknown, and a topic", &fetch.Response{ErrorCode: 70, Topics: []fetch.ResponseTopic{{Partitions: []fetch.ResponsePartition{{ErrorCode: 3}}}}}, 11, []int16{70, 3}, 0, true, false},
		{"a type of ours", own, 11, []int16{74}, 5 * time.Millisecond, true, false},
		{"an older broker has waited itself", own, 7, []int16{74}, 0, true, false},
		{"a commit that came to the wrong broker", &offsetcommit.Response{ThrottleTimeMs: 9, Topics: []offsetcommit.ResponseTopic{{Partitions: []offsetcommit.ResponsePartition{{ErrorCode: 16}}}}}, 7, []int16{16}, 9 * time.Millisecond, false, true},
		{"a join without a coordinator", &joingroup.Response{ErrorCode: 15}, 5, []int16{15}, 0, false, true},
		{"a heartbeat, whose code is where kafka-go has the throttle time", &heartbeat.Response{ThrottleTimeMs: 16}, 3, []int16{16}, 0, false, true},
	} {
		var codes []int16
		eachCode(c.answer, func(code int16) { codes = append(codes, code) })
		if !slices.Equal(codes, c.codes) || throttled(c.answer, c.version) != c.wait || moved(c.answer) != c.moved || notCoordinator(c.answer) != c.notCoordinator {
			t.Errorf("%s: codes %v, wait %v, moved %v, not the coordinator %v", c.sentence, codes, throttled(c.answer, c.version), moved(c.answer), notCoordinator(c.answer))
		}
	}
}

func TestWhatARequestIsFor(t *testing.T) {
	for _, c := range []struct {
		req  protocol.Message
		want purpose
	}{
		{&fetch.Request{MaxWaitTime: 500}, fetching},
		{&fetch.Request{}, asking},
		{&heartbeat.Request{}, beating},
		{&joingroup.Request{}, joining},
		{&produce.Request{}, asking},
		{&offsetcommit.Request{}, asking},
	} {
		if got := purposeOf(c.req); got != c.want {
			t.Errorf("%T: %d, want %d", c.req, got, c.want)
		}
	}
}
