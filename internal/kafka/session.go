package kafka

import (
	"math"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// session is a fetch session (KIP-227): a broker remembers which partitions the
// long polls ask for, and from where, so that a request names what has changed
// since the one before, and an answer what there is something to say of. Without
// it each record costs both sides a look at all partitions. Whatever goes wrong
// ends it, and the next request names everything again, as do all requests to a
// broker that remembers nothing (before Kafka 1.1, or with too many sessions).
//
// It belongs to the goroutine that polls.
type session struct {
	id    int32 // the broker's, 0 before it has given one
	epoch int32 // counts requests
	round int
	held  map[place]*held
}

// held is what the broker remembers of a partition.
type held struct {
	offset int64
	bytes  int32
	round  int // that last asked for it
	// end is asked.end as it was told last, -1 before that. It may be too low: an
	// answer leaves out a partition whose last stable offset alone has moved. What
	// can be read up to that comes with the answer, and so names it.
	end int64
}

// begin starts a request.
func (s *session) begin(req *fetchRequest) {
	if s.held == nil {
		s.held = make(map[place]*held)
	}
	s.round++
	req.SessionID, req.SessionEpoch = s.id, s.epoch
}

// ask makes the broker remember a partition. named says that the request has to
// name it, and there that it is in the request already.
func (s *session) ask(at place, offset int64, bytes int32) (h *held, named, there bool) {
	h = s.held[at]
	switch {
	case h == nil:
		h = &held{end: -1}
		s.held[at] = h
	case h.round == s.round:
		return h, false, true
	case h.offset == offset && h.bytes == bytes:
		h.round = s.round
		return h, false, false
	}
	h.offset, h.bytes, h.round = offset, bytes, s.round
	return h, true, false
}

// forget makes the broker forget what this request, for n partitions, has not
// asked for.
func (s *session) forget(req *fetchRequest, n int) {
	if len(s.held) == n {
		return
	}
	for at, h := range s.held {
		if h.round == s.round {
			continue
		}
		delete(s.held, at)
		if s.id == 0 {
			continue
		}
		i := slices.IndexFunc(req.ForgottenTopics, func(t fetch.RequestForgottenTopic) bool { return t.Topic == at.topic })
		if i < 0 {
			i = len(req.ForgottenTopics)
			req.ForgottenTopics = append(req.ForgottenTopics, fetch.RequestForgottenTopic{Topic: at.topic})
		}
		t := &req.ForgottenTopics[i]
		t.Partitions = append(t.Partitions, int32(at.partition))
	}
}

// next is told of the answer to a request, and of nil for one that has failed.
func (s *session) next(res *fetchResponse) {
	if res == nil || res.ErrorCode != 0 || res.SessionID == 0 || s.id != 0 && res.SessionID != s.id {
		s.id, s.epoch = 0, 0
		clear(s.held)
		return
	}
	s.id = res.SessionID
	if s.epoch == math.MaxInt32 {
		s.epoch = 0 // 0 and -1 mean other things
	}
	s.epoch++
}

// lost reports whether an answer says that the broker does not remember the
// session: it was restarted, or has had to remember others.
func (s *session) lost(res *fetchResponse) bool {
	code := kafkago.Error(res.ErrorCode)
	return s.id != 0 && (code == kafkago.FetchSessionIDNotFound || code == kafkago.InvalidFetchSessionEpoch)
}
