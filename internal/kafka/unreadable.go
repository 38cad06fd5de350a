package kafka

import "fmt"

// UnreadableError says that a stretch of a partition cannot be read by anybody
// who reads as we do: a batch whose header and bytes disagree, or one that
// unpacks to more than Config.UnpackedBatch. What stands before it was
// delivered, and what stands behind it can be read.
type UnreadableError struct {
	Topic     string
	Partition int
	// First is the first offset that was asked for and cannot be read.
	First int64
	// Last is the last one, -1 where the header cannot be believed: then nobody
	// knows where the next batch begins.
	Last int64
	// Reason is what is wrong, in a few words: "the CRC does not match".
	Reason string
}

func (e *UnreadableError) Error() string {
	at := fmt.Sprintf("from offset %d on", e.First)
	switch {
	case e.Last == e.First:
		at = fmt.Sprintf("offset %d", e.First)
	case e.Last > e.First:
		at = fmt.Sprintf("offsets %d to %d", e.First, e.Last)
	}
	return fmt.Sprintf("topic %s, partition %d: %s cannot be read: %s; see docs/operations.md, An unreadable batch",
		e.Topic, e.Partition, at, e.Reason)
}
