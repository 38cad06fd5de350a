package deadletters

import (
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Action is what is done with a dead letter. The words are stable.
type Action string

const (
	WouldReplay Action = "would_replay"
	DidReplay   Action = "replayed"
	DidSkip     Action = "skipped"
	DidLeave    Action = "left" // not sent: stopped, or it failed
)

// Told is a dead letter of a replay as a JSON line. The names and the words of
// action and reason are stable.
type Told struct {
	Action Action `json:"action"`
	Reason Skip   `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Partition and Offset are the dead letter, Source the request.
	Partition  int            `json:"partition"`
	Offset     int64          `json:"offset"`
	Source     *events.Source `json:"source,omitempty"`
	FailedAt   time.Time      `json:"failed_at"`
	Code       string         `json:"code,omitempty"`
	MchID      string         `json:"mch_id,omitempty"`
	SubMchID   string         `json:"sub_mch_id,omitempty"`
	OutTradeNo string         `json:"out_trade_no,omitempty"`
	RequestID  string         `json:"request_id,omitempty"`
	// Replay is the number of the replay.
	Replay int `json:"replay"`
	// ToPartition is where it is to be sent, absent where its key decides that.
	ToPartition *int           `json:"to_partition,omitempty"`
	Landed      *events.Source `json:"landed,omitempty"`
}

// Told is the step as it is told, where nothing was sent so far.
func (s Step) Told() Told {
	t := Told{
		Action: WouldReplay, Reason: s.Skip, Detail: s.Why, Partition: s.At.Partition, Offset: s.At.Offset, FailedAt: s.FailedAt.UTC(), Code: s.Code,
		MchID: s.MchID, SubMchID: s.SubMchID, OutTradeNo: s.OutTradeNo, RequestID: s.RequestID, Replay: s.Replay,
	}
	if s.Skip != Unreadable {
		t.Source = &s.Source
	}
	switch {
	case s.Skip != "":
		t.Action = DidSkip
	case s.To != kafka.ByKey:
		t.ToPartition = &s.To
	}
	return t
}

// Sent is the step when its replay has landed.
func (t Told) Sent(landed events.Source) Told {
	t.Action, t.Landed = DidReplay, &landed
	return t
}

// LeftFor is the step when it could not be sent, or was not: then reason is empty.
func (t Told) LeftFor(reason Skip, detail string) Told {
	t.Action, t.Reason, t.Detail = DidLeave, reason, detail
	return t
}
