// Package republish plans how the holes of an audit are mended: each request that
// was lost is sent once more, byte for byte, as a replay of itself. It sends
// nothing: deadletters.Sending carries the plan out, at its rate. What was sent is
// not remembered here: the next audit finds it in the topic and counts the hole as
// mended, so that a run that was cut off goes on where it stopped.
//
//	audit --Lost--> Plan --deadletters.Sending, Message--> requests topic
package republish

import (
	"errors"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
)

// Plan is what to send for holes of a topic, in their order. Each goes to the
// partition that it stands in, so that it meets the other requests of its order,
// and an audit knows it by standing behind the hole.
func Plan(topic string, lost []audit.Lost, now time.Time) *deadletters.Plan {
	plan := &deadletters.Plan{}
	for _, l := range lost {
		at := events.Source{Topic: topic, Partition: l.Partition, Offset: l.Offset}
		s := deadletters.Step{
			At: at, Source: at, To: l.Partition, FailedAt: l.Time, Replay: l.Replay,
			MchID: l.MchID, SubMchID: l.SubMchID, OutTradeNo: l.OutTradeNo, RequestID: l.RequestID,
			AppID: l.Request.AppID, SubAppID: l.Request.SubAppID, OrderCreatedAt: l.Request.OrderCreatedAt,
		}
		expires := l.Request.ExpiresAt
		switch {
		case l.Gone:
			s.Skip, s.Why = deadletters.Deleted, "the record is gone: its order service must ask again"
		case !expires.IsZero() && !now.Before(expires):
			// It is sent all the same: failed is an answer, and none is a hole.
			s.Why = "expires_at " + expires.UTC().Format(time.RFC3339) + " has passed: the outcome will be failed, EXPIRED"
		}
		if s.Skip == "" {
			plan.Replays++
		}
		plan.Steps = append(plan.Steps, s)
	}
	return plan
}

// Message is what is sent for a record: its own bytes, and the number of the replay
// as its only header closeorder-replay. It is a deadletters.Sending's Message.
func Message(s deadletters.Step, rec kafka.Record) (events.Message, deadletters.Skip, error) {
	if !rec.Time.Equal(s.FailedAt) {
		return events.Message{}, deadletters.Deleted, errors.New("another record stands there by now: the topic was made anew")
	}
	m, err := records.DeadLetter{Original: rec.Message, Replay: s.Replay - 1}.ReplayMessage()
	return m, "", err
}
