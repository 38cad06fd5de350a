package consumer

import (
	"time"

	"github.com/closeorder/closeorder/events"
)

// State is what a worker does at one moment, for people and for what watches it.
// Times are the process's own; ages are to be taken from At. As JSON its names are
// stable.
type State struct {
	At      time.Time `json:"at"`
	Started time.Time `json:"started"`
	Group   string    `json:"group"`
	// Health is what follows from all of it.
	Health Health `json:"health"`

	Member     MemberState      `json:"member"`
	Partitions []PartitionState `json:"partitions"`
	Lanes      LaneState        `json:"lanes"`
	Breaker    BreakerState     `json:"breaker"`
	Holds      []HoldState      `json:"holds"`
	Tiers      []TierState      `json:"tiers"`
	Publishing PublishingState  `json:"publishing"`
	Committing CommittingState  `json:"committing"`
	Memory     MemoryState      `json:"memory"`
	// Connections to brokers that are open.
	Connections int `json:"connections"`
	// Throttled is for how long brokers' quotas held requests back, those of the
	// last half minute together.
	Throttled time.Duration `json:"throttled_ns"`
	// Oldest are the requests that have waited longest for an answer, of those
	// that are in memory, at most ten.
	Oldest []RequestState `json:"oldest"`
	// DueNow counts the requests that could be served at once if there were more
	// workers: read and ready, or not read yet and due as far as is known. It is
	// the number to scale on: while the gateway does not answer, or no record is
	// acknowledged, it stays as it was when that began, because more workers would
	// not help. It is 0 until the first answer.
	DueNow int64 `json:"due_now"`
	// OldestUnanswered is for how long the oldest of Oldest has been asked for, or
	// 0.
	OldestUnanswered time.Duration `json:"oldest_unanswered_ns"`

	// progress counts what has been done: turns, acknowledgements, records read.
	progress uint64
}

// Health says whether a worker does what it is for.
type Health struct {
	// Live: requests make progress, or wait for a reason that has a name. A worker
	// that is not is stuck, and should be killed.
	Live bool `json:"live"`
	// Ready: a member of the group, with partitions or as a spare, that can
	// publish.
	Ready bool `json:"ready"`
	// Stuck says why it is not live, Waits why requests wait although it is, and
	// NotReady why it is not ready; each for people, the most important one first.
	Stuck    []string `json:"stuck,omitempty"`
	Waits    []string `json:"waits,omitempty"`
	NotReady []string `json:"not_ready,omitempty"`
}

// MemberState is the membership in the group.
type MemberState struct {
	// Joined: the group has this worker in its present generation.
	Joined     bool      `json:"joined"`
	Since      time.Time `json:"since,omitzero"` // it is or is not
	MemberID   string    `json:"member_id,omitempty"`
	InstanceID string    `json:"instance_id,omitempty"`
	Generation int32     `json:"generation"`
	// LeaseUntil is until when its partitions are surely its own.
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	// Trouble is why the group cannot be joined, as far as is known.
	Trouble string `json:"trouble,omitempty"`
}

// PartitionState is one partition that the worker owns.
type PartitionState struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	// Watermark is the lowest offset that is not finished, Next the one behind the
	// last that was read, End the one behind the last that can be read; -1 where
	// it is not known yet.
	Watermark int64 `json:"watermark"`
	Next      int64 `json:"next"`
	End       int64 `json:"end"`
	// Heard is when the last fetch was answered.
	Heard time.Time `json:"heard,omitzero"`
	// Open requests are read and not finished; Bytes is what they take.
	Open  int   `json:"open"`
	Bytes int64 `json:"bytes"`
	// Waiting of them wait in memory for their time or their merchant.
	Waiting     int `json:"waiting"`
	InFlight    int `json:"in_flight"`
	Unpublished int `json:"unpublished"`
	// Draining: it is given up.
	Draining bool `json:"draining,omitempty"`
	// Stopped says what somebody has to look at before it goes on.
	Stopped string `json:"stopped,omitempty"`
	// FetchError is why nothing is read at present.
	FetchError string `json:"fetch_error,omitempty"`

	finishing int  // of Open: on their way to the topics
	resting   int  // of Open: in their place, until a time
	lastDue   bool // the last one that was read waits for no time
}

// Lag is how many offsets are not finished, 0 where it is not known.
func (p PartitionState) Lag() int64 { return max(p.End-max(p.Watermark, 0), 0) }

// LaneState counts what goes on in the lanes.
type LaneState struct {
	Slots       int `json:"slots"`
	InFlight    int `json:"in_flight"`   // turns with a call slot
	Resting     int `json:"resting"`     // turns that wait for a rate or between two calls
	Ready       int `json:"ready"`       // lanes that wait for a call slot
	Orders      int `json:"orders"`      // lanes
	Unpublished int `json:"unpublished"` // decisions on their way to the topics
	// Full: so many decisions are on their way that no more calls start.
	Full bool `json:"full,omitempty"`
	// LongestTurn is for how long the oldest turn goes on, and LongestOf its
	// order.
	LongestTurn time.Duration `json:"longest_turn_ns"`
	LongestOf   events.Order  `json:"longest_of,omitzero"`

	queued int64 // requests in lanes that are ready
	paced  int64 // of them: those that wait for the pace of their merchant
}

// BreakerState is whether the gateway may be called.
type BreakerState struct {
	// State is closed (calls go through), open (none does) or half-open (one does,
	// on trial); Since is when it was closed last, while it is not.
	State      string    `json:"state"`
	Since      time.Time `json:"since,omitzero"`
	TrialAt    time.Time `json:"trial_at,omitzero"`
	LastAnswer time.Time `json:"last_answer,omitzero"`
	// Limit is how many calls may be in flight at present.
	Limit int `json:"limit"`
}

// HoldState is a merchant, or a part of one, that the gateway refuses.
type HoldState struct {
	MchID    string    `json:"mch_id"`
	AppID    string    `json:"appid,omitempty"`
	SubMchID string    `json:"sub_mch_id,omitempty"`
	Since    time.Time `json:"since"`
	// Silent: not refused but not answered.
	Silent bool   `json:"silent,omitempty"`
	Why    string `json:"why"`
	// NextProbe is when the gateway is asked again.
	NextProbe time.Time `json:"next_probe,omitzero"`
}

// TierState is what of a retry topic is in memory.
type TierState struct {
	Topic string        `json:"topic"`
	Delay time.Duration `json:"delay_ns"`
	// Waiting are not due, or wait for their merchant; Unread is how many more
	// records the partitions of this worker hold.
	Waiting int   `json:"waiting"`
	Unread  int64 `json:"unread"`
}

// PublishingState is how records get to their topics.
type PublishingState struct {
	// Last is when a record was acknowledged last. Failing is since when none was
	// although something is on its way, or why that is so is known; zero where it
	// is not so. Error is the last one since then.
	Last    time.Time `json:"last,omitzero"`
	Failing time.Time `json:"failing,omitzero"`
	Error   string    `json:"error,omitempty"`
	// UnderWay are requests to brokers.
	UnderWay int `json:"under_way"`
	// Blocked: with exactly once, partitions are set aside that cannot be written,
	// or whose offsets cannot be committed.
	Blocked bool `json:"blocked,omitempty"`
	// Refused are records that a topic does not take.
	Refused int `json:"refused,omitempty"`
}

// CommittingState is how offsets get committed.
type CommittingState struct {
	Last    time.Time `json:"last,omitzero"`
	Failing time.Time `json:"failing,omitzero"`
	Error   string    `json:"error,omitempty"`
	// Pending is since when offsets that are finished wait for their commit.
	Pending time.Time `json:"pending,omitzero"`
}

// MemoryState is what is held of records and requests, in bytes.
type MemoryState struct {
	Held int64 `json:"held"`
	Most int64 `json:"most"`
}

// RequestState is one request that has no answer yet.
type RequestState struct {
	MchID      string        `json:"mch_id"`
	SubMchID   string        `json:"sub_mch_id,omitempty"`
	OutTradeNo string        `json:"out_trade_no"`
	Requested  time.Time     `json:"requested"` // its timestamp; where it has none, when it was read
	Source     events.Source `json:"source"`
	// Topic, Partition and Offset are where it stands now: Source, or in a retry
	// topic.
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	// Stage says what it waits for: see the Stage constants. Until is when that
	// ends at the latest, zero where nobody knows; Why says more.
	Stage Stage     `json:"stage"`
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// Stage is where a request is on its way.
type Stage string

// The stages of a request.
const (
	StageQueued     Stage = "queued"     // for those of its order before it, or for a call slot
	StageCalling    Stage = "calling"    // its turn
	StageDue        Stage = "due"        // for its time
	StageMerchant   Stage = "merchant"   // for its merchant
	StagePublishing Stage = "publishing" // for the acknowledgement of its outcome
)
