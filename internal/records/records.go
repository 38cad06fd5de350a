// Package records is what the worker writes for itself, beside the outcomes:
// the retry record of a request that waits, and the dead letter of one that was
// set aside. Each is the original record byte for byte with a block of our
// headers behind its own, so that either can be undone. It knows what they say
// and nothing of where they are written.
package records

// Headers that closeorder adds to a dead letter or a retry record, after the
// original ones; events.HeaderReplay is one of them.
const (
	headerErrorCode       = "closeorder-error-code"
	headerErrorMessage    = "closeorder-error-message"
	headerFailedAt        = "closeorder-failed-at"
	headerAttempts        = "closeorder-attempts"
	headerSourceTopic     = "closeorder-source-topic"
	headerSourcePartition = "closeorder-source-partition"
	headerSourceOffset    = "closeorder-source-offset"
	headerSourceTimestamp = "closeorder-source-timestamp"
	headerStandInKey      = "closeorder-stand-in-key"
	headerValueOmitted    = "closeorder-value-omitted" // of a dead letter alone

	// Of a retry record alone.
	headerDueAt            = "closeorder-due-at"
	headerRetryAttempt     = "closeorder-retry-attempt"
	headerFirstRequestedAt = "closeorder-first-requested-at"
	headerHeld             = "closeorder-held"
	headerWaitsFor         = "closeorder-waits-for"
)

// maxErrorMessage is the most bytes of an error message in a header: a dead
// letter must not outgrow the broker's limit because of what we say about it.
const maxErrorMessage = 1 << 10
