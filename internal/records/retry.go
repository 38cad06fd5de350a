package records

import (
	"slices"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
)

// Values of [Retry.WaitsFor].
const (
	WaitsForMerchant    = "mch_id"
	WaitsForAppID       = "mch_id appid"
	WaitsForSubMerchant = "mch_id sub_mch_id"
	WaitsForBoth        = "mch_id appid sub_mch_id"
)

// maxHeld is the most that [Retry.Held] can be.
const maxHeld = 366 * 24 * time.Hour

// Retry is a request that waits in a retry topic: the original record byte for
// byte, and what is known of it so far. On each further hop the original is
// written again with new headers of ours, so that they never pile up; Source,
// SourceTimestamp and FirstRequestedAt stay those of the first record.
type Retry struct {
	Original events.Message
	// DueAt is when the request may be served again, never before.
	DueAt time.Time
	// Retries counts the retries that were put off, this one included.
	// Waiting for not_before or for the age of an order counts as none.
	Retries int
	// Calls is the number of calls made to the gateway so far.
	Calls int
	// Code and Reason say why it waits.
	Code   string
	Reason string
	// FirstRequestedAt is when the request was made, zero if unknown.
	FirstRequestedAt time.Time
	// Replay is the replay number of the request.
	Replay int
	Source events.Source
	// SourceTimestamp is the timestamp of the original record.
	SourceTimestamp time.Time
	// Held is for how long workers have had the request in their hands so far,
	// over all hops: each measured its own part, by a clock that cannot be set.
	// The difference of two clocks is never part of it. Written in whole
	// milliseconds, rounded down, 366 days at most.
	Held time.Duration
	// WaitsFor says that the request waits until the gateway accepts its
	// merchant again, and names the fields of the request that make up what is
	// refused: one of the WaitsFor constants. Empty for every other wait.
	WaitsFor string
	// StandInKey says that the record has a key that the original has not, as in
	// [DeadLetter].
	StandInKey bool
}

func (r *Retry) block() headerBlock {
	return slices.Concat(headerBlock{
		moment(headerDueAt, required, &r.DueAt),
		count(headerRetryAttempt, &r.Retries),
		count(headerAttempts, &r.Calls),
		text(headerErrorCode, always, &r.Code),
		text(headerErrorMessage, always, &r.Reason),
		moment(headerFirstRequestedAt, optional, &r.FirstRequestedAt),
		count(events.HeaderReplay, &r.Replay),
	}, place(&r.Source, &r.SourceTimestamp), headerBlock{
		{headerHeld, trifle, r.writeHeld, r.readHeld},
		{headerWaitsFor, trifle, func() string { return r.WaitsFor }, r.readWaitsFor},
		standIn(&r.StandInKey),
	})
}

// EncodeRetry writes r: the original key, value and headers byte for byte, the
// key but for StandInKey, then our headers. Reason is cut to 1 KiB. The message shares the memory of
// r.Original, but for the list of headers.
//
// r.Original must be the original record, as [DecodeRetry] returns it, not
// the record that came from a retry topic.
func EncodeRetry(r Retry) events.Message {
	r.Reason = cut(r.Reason, maxErrorMessage)
	if r.StandInKey {
		r.Original.Key = standInKey(r.Source)
	}
	return r.block().appendTo(r.Original)
}

// DecodeRetry reads what EncodeRetry wrote, as [DecodeDeadLetter] does, and
// records without Held and WaitsFor, as older workers wrote them. A Held that
// is no whole number of milliseconds in its range counts as none, and so does a
// WaitsFor of another program: neither is worth a request, and none is the
// careful side.
//
// The error is a *[events.ValidationError]. The Retry beside it has what could
// be read and the whole of m as its Original.
func DecodeRetry(m events.Message) (r Retry, err error) {
	if r.Original, err = r.block().readFrom(m); err == nil && r.StandInKey {
		r.Original.Key = nil
	}
	return r, err
}

func (r *Retry) writeHeld() string {
	ms := min(r.Held, maxHeld).Milliseconds()
	if ms <= 0 {
		return ""
	}
	return strconv.FormatInt(ms, 10)
}

func (r *Retry) readHeld(s string) error {
	if ms, err := strconv.ParseUint(s, 10, 63); err == nil && ms <= uint64(maxHeld.Milliseconds()) {
		r.Held = time.Duration(ms) * time.Millisecond
	}
	return nil
}

func (r *Retry) readWaitsFor(s string) error {
	switch s {
	case WaitsForMerchant, WaitsForAppID, WaitsForSubMerchant, WaitsForBoth:
		r.WaitsFor = s
	}
	return nil
}
