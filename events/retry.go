package events

import (
	"strconv"
	"time"
)

// Headers of a retry record beside those it shares with a dead letter.
const (
	HeaderDueAt            = "closeorder-due-at"
	HeaderRetryAttempt     = "closeorder-retry-attempt"
	HeaderFirstRequestedAt = "closeorder-first-requested-at"
	HeaderHeld             = "closeorder-held"
	HeaderWaitsFor         = "closeorder-waits-for"
)

// Values of [RetryRecord.WaitsFor].
const (
	WaitsForMerchant    = "mch_id"
	WaitsForAppID       = "mch_id appid"
	WaitsForSubMerchant = "mch_id sub_mch_id"
	WaitsForBoth        = "mch_id appid sub_mch_id"
)

// MaxHeld is the most that [RetryRecord.Held] can be.
const MaxHeld = 366 * 24 * time.Hour

// RetryRecord is a request that waits in a retry topic: the original record
// byte for byte, and what is known of it so far. On each further hop the
// original is written again with new headers of ours, so that they never pile
// up; Source, SourceTimestamp and FirstRequestedAt stay those of the first
// record.
type RetryRecord struct {
	Original Message
	// DueAt is when the request may be served again, never before.
	DueAt time.Time
	// RetryAttempt counts the retries that were put off, this one included.
	// Waiting for not_before or for the age of an order counts as none.
	RetryAttempt int
	// Attempts is the number of calls made to the gateway so far.
	Attempts int
	// Code and Reason say why it waits.
	Code   string
	Reason string
	// FirstRequestedAt is when the request was made, zero if unknown.
	FirstRequestedAt time.Time
	// Replay is the replay number of the request.
	Replay int
	Source Source
	// SourceTimestamp is the timestamp of the original record.
	SourceTimestamp time.Time
	// Held is for how long workers have had the request in their hands so far,
	// over all hops: each measured its own part, by a clock that cannot be set.
	// The difference of two clocks is never part of it. Written in whole
	// milliseconds, rounded down.
	Held time.Duration
	// WaitsFor says that the request waits until the gateway accepts its
	// merchant again, and names the fields of the request that make up what is
	// refused: one of the WaitsFor constants. Empty for every other wait.
	WaitsFor string
}

var retryBlock = []string{
	HeaderDueAt, HeaderRetryAttempt, HeaderAttempts, HeaderErrorCode, HeaderErrorMessage,
	HeaderFirstRequestedAt, HeaderReplay,
	HeaderSourceTopic, HeaderSourcePartition, HeaderSourceOffset, HeaderSourceTimestamp,
}

// EncodeRetry writes r: the original key, value and headers byte for byte,
// then our headers. Reason is cut to [MaxErrorMessage] bytes. The message
// shares the memory of r.Original, but for the list of headers.
//
// r.Original must be the original record, as [DecodeRetry] returns it, not
// the record that came from a retry topic.
func EncodeRetry(r RetryRecord) Message {
	var b block
	b.time(HeaderDueAt, r.DueAt)
	b.number(HeaderRetryAttempt, int64(r.RetryAttempt))
	b.number(HeaderAttempts, int64(r.Attempts))
	b.text(HeaderErrorCode, r.Code)
	b.text(HeaderErrorMessage, cut(r.Reason, MaxErrorMessage))
	b.optionalTime(HeaderFirstRequestedAt, r.FirstRequestedAt)
	b.number(HeaderReplay, int64(r.Replay))
	b.source(r.Source, r.SourceTimestamp)
	if ms := r.Held.Milliseconds(); ms > 0 {
		b.number(HeaderHeld, min(ms, MaxHeld.Milliseconds()))
	}
	if r.WaitsFor != "" {
		b.text(HeaderWaitsFor, r.WaitsFor)
	}
	return b.appendTo(r.Original)
}

// DecodeRetry reads what EncodeRetry wrote, as [DecodeDeadLetter] does, and
// records without Held and WaitsFor, as older workers wrote them. A Held that
// is no whole number of milliseconds from 0 to [MaxHeld] counts as none, and so
// does a WaitsFor of another program: neither is worth a request, and none is
// the careful side.
//
// The error is a *[ValidationError]. The RetryRecord beside it has what could
// be read and the whole of m as its Original.
func DecodeRetry(m Message) (RetryRecord, error) {
	var p problems
	original, b := splitBlock(m, retryBlock, &p)
	r := RetryRecord{
		Original:         original,
		DueAt:            b.getTime(HeaderDueAt, true, &p),
		RetryAttempt:     b.getCount(HeaderRetryAttempt, &p),
		Attempts:         b.getCount(HeaderAttempts, &p),
		Code:             b.getText(HeaderErrorCode, false, &p),
		Reason:           b.getText(HeaderErrorMessage, false, &p),
		FirstRequestedAt: b.getTime(HeaderFirstRequestedAt, false, &p),
		Replay:           b.getCount(HeaderReplay, &p),
	}
	r.Source, r.SourceTimestamp = b.getSource(&p)
	r.Held, r.WaitsFor = b.getHeld(), b.getWaitsFor()
	err := p.err()
	if err != nil {
		r.Original = m
	}
	return r, err
}

func (b block) getHeld() time.Duration {
	ms, err := strconv.ParseUint(b.getOnce(HeaderHeld), 10, 63)
	if err != nil || ms > uint64(MaxHeld.Milliseconds()) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func (b block) getWaitsFor() string {
	switch s := b.getOnce(HeaderWaitsFor); s {
	case WaitsForMerchant, WaitsForAppID, WaitsForSubMerchant, WaitsForBoth:
		return s
	}
	return ""
}
