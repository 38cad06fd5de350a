package deadletters

import "github.com/closeorder/closeorder/internal/kafka"

// Of is the letter that a record of the dead-letter topic is. Where it has no value
// the request in it is not restored.
func Of(rec kafka.Record) Letter { return read(rec) }
